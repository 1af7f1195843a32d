"""Where the content of an image is: without collimation, black borders, and letters that stand apart in them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_SIDE = 256
"""The longer side that is looked at: letters and borders are seen on it, and 8 million pixels cost nothing."""
_DARK = 13
"""Of 255: what is no lighter is border; JPEG leaves a noise of a few steps in black."""
_PART = 0.003
"""Share of the image that a connected part has at least; letters are smaller."""
_LOST = 0.05
"""Share of the light that may lie outside the content; where more does, as in CT windowed for bone, nothing is cut."""
_LEAST = 0.2
"""Share of the height and of the width that content has at least; less is no content but a spot."""
_MARGIN = 0.01

Box = tuple[int, int, int, int]
"""Top, bottom, left, right, pixels; the ends are outside."""


def content_box(unit: NDArray[np.float32]) -> Box:
    """The rectangle around the large connected lighter parts of an image; the whole image where nothing stands out.

    Parameters
    ----------
    unit : ndarray of shape (H, W) or (H, W, 3), float32
        Light, 0 to 1, dark borders near 0: windowed, and inverted where the header says so.

    Returns
    -------
    Box
        Never less than a fifth of either side. A hundredth of the longer side is left around what was found.
    """
    height, width = unit.shape[:2]
    whole = (0, height, 0, width)
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(cv2.resize(unit, size, interpolation=cv2.INTER_AREA), np.float32)
    light = small.max(axis=2) if small.ndim == 3 else small
    mask = np.asarray(np.rint(light * 255) > _DARK, np.uint8)
    # Opening cuts thin bridges, as between a letter and the body.
    kept = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)
    _, _, found, _ = cv2.connectedComponentsWithStats(kept, connectivity=4)
    parts = found[1:][found[1:, cv2.CC_STAT_AREA] >= _PART * mask.size]
    if not len(parts):
        return whole
    left, top = (int(parts[:, place].min()) for place in (cv2.CC_STAT_LEFT, cv2.CC_STAT_TOP))
    right = int((parts[:, cv2.CC_STAT_LEFT] + parts[:, cv2.CC_STAT_WIDTH]).max())
    bottom = int((parts[:, cv2.CC_STAT_TOP] + parts[:, cv2.CC_STAT_HEIGHT]).max())
    if bottom - top < _LEAST * size[1] or right - left < _LEAST * size[0]:
        return whole
    if int(mask[top:bottom, left:right].sum()) < (1 - _LOST) * int(mask.sum()):
        return whole
    margin = round(_MARGIN * max(height, width))
    return (
        _inside(top * height / size[1] - margin, height),
        _inside(bottom * height / size[1] + margin, height),
        _inside(left * width / size[0] - margin, width),
        _inside(right * width / size[0] + margin, width),
    )


def _inside(place: float, length: int) -> int:
    return min(max(round(place), 0), length)


def cropped(unit: NDArray[np.float32]) -> NDArray[Any]:
    """The content of an image (see `content_box`)."""
    top, bottom, left, right = content_box(unit)
    return unit[top:bottom, left:right]
