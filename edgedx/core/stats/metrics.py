"""Figures of a classifier, in numpy alone, so that a device can judge itself.

Scores are probabilities (or logits, where only ranks matter); labels are class indices, or a 0/1 matrix for
multilabel tasks, in which NaN marks a label that is not known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from edgedx.core.table import null_for_nan

from .weighted import BINS, Floats, Ranked, Statistic, calibration_error, mean_of, of_all


def roc_auc(positive: ArrayLike, score: ArrayLike) -> float:
    """Area under the ROC curve as the Mann-Whitney statistic; ties count one half.

    Parameters
    ----------
    positive : array of shape (N,), bool or 0/1
    score : array of shape (N,)
        Higher means more positive.

    Returns
    -------
    float
        NaN where only one class is present.
    """
    truth = np.asarray(positive, bool)
    return of_all(Ranked(truth, score).auc, truth.size)


def auc(labels: ArrayLike, probability: ArrayLike, task: str, positive: int = 1) -> float:
    """AUC of a task: of the positive class (binary), else the macro mean of one class against the rest.

    Parameters
    ----------
    labels : array of shape (N,) of class indices, or (N, K) of 0/1/NaN for multilabel
    probability : array of shape (N, K)
    """
    return of_all(mean_of(area_statistics(labels, probability, task, positive)), len(np.asarray(labels)))


def class_aucs(labels: ArrayLike, probability: ArrayLike, task: str) -> list[float]:
    """AUC of each class against the rest; unknown labels of a multilabel task are left out."""
    return [of_all(area, len(np.asarray(labels))) for area in area_statistics(labels, probability, task)]


def area_statistics(labels: ArrayLike, score: ArrayLike, task: str, positive: int | None = None) -> list[Statistic]:
    """AUC of weighted images: of the positive class alone where one is named (binary), else of each class."""
    truth, scores = np.asarray(labels), np.asarray(score, np.float64)
    columns = [positive] if task == "binary" and positive is not None else range(scores.shape[1])
    areas: list[Statistic] = []
    for column in columns:
        if task == "multilabel":
            known = np.flatnonzero(~np.isnan(truth[:, column].astype(np.float64)))
            areas.append(Ranked(truth[:, column] == 1, scores[:, column], known).auc)
        else:
            areas.append(Ranked(truth == column, scores[:, column]).auc)
    return areas


def sensitivity_specificity(positive: ArrayLike, score: ArrayLike, threshold: float) -> tuple[float, float]:
    """Sensitivity and specificity of `score` >= `threshold`; NaN for a class that is absent."""
    truth, called = np.asarray(positive, bool), np.asarray(score) >= threshold
    sick, well = int(truth.sum()), int((~truth).sum())
    sensitivity = float((called & truth).sum() / sick) if sick else float("nan")
    specificity = float((~called & ~truth).sum() / well) if well else float("nan")
    return sensitivity, specificity


def roc_points(positive: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Thresholds in falling order, with sensitivity and specificity of ``score >= threshold`` at each."""
    truth, values = np.asarray(positive, bool), np.asarray(score, np.float64)
    order = np.argsort(-values, kind="stable")
    ordered, hits = values[order], truth[order]
    last_of_tie = np.r_[np.flatnonzero(np.diff(ordered)), ordered.size - 1]
    true_positive = np.cumsum(hits)[last_of_tie]
    false_positive = 1 + last_of_tie - true_positive
    sick, well = max(int(truth.sum()), 1), max(int((~truth).sum()), 1)
    return ordered[last_of_tie], true_positive / sick, 1.0 - false_positive / well


def youden_threshold(positive: ArrayLike, score: ArrayLike) -> float:
    """Threshold with the greatest sensitivity + specificity - 1 (Youden 1950), midway to the next lower score.

    Midway, because a threshold that sits on a case of the validation split flips with the last bit of a score.
    """
    return _midway(score, *_best(positive, score, lambda sensitivity, specificity: sensitivity + specificity))


