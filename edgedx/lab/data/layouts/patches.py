"""A 2.5-D patch: three planes of a volume near a point, as the channels of one picture."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedx.core.settings.recipe_data import Patches

from .metaimage import Volume

_Z, _Y, _X = 0, 1, 2


def cut_patch(volume: Volume, world: tuple[float, float, float], options: Patches) -> NDArray[np.uint8]:
    """Cut the patch around a point.

    Parameters
    ----------
    world : (float, float, float)
        Centre, mm, in the order z, y, x.

    Returns
    -------
    ndarray of shape (pixels, pixels, 3), uint8
        Channels are axial, coronal, sagittal, or the axial planes above, through and below. The same number of mm wide
        and high whatever the spacing of the scan; patient's left and back (or head) at the right and lower (upper) side
        whatever its direction. Outside of the scan it is black, as air is.

    Raises
    ------
    ImageError
        ``OUTSIDE_VOLUME``: the centre is not in the scan.
    """
    centre, values = volume.voxel(world), volume.values()
    if options.planes == "orthogonal":
        planes = [_plane(volume, values, centre, normal, options) for normal in (_Z, _Y, _X)]
    else:
        gap = options.gap_mm / volume.step[_Z]
        planes = [
            _plane(volume, values, (centre[0] + shift, centre[1], centre[2]), _Z, options) for shift in (gap, 0, -gap)
        ]
    return np.stack(planes, axis=-1)


def _plane(
    volume: Volume, values: NDArray[Any], centre: tuple[float, float, float], normal: int, options: Patches
) -> NDArray[np.uint8]:
    """The stored plane nearest to `centre` across `normal`, sampled bilinearly on a grid in mm."""
    down, right = [axis for axis in (_Z, _Y, _X) if axis != normal]
    grid = (np.arange(options.pixels) - (options.pixels - 1) / 2) * (options.side_mm / options.pixels)
    # z counts to the head, so that it goes up the picture.
    rows = centre[down] + (-grid if down == _Z else grid) / volume.step[down]
    columns = centre[right] + grid / volume.step[right]
    low, high = options.window_hu
    place = int(np.floor(centre[normal] + 0.5))
    if not 0 <= place < volume.shape[normal]:  # above the first or below the last slice
        return np.zeros((options.pixels, options.pixels), np.uint8)
    plane = np.moveaxis(values, normal, 0)[place]  # a view: nothing is read yet
    top, bottom = _span(rows, plane.shape[0])
    left, end = _span(columns, plane.shape[1])
    row_map, column_map = np.meshgrid(rows - top, columns - left, indexing="ij")
    sampled = cv2.remap(
        plane[top:bottom, left:end].astype(np.float32),
        column_map.astype(np.float32),
        row_map.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=low,
    )
    return np.asarray(np.rint(np.clip((sampled - low) / (high - low), 0, 1) * 255), np.uint8)


def _span(places: NDArray[np.floating[Any]], size: int) -> tuple[int, int]:
    """Stored lines that a bilinear sample at `places` needs."""
    return max(0, int(np.floor(places.min()))), min(size, int(np.floor(places.max())) + 2)
