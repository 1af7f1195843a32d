"""What can be said of an image without a model: four figures, and a fingerprint that finds it again.

They are of the canvas, after window, polarity and resizing, so that training and device measure the same thing.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .preprocess import Canvas

FIGURES = ("mean", "contrast", "clipped", "sharpness")
FINGERPRINT = 32
"""Bytes of a fingerprint: 16 x 16 comparisons."""
TWIN_BITS = 13
"""Fingerprints that differ in no more of their 256 bits are of the same picture, exported or exposed again."""
TWINS = 3
"""A picture with so many twins comes again and again; a patient who was imaged twice, or three times, has fewer."""
_CROP = 128
"""Pixels a side whose edges are looked at: more would cost more and tell the same."""


def image_figures(canvas: Canvas) -> dict[str, float]:
    """Figures of one canvas of shape (H, W) or (H, W, 3), uint8 or uint16.

    Returns
    -------
    dict of str to float
        ``mean`` and ``contrast`` (standard deviation), 0 to 1; ``clipped``, the share of pixels that are black or white
        in every channel; ``sharpness``, the natural logarithm of the variance of the Laplacian (Pech-Pacheco et al.
        2000) of the middle, which falls with blur and rises with noise.
    """
    peak = float(np.iinfo(canvas.dtype).max)
    grey = _grey(canvas)
    mean, deviation = (float(value[0, 0]) / peak for value in cv2.meanStdDev(grey))
    top, left = (max(0, (side - _CROP) // 2) for side in grey.shape)
    middle = grey[top : top + _CROP, left : left + _CROP].astype(np.float32) / np.float32(peak)
    edges = float(cv2.meanStdDev(cv2.Laplacian(middle, cv2.CV_32F))[1][0, 0])
    lightest, darkest = (canvas, canvas) if canvas.ndim == 2 else (canvas.max(axis=-1), canvas.min(axis=-1))
    clipped = grey.size - int(np.count_nonzero(lightest)) + int(np.count_nonzero(darkest == canvas.dtype.type(peak)))
    return {
        "mean": mean,
        "contrast": deviation,
        "clipped": clipped / grey.size,
        "sharpness": 2.0 * float(np.log(max(edges, 1e-5))),
    }


def fingerprint(canvas: Canvas) -> bytes:
    """Difference hash: of 16 x 17 areas, whether each is brighter than its neighbour; `FINGERPRINT` bytes."""
    # By way of 68 x 64: areas of whole pixels, which is ten times faster than any others.
    coarse = cv2.resize(_grey(canvas), (68, 64), interpolation=cv2.INTER_LINEAR)
    small = cv2.resize(coarse, (17, 16), interpolation=cv2.INTER_AREA)
    return np.packbits(small[:, 1:] > small[:, :-1]).tobytes()


def repeated(fingerprints: NDArray[np.uint8], twins: int = TWINS) -> NDArray[np.bool_]:
    """Which of the fingerprints, shape (N, `FINGERPRINT`), have so many twins among the others; shape (N,)."""
    words = np.ascontiguousarray(fingerprints).view(np.uint64)
    found = np.zeros(len(words), bool)
    for index, word in enumerate(words):
        differ = np.bitwise_count(words ^ word).sum(axis=1) if _COUNTS else _count(words ^ word)
        found[index] = int((differ <= TWIN_BITS).sum()) > twins  # it is its own twin
    return found


_COUNTS = hasattr(np, "bitwise_count")  # since numpy 2


def _count(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    return np.asarray(np.unpackbits(words.view(np.uint8), axis=1).sum(axis=1), np.int64)


def _grey(canvas: Canvas) -> Canvas:
    return canvas if canvas.ndim == 2 else np.asarray(cv2.cvtColor(canvas, cv2.COLOR_RGB2GRAY))
