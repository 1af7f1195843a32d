"""What the rim of an image tells of its class: collimation, letters, black borders, the style of a source."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedx.core.preprocess import Canvas

from .confounders import Confounder, questions

FACT = "the border (outer sixteenth of the image)"
_SIDE, _RIM = 32, 2
_MOST = 5000
"""Images that are looked at; more change nothing."""


def rims(canvases: Canvas, rows: Sequence[int], bits: int) -> NDArray[np.float32]:
    """The outer two of 32 pixels of each canvas, shape (N, 240) or (N, 720) for colour, 0 to 1.

    Parameters
    ----------
    canvases : ndarray of shape (M, H, W) or (M, H, W, 3)
    rows : sequence of int, length N
    """
    ring = np.ones((_SIDE, _SIDE), bool)
    ring[_RIM:-_RIM, _RIM:-_RIM] = False
    peak = float((1 << bits) - 1)
    small = (cv2.resize(np.asarray(canvases[row]), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for row in rows)
    return np.stack([np.asarray(one, np.float32)[ring].reshape(-1) / peak for one in small])


def border_tells(
    canvases: Canvas,
    rows: Sequence[int],
    bits: int,
    labels: NDArray[np.float64],
    classes: Sequence[str],
    units: Sequence[str],
    *,
    seed: int = 0,
) -> list[Confounder]:
    """How well a logistic regression on the rim alone tells each class, cross-validated by patient.

    Anatomy reaches the rim too, so that this is a reason to look and no proof: what a network does with the rim is told
    by its heat maps.

    Parameters
    ----------
    rows : sequence of int, length N
        Position of each image's canvas.
    labels : ndarray of shape (N,) of class indices, or (N, K) of 0/1/NaN
    units : sequence of str, length N
        Patients.

    Returns
    -------
    list of Confounder
        All classes that could be judged, the worst first.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:_MOST])
    features = rims(canvases, [rows[index] for index in chosen], bits)
    of_chosen = [units[index] for index in chosen]
    make = lambda: make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))  # noqa: E731
    found = [one.judge(FACT, features, make) for one in questions(labels[chosen], classes, of_chosen, seed)]
    return sorted(found, key=lambda one: -one.auc)
