"""Where a model looked: a class activation map laid over the picture that it saw."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from .preprocess import Canvas

BURNED_IN = "AI - not for diagnosis"
_SIDE = 512  # least height and width of the picture, pixels: a network's own view is too small to read
OPACITY = 0.45  # what lies below must stay readable
_LINE = 22
LEAST_PLACES = 4
"""Rows and columns that a map must have to be drawn smooth: of fewer the squares are shown that it consists of."""


def evidence(cam: NDArray[np.float32], index: int, task: str) -> NDArray[np.float32]:
    """What speaks for one class, place by place.

    Parameters
    ----------
    cam : ndarray of shape (K, h, w)
        Class activation maps: the mean of each over space, plus the classifier's bias, is the logit.
    index : int
        The class.
    task : str
        Softmax does not see what all classes share, so that outside of multilabel tasks only the difference to the mean
        of all classes speaks for one of them.

    Returns
    -------
    ndarray of shape (h, w)
        Positive where the image speaks for the class.
    """
    shared = np.zeros(cam.shape[1:], cam.dtype) if task == "multilabel" else cam.mean(axis=0)
    return np.asarray(cam[index] - shared, np.float32)


def overlay(canvas: Canvas, cam: NDArray[np.float32], *, caption: str = "") -> NDArray[np.uint8]:
    """Lay a map over the model's view, below it a line that says what this is.

    Parameters
    ----------
    canvas : ndarray of shape (H, W) or (H, W, 3), uint8 or uint16
        As `preprocess.canvas` makes it; enlarged to at least 512 pixels a side, its shape kept.
    cam : ndarray of shape (h, w)
        From `evidence`. The strongest place of the picture is full colour, zero and below are left as they are; a map
        says where and never how sure. Fewer than 4 x 4 places are shown as squares, and the line says how many.
    caption : str
        ASCII, put before "AI - not for diagnosis".

    Returns
    -------
    ndarray of shape (H', W', 3), uint8
        RGB. Colours rise evenly in lightness (the map "inferno"), so that all kinds of colour vision, and a printer
        without colours, see the same order.
    """
    height, width = canvas.shape[:2]
    scale = max(1.0, _SIDE / min(height, width))
    size = (round(width * scale), round(height * scale))
    light = canvas.astype(np.float32) / np.iinfo(canvas.dtype).max
    light = np.asarray(cv2.resize(light, size, interpolation=cv2.INTER_LINEAR), np.float32)
    picture = light if light.ndim == 3 else np.repeat(light[..., None], 3, axis=2)
    heat = heat_of(cam, size[::-1])
    colour = cv2.applyColorMap(np.rint(255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1] / np.float32(255)
    share = OPACITY * heat[..., None]
    mixed = np.rint(255 * (picture * (1 - share) + colour * share)).clip(0, 255).astype(np.uint8)
    places = f"  {cam.shape[0]} x {cam.shape[1]} places" if is_coarse(cam.shape) else ""
    return np.vstack([mixed, _line(size[0], f"{caption}{places}  {BURNED_IN}".strip())])


def heat_of(cam: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """A map as heat of `shape` (H, W), 0 to 1: the strongest place is 1, nothing for or against is 0."""
    heat = np.clip(cam / max(float(cam.max()), 1e-9), 0.0, 1.0).astype(np.float32)
    # Linear: a cubic curve swings over, and would draw faint spots where the map says nothing.
    how = cv2.INTER_NEAREST if is_coarse(cam.shape) else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(heat, shape[::-1], interpolation=how), np.float32).clip(0.0, 1.0)


def is_coarse(shape: Sequence[int]) -> bool:
    """Whether a map of so many rows and columns is shown as squares: smoothed, 2 x 2 places look like a finding."""
    return min(shape) < LEAST_PLACES


def _line(width: int, text: str) -> NDArray[np.uint8]:
    """White on black, cut where it does not fit from the left, because the end is what must be read."""
    strip = np.zeros((_LINE + 10, width, 3), np.uint8)
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.55
    while len(text) > len(BURNED_IN) and cv2.getTextSize(text, font, size, 1)[0][0] > width - 16:
        text = text[1:]
    cv2.putText(strip, text, (8, _LINE), font, size, (255, 255, 255), 1, cv2.LINE_AA)
    return strip


def png(picture: NDArray[np.uint8]) -> bytes:
    """A uint8 RGB picture as the bytes of a PNG file."""
    done, data = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))
    assert done
    return bytes(data.tobytes())
