"""How alike two heat maps are, image by image, and the mean over a set with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from edgedx.core.stats.metrics import Interval
from edgedx.core.stats.resample import draw
from edgedx.core.stats.weighted import mean_of_values

GRID = 32
"""Most rows and columns of the grid that maps are compared on: single pixels of gradients are noise."""
TOP = 0.10
CHANCE = {"spearman": 0.0, "shared": TOP, "iou": TOP / (2 - TOP)}
"""What two maps without any relation have in common on average."""


def on_grid(maps: np.ndarray) -> np.ndarray:
    """Maps of shape (N, H, W), averaged over areas down to at most `GRID` rows and columns."""
    height, width = (min(GRID, side) for side in maps.shape[1:])
    return np.stack([cv2.resize(one, (width, height), interpolation=cv2.INTER_AREA) for one in maps])


def spearman(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Rank correlation of each pair of maps, both (N, H, W), to (N,); ties share a rank; NaN where one is flat."""
    from scipy.stats import rankdata

    ranks = [rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (left, right)]
    centred = [one - one.mean(axis=1, keepdims=True) for one in ranks]
    norms = np.sqrt([(one**2).sum(axis=1) for one in centred]).prod(axis=0)
    filled = np.full(len(left), np.nan)
    return np.divide((centred[0] * centred[1]).sum(axis=1), norms, out=filled, where=norms > 0)


def overlap(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the tenth of places that each map holds highest: the share in common, and intersection over union, each (N,).

    Places that tie with the last of the tenth belong to it, unless they tie with the map's lowest; the share is that of
    the larger set. NaN where a map is flat.
    """
    one, other = (_top(maps) for maps in (left, right))
    both, either = (one & other).sum(axis=1), (one | other).sum(axis=1)
    most = np.maximum(one.sum(axis=1), other.sum(axis=1)).astype(np.float64)
    known = one.any(axis=1) & other.any(axis=1)
    shared = np.divide(both, most, out=np.full(len(both), np.nan), where=known)
    return shared, np.divide(both, either, out=np.full(len(both), np.nan), where=known)


def _top(maps: np.ndarray) -> np.ndarray:
    flat = maps.reshape(len(maps), -1)
    position = flat.shape[1] - max(1, round(TOP * flat.shape[1]))
    limit = np.partition(flat, position, axis=1)[:, position]
    return (flat >= limit[:, None]) & (flat > flat.min(axis=1)[:, None])


def alike(left: np.ndarray, right: np.ndarray) -> dict[str, np.ndarray]:
    """``spearman``, ``shared`` and ``iou`` of each image, from maps of shape (N, H, W)."""
    left, right = on_grid(left), on_grid(right)
    shared, iou = overlap(left, right)
    return {"spearman": spearman(left, right), "shared": shared, "iou": iou}


def means(
    values: Mapping[str, np.ndarray], patients: Sequence[str], *, resamples: int, seed: int
) -> dict[str, Interval]:
    """The mean of each figure over images, NaN left out, with a 95 % bootstrap interval over patients."""
    draws = draw({name: mean_of_values(one) for name, one in values.items()}, patients, resamples=resamples, seed=seed)
    return {name: one.interval() for name, one in draws.items()}