def threshold_at_sensitivity(positive: ArrayLike, score: ArrayLike, target: float) -> float:
    """Highest threshold whose sensitivity reaches `target`, so the best specificity there, set midway as above."""
    thresholds, sensitivity, _ = roc_points(positive, score)
    index = int(np.argmax(sensitivity >= target)) if (sensitivity >= target).any() else len(thresholds) - 1
    return _midway(score, thresholds, index)


def threshold_at_specificity(positive: ArrayLike, score: ArrayLike, target: float) -> float:
    """Lowest threshold whose specificity reaches `target`, so the best sensitivity there, set midway as above.

    Where even the highest score is given to too many of the negative class, the threshold lies above all scores.
    """
    thresholds, _, specificity = roc_points(positive, score)
    reached = np.flatnonzero(specificity >= target)
    if reached.size == 0:
        top = float(thresholds[0])
        return (top + 1.0) / 2.0 if top < 1.0 else float(np.nextafter(top, np.inf))
    return _midway(score, thresholds, int(reached[-1]))


def _best(positive: ArrayLike, score: ArrayLike, value: Callable[[Floats, Floats], Floats]) -> tuple[Floats, int]:
    thresholds, sensitivity, specificity = roc_points(positive, score)
    return thresholds, int(np.argmax(value(sensitivity, specificity)))


def _midway(score: ArrayLike, thresholds: Floats, index: int) -> float:
    below = thresholds[index + 1] if index + 1 < len(thresholds) else thresholds[index]
    return float((thresholds[index] + below) / 2.0)


def expected_calibration_error(correct: ArrayLike, confidence: ArrayLike, bins: int = BINS) -> float:
    """ECE with equal-width bins (Guo et al. 2017).

    Parameters
    ----------
    correct : array of shape (N,), bool
        Whether the decision was right.
    confidence : array of shape (N,)
        Probability given to that decision.
    """
    right = np.asarray(correct, bool)
    return of_all(calibration_error(right, confidence, bins=bins), right.size)


def brier(labels: ArrayLike, probability: ArrayLike) -> float:
    """Brier score: mean squared distance of the probability vector to the one-hot label (0 best, 2 worst)."""
    chance = np.asarray(probability, np.float64)
    target = np.eye(chance.shape[1])[np.asarray(labels, int)]
    return float(((chance - target) ** 2).sum(axis=1).mean())


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % (or other) interval."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float | None]:
        """As JSON: NaN becomes null."""
        return {key: null_for_nan(number) for key, number in asdict(self).items()}

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def log_loss(logits: ArrayLike, labels: ArrayLike, task: str) -> float:
    """Mean negative log likelihood of the labels; of a multilabel task over all labels that are known.

    Parameters
    ----------
    logits : array of shape (N, K)
    labels : array of shape (N,) of class indices, or (N, K) of 0/1/NaN for multilabel
    """
    values, truth = np.asarray(logits, np.float64), np.asarray(labels)
    if task == "multilabel":
        known = ~np.isnan(truth.astype(np.float64))
        return float((np.logaddexp(0, values) - np.where(known, truth, 0) * values)[known].mean())
    peak = values.max(axis=1)
    log_sum = peak + np.log(np.exp(values - peak[:, None]).sum(axis=1))
    return float((log_sum - values[np.arange(len(truth)), truth.astype(int)]).mean())


def fit_temperature(logits: ArrayLike, labels: ArrayLike, task: str) -> float:
    """Temperature that minimises the negative log likelihood (Guo et al. 2017), by golden-section search.

    Parameters
    ----------
    logits : array of shape (N, K)
    labels : array of shape (N,) of class indices, or (N, K) of 0/1/NaN for multilabel

    Returns
    -------
    float
        Between 0.05 and 20.
    """
    values = np.asarray(logits, np.float64)

    def loss(log_temperature: float) -> float:
        return log_loss(values / np.exp(log_temperature), labels, task)

    low, high, ratio = np.log(0.05), np.log(20.0), (np.sqrt(5.0) - 1) / 2
    for _ in range(60):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return float(np.exp((low + high) / 2))
