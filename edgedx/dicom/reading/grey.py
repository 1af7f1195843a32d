"""Grey that was stored as colour."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_COARSE = 61  # a step that lines up with no common width


def grey_where_equal(pixels: NDArray[Any]) -> NDArray[Any]:
    """One channel of an image whose three are equal everywhere: it is grey, and is windowed as grey.

    Parameters
    ----------
    pixels : ndarray of shape (H, W) or (H, W, 3)

    Returns
    -------
    ndarray of shape (H, W), or `pixels`
    """
    if pixels.ndim != 3:
        return pixels
    red, green, blue = (pixels[:, :, channel] for channel in range(3))
    for part in (np.s_[::_COARSE, ::_COARSE], np.s_[:]):  # colour shows in a few pixels of most images
        if not (np.array_equal(red[part], green[part]) and np.array_equal(red[part], blue[part])):
            return pixels
    return np.ascontiguousarray(red)
