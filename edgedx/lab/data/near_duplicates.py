"""Near-duplicates: the same picture encoded, resized or windowed anew, and adjacent slices, found on decoded pixels.

Two images are near-duplicates where their thumbnails correlate twice: as they are (>= `LEAST_WHOLE`), and after a
high-pass filter and without what all images of the set have in common (>= `LEAST_DETAIL`). The first alone takes chest
radiographs of two children for one, because posture and collimation make most of the correlation; the second sees ribs,
vessels and folds, and not the round edge of every fundus photograph. Both limits were set on public sets whose patients
or lesions are known, see docs/own-data.md.

All pairs are compared. The index is a projection onto the set's own principal components: by Cauchy and Schwarz the
correlation of two unit vectors is at most that of their projections plus the product of what the projections leave, so
no pair above the limit is lost, and the few pairs that pass are then correlated in full.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedx.core.preprocess import Canvas

LEAST_WHOLE, LEAST_DETAIL = 0.90, 0.70
"""Least correlation of thumbnails, and of their details."""
_SIDE, _READ_SIDE, _SIGMA = 32, 64, 2.0  # pixels: of a thumbnail, of the picture that it is made from, of the blur
_IN_INDEX = 0.75  # share of all details that the components of the index must hold
_BLOCK = 1 << 24  # correlations held at once
_FLAT = 2.0  # grey levels of 255: the details of an image with less spread are noise of its encoding
_ROUNDING = 1e-4
_SMALL = 6000  # images
_A_SET = 20  # images: what fewer have in common may be the picture itself

Floats = NDArray[np.float32]


def near_duplicates(
    canvases: Canvas, rows: Sequence[int] | NDArray[np.int64], letterboxed: Sequence[tuple[int, int]] | None = None
) -> NDArray[np.int64]:
    """Pairs of near-duplicates among the canvases at `rows`.

    Parameters
    ----------
    canvases : ndarray of shape (total, H, W) or (total, H, W, 3), uint8 or uint16
    letterboxed : sequence of (int, int), optional
        Height and width of each image where canvases keep the aspect ratio and are padded: all images of one shape have
        the edge of the padding in common, so it is cut off.

    Returns
    -------
    ndarray of shape (P, 2)
        Positions in `rows`, the smaller first, in order.
    """
    if len(rows) < 2:
        return np.zeros((0, 2), np.int64)
    whole, detail = thumbnails(canvases, rows, letterboxed)
    found = [pairs[_correlation(whole, pairs) >= LEAST_WHOLE] for pairs in _similar(detail, LEAST_DETAIL)]
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *found])
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def thumbnails(
    canvases: Canvas, rows: Sequence[int] | NDArray[np.int64], letterboxed: Sequence[tuple[int, int]] | None = None
) -> tuple[Floats, Floats]:
    """Thumbnails and their details, each (N, 1024), of mean 0 and length 1; all zeros where an image is flat.

    Details are those that an image does not share with the others, see above.
    """
    whole = np.empty((len(rows), _SIDE * _SIDE), np.float32)
    detail = np.empty_like(whole)
    for position, row in enumerate(rows):
        picture = np.asarray(canvases[row])
        if letterboxed is not None:
            picture = _without_padding(picture, *letterboxed[position])
        grey = picture.mean(axis=2, dtype=np.float32) if picture.ndim == 3 else picture.astype(np.float32)
        if canvases.dtype == np.uint16:
            grey = grey / 257.0
        middle = cv2.resize(grey, (_READ_SIDE, _READ_SIDE), interpolation=cv2.INTER_AREA)
        fine = middle - cv2.GaussianBlur(middle, (0, 0), _SIGMA)
        for store, one in ((whole, middle), (detail, fine)):
            store[position] = cv2.resize(one, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).ravel()
    flat = whole.std(axis=1) < _FLAT
    details = _unit(detail, flat)
    if len(rows) >= _A_SET:
        details = _unit(details - details.mean(axis=0), flat)
    return _unit(whole, flat), details


def _without_padding(picture: Canvas, height: int, width: int) -> Canvas:
    """The part of a letterboxed canvas that an image of this height and width fills."""
    ratio = min(picture.shape[0] / height, picture.shape[1] / width)
    rows, columns = max(1, round(height * ratio)), max(1, round(width * ratio))
    top, left = (picture.shape[0] - rows) // 2, (picture.shape[1] - columns) // 2
    return picture[top : top + rows, left : left + columns]


def _unit(vectors: Floats, flat: NDArray[np.bool_]) -> Floats:
    vectors -= vectors.mean(axis=1, keepdims=True)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.where(length > 0, length, 1.0)
    vectors[flat] = 0.0
    return vectors


def _correlation(vectors: Floats, pairs: NDArray[np.int64]) -> Floats:
    return np.einsum("pd,pd->p", vectors[pairs[:, 0]], vectors[pairs[:, 1]])


def _similar(vectors: Floats, least: float) -> Iterator[NDArray[np.int64]]:
    """Pairs of unit vectors whose product is at least `least`, block by block."""
    index = _index(vectors)
    count = len(index)
    height = max(1, _BLOCK // count)
    for start in range(0, count, height):
        bound = index[start : start + height] @ index[start:].T
        above, right = np.nonzero(bound >= least - _ROUNDING)
        pairs = np.stack([above, right], axis=1) + start
        pairs = pairs[pairs[:, 0] < pairs[:, 1]]
        for part in np.array_split(pairs, max(1, len(pairs) // 100_000)):
            yield part[_correlation(vectors, part) >= least]


def _index(vectors: Floats) -> Floats:
    """Principal components of each vector, and as last number the length of what they leave of it; or all of it."""
    if len(vectors) <= _SMALL:  # the product in full costs less than finding the components
        return vectors
    variances, axes = np.linalg.eigh((vectors.T @ vectors).astype(np.float64))  # in rising order
    held = np.cumsum(variances[::-1]) / max(float(variances.sum()), 1e-12)
    width = min(int(np.searchsorted(held, _IN_INDEX)) + 1, len(held))
    inside = vectors @ axes[:, -width:].astype(np.float32)
    left = np.sqrt(np.maximum(np.einsum("nd,nd->n", vectors, vectors) - np.einsum("nd,nd->n", inside, inside), 0.0))
    return np.concatenate([inside, left[:, None]], axis=1)


def connected(count: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each of `count` items the first item that pairs connect it with, directly or by way of others: shape (N,)."""
    first = np.arange(count)

    def root(item: int) -> int:
        while first[item] != item:
            first[item] = first[first[item]]
            item = int(first[item])
        return item

    for one, other in pairs:
        low, high = sorted((root(int(one)), root(int(other))))
        first[high] = low
    return np.array([root(item) for item in range(count)], np.int64)
