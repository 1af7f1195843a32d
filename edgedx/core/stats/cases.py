"""Labelled images and what a model answered for them: what figures, gates and comparisons are computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .points import OperatingPoint, label_at

Floats = NDArray[np.float64]


NOT_A_NUMBER = "not a number"
_LEAST = 1e-300
"""Least probability that odds are formed with, so that none is infinite."""
_GRAIN = float(1 << 40)


@dataclass(frozen=True)
class Cases:
    """Labelled images, and what is asked of them.

    Attributes
    ----------
    labels : ndarray
        (N,) class indices, or (N, K) of 0/1/NaN for multilabel tasks.
    subgroups : sequence of mapping
        For each image column to value, such as sex to F.
    ordered : bool
        Whether the classes are grades in rising order.
    """

    names: Sequence[str]
    patients: Sequence[str]
    labels: NDArray[Any]
    subgroups: Sequence[Mapping[str, str]]
    task: str
    classes: Sequence[str]
    positive: str | None = None
    ordered: bool = False

    def __len__(self) -> int:
        return len(self.names)

    def findings(self) -> list[tuple[int, NDArray[np.bool_], NDArray[np.bool_]]]:
        """(class index, known, present) for each class that is judged: of a binary task the positive one alone."""
        labels = np.asarray(self.labels)
        if self.task == "multilabel":
            return [(k, ~np.isnan(labels[:, k].astype(np.float64)), labels[:, k] == 1)
                    for k in range(len(self.classes))]  # fmt: skip
        every = np.ones(len(labels), bool)
        judged = [list(self.classes).index(self.positive)] if self.positive is not None else range(len(self.classes))
        return [(k, every, labels == k) for k in judged]

    def truth(self, index: int) -> str:
        """The label of one image in words; of an unknown finding nothing is said."""
        if self.task != "multilabel":
            return str(self.classes[int(self.labels[index])])
        found = [name for name, value in zip(self.classes, self.labels[index], strict=True) if value == 1]
        return "|".join(found) if found else "none"


@dataclass(frozen=True)
class Predictions:
    """What one model predicts for the cases.

    Attributes
    ----------
    probabilities : ndarray of shape (N, K)
        Calibrated probabilities.
    decisions : sequence of str
        At the model's operating point.
    scores : ndarray of shape (N, K)
        Order of the images by class, for the AUC: see `ranking_scores`.
    """

    probabilities: Floats
    decisions: Sequence[str]
    scores: Floats
    point: str = ""
    thresholds: Mapping[str, float] = field(default_factory=dict)

    @property
    def broken(self) -> int:
        """Images whose prediction is not a number."""
        return int((~(np.isfinite(self.probabilities) & np.isfinite(self.scores)).all(axis=1)).sum())


def predictions_of(
    cases: Cases,
    probabilities: NDArray[Any],
    thresholds: Mapping[str, float],
    *,
    scores: NDArray[Any] | None = None,
    point: str = "",
    decisions: Sequence[str] | None = None,
) -> Predictions:
    """Probabilities of shape (N, K) to predictions, decided at `thresholds` unless `decisions` are given."""
    values = np.asarray(probabilities, np.float64)
    order = ranking_scores(values, cases.task) if scores is None else np.asarray(scores, np.float64)
    if decisions is None:
        decisions = [
            label_at(cases.task, cases.classes, cases.positive, thresholds, row)
            if np.isfinite(row).all() else NOT_A_NUMBER for row in values
        ]  # fmt: skip
    return Predictions(values, list(decisions), order, point, dict(thresholds))


def calibrated_probabilities(logits: NDArray[np.floating], task: str, temperature: float) -> NDArray[np.float64]:
    """Calibrated probabilities of shape (..., classes): softmax, or sigmoid for multilabel tasks."""
    scaled = np.asarray(logits, np.float64) / temperature
    if task == "multilabel":
        return 1.0 / (1.0 + np.exp(-np.clip(scaled, -60, 60)))
    scaled = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(scaled / scaled.sum(axis=-1, keepdims=True))


def ranking_scores(probabilities: NDArray[Any], task: str) -> Floats:
    """Scores of shape (N, K) that order the images by class, from probabilities of shape (N, K) and nothing else.

    A table of predictions holds probabilities in full, so whoever reads it computes the same order, the same ties and
    the same AUC. They are odds: of two classes those of one against the other, because where one probability rounds to
    1, the other still tells images apart. Rounded to 40 bits, a million times finer than a network's own float32: what
    differs less is the rounding noise of a processor, and another one would order it otherwise.
    """
    values = np.asarray(probabilities, np.float64)
    with np.errstate(invalid="ignore"):
        odds = values / np.maximum(values[:, ::-1] if task == "binary" else 1.0 - values, _LEAST)
        mantissa, exponent = np.frexp(odds)
        return np.asarray(np.ldexp(np.round(mantissa * _GRAIN) / _GRAIN, exponent))


def predictions_of_logits(
    cases: Cases, logits: NDArray[np.floating], temperature: float, point: OperatingPoint
) -> Predictions:
    """Logits of shape (N, K) to calibrated probabilities and decisions at an operating point."""
    probabilities = calibrated_probabilities(logits, cases.task, temperature)
    return predictions_of(cases, probabilities, point.threshold, point=point.name)
