"""Figures of a classifier, in numpy alone, so that a device can judge itself.

Scores are probabilities (or logits, where only ranks matter); labels are class indices, or a 0/1 matrix for
multilabel tasks, in which NaN marks a label that is not known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


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
    truth, values = np.asarray(positive, bool), np.asarray(score, np.float64)
    count = int(truth.sum())
    if count in (0, truth.size):
        return float("nan")
    _, inverse, sizes = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    rank = (last - (sizes - 1) / 2.0)[inverse]
    return float((rank[truth].sum() - count * (count + 1) / 2.0) / (count * (truth.size - count)))


def auc(labels: ArrayLike, probability: ArrayLike, task: str, positive: int = 1) -> float:
    """AUC of a task: of the positive class (binary), else the macro mean of one class against the rest.

    Parameters
    ----------
    labels : array of shape (N,) of class indices, or (N, K) of 0/1/NaN for multilabel
    probability : array of shape (N, K)
    """
    truth, chance = np.asarray(labels), np.asarray(probability)
    if task == "binary":
        return roc_auc(truth == positive, chance[:, positive])
    known = [value for value in class_aucs(truth, chance, task) if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def class_aucs(labels: ArrayLike, probability: ArrayLike, task: str) -> list[float]:
    """AUC of each class against the rest; unknown labels of a multilabel task are left out."""
    truth, chance = np.asarray(labels), np.asarray(probability)
    values = []
    for column in range(chance.shape[1]):
        if task == "multilabel":
            known = ~np.isnan(truth[:, column].astype(np.float64))
            values.append(roc_auc(truth[known, column] == 1, chance[known, column]))
        else:
            values.append(roc_auc(truth == column, chance[:, column]))
    return values


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


def expected_calibration_error(correct: ArrayLike, confidence: ArrayLike, bins: int = 15) -> float:
    """ECE with equal-width bins (Guo et al. 2017).

    Parameters
    ----------
    correct : array of shape (N,), bool
        Whether the decision was right.
    confidence : array of shape (N,)
        Probability given to that decision.
    """
    right, sure = np.asarray(correct, np.float64), np.asarray(confidence, np.float64)
    which = np.clip((sure * bins).astype(int), 0, bins - 1)
    weights = np.bincount(which, minlength=bins)
    gaps = np.abs(np.bincount(which, right, bins) - np.bincount(which, sure, bins))
    return float(gaps[weights > 0].sum() / max(right.size, 1))


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
        return {key: None if np.isnan(number) else float(number) for key, number in asdict(self).items()}

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], float],
    groups: ArrayLike,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval (Efron 1979), resampling groups (patients) and not images.

    Parameters
    ----------
    statistic : callable
        Takes the indices of a resample, shape (n,), and returns the figure; NaN resamples are left out.
    groups : array of shape (N,)
        Group of each image. Images of one patient are not independent, so patients are drawn whole.
    resamples : int
        How many.
    level : float
        Coverage, 0 to 1.
    """
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(resamples):
        drawn = rng.integers(0, len(members), len(members))
        values.append(statistic(np.concatenate([members[index] for index in drawn])))
    kept = np.array(values)[~np.isnan(values)]
    point = statistic(np.arange(group.size))
    if kept.size == 0:
        return Interval(point, float("nan"), float("nan"))
    low, high = np.percentile(kept, [50 * (1 - level), 50 * (1 + level)])
    return Interval(point, float(low), float(high))


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
    values, truth = np.asarray(logits, np.float64), np.asarray(labels)

    def loss(log_temperature: float) -> float:
        scaled = values / np.exp(log_temperature)
        if task == "multilabel":
            known = ~np.isnan(truth.astype(np.float64))
            return float((np.logaddexp(0, scaled) - np.where(known, truth, 0) * scaled)[known].mean())
        peak = scaled.max(axis=1)
        log_sum = peak + np.log(np.exp(scaled - peak[:, None]).sum(axis=1))
        return float((log_sum - scaled[np.arange(len(truth)), truth.astype(int)]).mean())

    low, high, ratio = np.log(0.05), np.log(20.0), (np.sqrt(5.0) - 1) / 2
    for _ in range(60):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return float(np.exp((low + high) / 2))
