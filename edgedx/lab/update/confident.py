"""Confident learning: labels that are likely wrong, from answers of models that never saw them.

Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70 (2021), from the
paper and not from the package cleanlab, whose licence (AGPL-3.0) is not edgedx's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Suspect:
    """One label that is likely wrong.

    Attributes
    ----------
    row : int
        Position of the image.
    given, likely : int
        Class that it is labelled with, and the one that the models are confident of.
    margin : float
        Probability of the given class less that of the likely one: the lower, the likelier wrong, -1 at least.
    """

    row: int
    given: int
    likely: int
    margin: float


def confident_joint(labels: NDArray[np.int64], probabilities: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Counts of given (rows) against confident (columns) class, and the confident class of each image.

    An image counts for the class that it is most probably of, among those whose probability reaches the mean that
    images labelled so are given (the paper's equations 1 and 2).

    Parameters
    ----------
    labels : ndarray of shape (N,)
        Class indices.
    probabilities : ndarray of shape (N, K)
        Out of sample: of models that were not trained with these images.

    Returns
    -------
    counts : ndarray of shape (K, K)
    confident : ndarray of shape (N,)
        Class, or -1 where the models are confident of none.
    """
    classes = probabilities.shape[1]
    least = np.array([probabilities[labels == k, k].mean() if (labels == k).any() else np.inf for k in range(classes)])
    reached = np.where(probabilities >= least, probabilities, -1.0)
    confident = np.where(reached.max(axis=1) >= 0, reached.argmax(axis=1), -1)
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels[confident >= 0], confident[confident >= 0]), 1)
    return counts, confident


def likely_wrong(labels: NDArray[np.int64], probabilities: Floats) -> list[Suspect]:
    """Labels that are likely wrong, the likeliest first (see `confident_joint` for the arguments).

    "Prune by noise rate" of the paper: the confident joint, scaled to the number of images of each given class, says
    how many labels i are truly j; so many are taken of each pair, by margin. A class is never emptied: at least one
    image of it stays, and none is named that the models find most probably of its own class.
    """
    counts, _ = confident_joint(labels, probabilities)
    given = np.bincount(labels, minlength=len(counts))
    scaled = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) * given[:, None]
    found: dict[int, Suspect] = {}
    for i in range(len(counts)):
        rows = np.flatnonzero(labels == i)
        for j in range(len(counts)):
            number = min(round(float(scaled[i, j])), max(len(rows) - 1, 0))
            if i == j or not number:
                continue
            margins = probabilities[rows, i] - probabilities[rows, j]
            for place in np.argsort(margins, kind="stable")[:number]:
                one = Suspect(int(rows[place]), i, j, float(margins[place]))
                if one.margin < 0 and (one.row not in found or one.margin < found[one.row].margin):
                    found[one.row] = one
    return sorted(found.values(), key=lambda one: (one.margin, one.row))
