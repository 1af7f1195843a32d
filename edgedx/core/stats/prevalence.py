"""How many patients have the finding here, and what that makes of an answer: from probabilities, without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .metrics import Interval

Floats = NDArray[np.float64]
_STEPS, _CLOSE = 1000, 1e-7
_DRAWN_STEPS, _DRAWN_CLOSE = 60, 1e-4
BOOTSTRAP = 200


def corrected(probabilities: ArrayLike, scale: ArrayLike, bias: ArrayLike, task: str) -> Floats:
    """Probabilities (N, K) whose odds are scaled and shifted by class.

    One temperature leaves a bias by class, which estimates of prevalence magnify: with the bias corrected, the simple
    expectation and maximisation is hard to beat (Alexandari, Kundaje and Shrikumar 2020).

    Parameters
    ----------
    scale, bias : array of shape (K,)
        Of log probabilities; of a multilabel task, of log odds.
    """
    values = np.clip(np.asarray(probabilities, np.float64), 1e-9, 1 - 1e-9)
    slope, shift = np.asarray(scale, np.float64), np.asarray(bias, np.float64)
    if task == "multilabel":
        odds = np.clip(slope * np.log(values / (1 - values)) + shift, -60, 60)
        return np.asarray(1 / (1 + np.exp(-odds)))
    logs = slope * np.log(values) + shift
    raised = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def prevalence(probabilities: ArrayLike, built: ArrayLike) -> Floats:
    """Shares of the classes where images come from, shape (K,), by expectation and maximisation.

    Saerens, Latinne and Decaestecker (2002). It is right where the probabilities are calibrated for `built` and the
    images of each class look as they did there: only how many there are of each may differ.

    Parameters
    ----------
    probabilities : array of shape (N, K)
        Calibrated, each row adding to 1.
    built : array of shape (K,)
        Shares of the classes that they were calibrated at.
    """
    values, at = np.asarray(probabilities, np.float64), np.asarray(built, np.float64)
    return np.asarray(_estimate(values, np.ones((1, len(values))), at, at, _STEPS, _CLOSE)[0])


def _estimate(values: Floats, drawn: Floats, built: Floats, start: Floats, steps: int, close: float) -> Floats:
    """Of several resamples at once, rows of `drawn` (B, N) that say how often each image was drawn: shape (B, K)."""
    ratio = values / np.maximum(built, 1e-9)
    weights = drawn / drawn.sum(axis=1, keepdims=True)
    shares = np.broadcast_to(start, (len(drawn), len(start))).copy()
    for _ in range(steps):
        each = weights / np.maximum(shares @ ratio.T, 1e-300)
        new = shares * (each @ ratio)
        moved, shares = float(np.abs(new - shares).max()), new
        if moved < close:
            break
    return np.asarray(shares)


def prevalence_interval(
    told: Sequence[tuple[ArrayLike, ArrayLike]], *, resamples: int = BOOTSTRAP, seed: int = 0
) -> list[Interval]:
    """`prevalence` of each class with a 95 % bootstrap interval.

    Parameters
    ----------
    told : sequence of (probabilities, built)
        Shapes (N, K) and (K,), as `prevalence` takes them. The first is the estimate; any others are the same images
        told by corrections that were fitted on resamples, whose uncertainty is in the interval then: without them it
        is of these images alone, and too narrow.
    """
    several = [(np.asarray(values, np.float64), np.asarray(built, np.float64)) for values, built in told]
    found = prevalence(*several[0])
    rng, count, drawn = np.random.default_rng(seed), len(several[0][0]), []
    others = several[1:] or several
    for values, built in others:
        each = rng.multinomial(count, np.full(count, 1 / count), -(-resamples // len(others))).astype(np.float64)
        drawn.append(_estimate(values, each, built, found, _DRAWN_STEPS, _DRAWN_CLOSE))
    low, high = np.percentile(np.concatenate(drawn), (2.5, 97.5), axis=0)
    return [
        Interval(float(one), float(min(a, one)), float(max(b, one))) for one, a, b in zip(found, low, high, strict=True)
    ]


def predictive_values(sensitivity: float, specificity: float, share: float) -> tuple[float, float]:
    """PPV and NPV at a prevalence, by Bayes' rule; NaN where nobody would be called."""
    right, false = sensitivity * share, (1 - specificity) * (1 - share)
    well, missed = specificity * (1 - share), (1 - sensitivity) * share
    return (
        right / (right + false) if right + false > 0 else float("nan"),
        well / (well + missed) if well + missed > 0 else float("nan"),
    )


@dataclass(frozen=True)
class Expected:
    """Sensitivity and specificity as the model's own probabilities would have them."""

    sensitivity: Interval
    specificity: Interval


def expected_accuracy(
    probability: ArrayLike, called: ArrayLike, *, resamples: int = BOOTSTRAP, seed: int = 0
) -> Expected:
    """Sensitivity and specificity without labels (confidence-based, arXiv 2505.05295).

    Each image counts as present with its probability: what is called and present is expected to be the sum of the
    called images' probabilities. It holds only while probabilities are calibrated for these images; where they have
    shifted it fails, and says nothing of it (arXiv 2507.22776).

    Parameters
    ----------
    probability, called : array of shape (N,)
        Calibrated probability of the finding, and whether it was called.

    Returns
    -------
    Expected
        Intervals over drawn truths and resampled images.
    """
    chance, yes = np.asarray(probability, np.float64), np.asarray(called, bool)
    rng = np.random.default_rng(seed)

    def figures(truth: Floats, decided: NDArray[np.bool_]) -> tuple[float, float]:
        present, absent = truth.sum(), (1 - truth).sum()
        hit, free = (truth * decided).sum(), ((1 - truth) * ~decided).sum()
        return (hit / present if present > 0 else np.nan, free / absent if absent > 0 else np.nan)

    drawn = []
    for _ in range(resamples):
        rows = rng.integers(0, len(chance), len(chance))
        drawn.append(figures((rng.random(len(rows)) < chance[rows]).astype(np.float64), yes[rows]))
    value = figures(chance, yes)
    low, high = np.nanpercentile(np.asarray(drawn), (2.5, 97.5), axis=0)
    one, two = (Interval(float(value[k]), float(low[k]), float(high[k])) for k in (0, 1))
    return Expected(one, two)
