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


@dataclass(frozen=True)
class Cases:
    """Labelled images, and what is asked of them.

    Attributes
    ----------
    labels : ndarray
        (N,) class indices, or (N, K) of 0/1/NaN for multilabel tasks.
    subgroups : sequence of mapping
        For each image column to value, such as sex to F.
    """

    names: Sequence[str]
    patients: Sequence[str]
    labels: NDArray[Any]
    subgroups: Sequence[Mapping[str, str]]
    task: str
    classes: Sequence[str]
    positive: str | None = None

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
class Answers:
    """What one model said.

    Attributes
    ----------
    chances : ndarray of shape (N, K)
        Calibrated probabilities.
    decisions : sequence of str
        At the model's own operating point, as a result tells them.
    ranks : ndarray of shape (N, K)
        Order of the images by class, for the AUC: the probabilities, or what they were computed from, which has no ties
        where probabilities round to 1.
    """

    chances: Floats
    decisions: Sequence[str]
    ranks: Floats
    point: str = ""
    thresholds: Mapping[str, float] = field(default_factory=dict)

    @property
    def broken(self) -> int:
        """Images whose answer is not a number."""
        return int((~(np.isfinite(self.chances) & np.isfinite(self.ranks)).all(axis=1)).sum())


def answers_of(
    cases: Cases,
    chances: NDArray[Any],
    thresholds: Mapping[str, float],
    *,
    ranks: NDArray[Any] | None = None,
    point: str = "",
    decisions: Sequence[str] | None = None,
) -> Answers:
    """Probabilities of shape (N, K) to answers, decided at `thresholds` unless `decisions` are given."""
    values = np.asarray(chances, np.float64)
    order = values if ranks is None else np.asarray(ranks, np.float64)
    if decisions is None:
        decisions = [
            label_at(cases.task, cases.classes, cases.positive, thresholds, row)
            if np.isfinite(row).all() else NOT_A_NUMBER for row in values
        ]  # fmt: skip
    return Answers(values, list(decisions), order, point, dict(thresholds))


def probabilities(logits: NDArray[np.floating], task: str, temperature: float) -> NDArray[np.float64]:
    """Calibrated probabilities of shape (..., classes): softmax, or sigmoid for multilabel tasks."""
    scaled = np.asarray(logits, np.float64) / temperature
    if task == "multilabel":
        return 1.0 / (1.0 + np.exp(-np.clip(scaled, -60, 60)))
    scaled = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(scaled / scaled.sum(axis=-1, keepdims=True))


def answers_of_logits(cases: Cases, logits: NDArray[np.floating], temperature: float, point: OperatingPoint) -> Answers:
    """Logits of shape (N, K) to calibrated probabilities and decisions at an operating point.

    Where two classes or single findings are ranked, logits do it: they have no ties where probabilities round to 1.
    """
    values = np.asarray(logits, np.float64)
    chances = probabilities(values, cases.task, temperature)
    ranks = None
    if cases.task == "multilabel":
        ranks = values
    elif cases.task == "binary":
        ranks = values - values[:, ::-1]
    return answers_of(cases, chances, point.threshold, ranks=ranks, point=point.name)
