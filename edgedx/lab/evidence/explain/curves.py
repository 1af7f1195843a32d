"""Deletion and insertion (Petsiuk et al. 2018, RISE): does the answer go where the map says that it comes from?"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edgedx.core.preprocess import Canvas

from .methods import Advance, absent
from .models import Explainable

STEPS = 20
FRACTIONS = np.linspace(0.0, 1.0, STEPS + 1)
"""Share of the pixels that are gone, or there."""
_CELLS = 8  # a side: the random order is of spots as wide as those of heat maps, because single pixels are no match


@dataclass(frozen=True)
class Curves:
    """Probability of the class while pixels go or come, highest of the map first, both of shape (N, STEPS + 1).

    What goes is replaced by the blurred image (`explain_methods.absent`), and what comes replaces it.
    """

    deletion: np.ndarray
    insertion: np.ndarray

    def areas(self) -> dict[str, np.ndarray]:
        """Areas below the curves, (N,): low is good for deletion, high for insertion."""
        return {"deletion": _area(self.deletion), "insertion": _area(self.insertion)}


def _area(curve: np.ndarray) -> np.ndarray:
    return np.asarray((curve[:, 1:] + curve[:, :-1]).mean(axis=1) / 2)


def curves(
    model: Explainable, canvases: Canvas, maps: np.ndarray, classes: np.ndarray, *, seed: int = 0, advance: Advance
) -> Curves:
    """Delete and insert by the order of `maps`, (N, H, W); where a map ties, by lot."""
    rng, gone = np.random.default_rng(seed), absent(canvases)
    leaves = np.rint(FRACTIONS * maps[0].size)
    results = []
    for canvas, blurred, heat, one in zip(canvases, gone, maps, classes, strict=True):
        order = np.lexsort((rng.random(heat.size), -heat.ravel()))
        rank = np.empty(heat.size)
        rank[order] = np.arange(heat.size)
        taken = rank.reshape(1, *heat.shape) < leaves[:, None, None]
        taken = taken if canvas.ndim == 2 else taken[..., None]
        whole = canvas.astype(np.float32)
        changed = np.concatenate([np.where(taken, blurred, whole), np.where(taken, whole, blurred)])
        results.append(model.probabilities(changed)[:, one].reshape(2, -1))
        advance(1)
    deletion, insertion = np.stack(results, axis=1)
    return Curves(deletion, insertion)


def random_maps(count: int, shape: tuple[int, int], seed: int) -> np.ndarray:
    """The control: maps of shape (N, H, W) that know nothing, as smooth as heat maps are."""
    drawn = np.random.default_rng(seed).random((count, _CELLS, _CELLS)).astype(np.float32)
    return np.stack([cv2.resize(one, shape[::-1], interpolation=cv2.INTER_LINEAR) for one in drawn])
