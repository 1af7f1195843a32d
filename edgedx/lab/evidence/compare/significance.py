"""Is one model better than another on the same images? Tests, effect sizes and corrections.

What each test assumes, in plain words: docs/statistics.md. A difference is always the second model less the first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from edgedx.core.stats.metrics import Interval
from edgedx.core.table import null_for_nan

Floats = NDArray[np.float64]
EXACT_BELOW = 25
"""Images (patients) that tell the models apart, below which McNemar's test is exact."""


# DeLong


@dataclass(frozen=True)
class AreaTest:
    """Difference of two correlated AUCs.

    Attributes
    ----------
    difference : Interval
        Normal interval, kept within -1 and 1.
    z, p : float
        Two-sided; NaN where the variance is zero and the difference is not (both curves without a single error of
        rank that could vary).
    """

    difference: Interval
    z: float
    p: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON: NaN becomes null."""
        return {"test": "DeLong", **self.difference.to_dict(), "z": null_for_nan(self.z), "p": null_for_nan(self.p)}


@dataclass(frozen=True)
class Areas:
    """AUCs of several models on the same images.

    Attributes
    ----------
    values : ndarray of shape (M,)
    covariance : ndarray of shape (M, M)
    """

    values: Floats
    covariance: Floats

    def interval(self, index: int, level: float = 0.95) -> Interval:
        """One AUC with its normal interval, kept within 0 and 1."""
        return _normal(float(self.values[index]), float(self.covariance[index, index]), level, 0.0)

    def test(self, first: int, second: int, level: float = 0.95) -> AreaTest:
        """Is the AUC of `second` another than that of `first`?"""
        difference = float(self.values[second] - self.values[first])
        sure = self.covariance
        variance = float(sure[first, first] + sure[second, second] - 2 * sure[first, second])
        if math.isnan(difference) or math.isnan(variance):
            return AreaTest(Interval(difference, math.nan, math.nan), math.nan, math.nan)
        if variance <= 1e-15:  # rounding: the least variance that ranks can have is far above
            same = abs(difference) < 1e-12
            low_high = difference if same else math.nan
            return AreaTest(Interval(difference, low_high, low_high), *((0.0, 1.0) if same else (math.nan, math.nan)))
        z = difference / math.sqrt(variance)
        return AreaTest(_normal(difference, variance, level, -1.0), z, two_sided(z))


def delong(positive: ArrayLike, scores: Sequence[ArrayLike], groups: Sequence[str] | None = None) -> Areas:
    """AUCs with their covariance: DeLong et al. 1988, by the fast algorithm of Sun & Xu 2014 (ranks, N log N).

    Parameters
    ----------
    positive : array of shape (N,), bool or 0/1
    scores : sequence of M arrays of shape (N,)
        Of each model; higher means more positive. Ties count one half.
    groups : sequence of str, length N, optional
        Patient of each image. Images of one patient are not independent: where there are several, the variance is
        that of Obuchowski 1997 over patients, which is DeLong's where each has one image.

    Returns
    -------
    Areas
        All NaN with fewer than two images (patients) with or without the finding.
    """
    truth = np.asarray(positive, bool)
    values = np.stack([np.asarray(one, np.float64) for one in scores])
    sick, well = int(truth.sum()), int((~truth).sum())
    if min(sick, well) < 1:
        return _unknown(len(values))
    # Structural components: how much of the other class each image is ranked right against.
    above = np.stack([(rankdata(row)[truth] - rankdata(row[truth])) / well for row in values])
    below = np.stack([1.0 - (rankdata(row)[~truth] - rankdata(row[~truth])) / sick for row in values])
    areas = above.mean(axis=1)
    if groups is not None and len(set(groups)) < truth.size:
        return Areas(areas, _clustered(truth, areas, above, below, groups))
    if min(sick, well) < 2:
        return _unknown(len(values))
    return Areas(areas, _covariance(above) / sick + _covariance(below) / well)


def _covariance(rows: Floats) -> Floats:
    """Of M rows of n values, shape (M, M)."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(centred @ centred.T / (rows.shape[1] - 1))


def _clustered(truth: NDArray[np.bool_], areas: Floats, above: Floats, below: Floats, groups: Sequence[str]) -> Floats:
    """Obuchowski 1997, Biometrics 53:567: the components are summed by patient before they are squared."""
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    number, sick, well = int(group.max()) + 1, int(truth.sum()), int((~truth).sum())
    with_sick, with_well = len(set(group[truth].tolist())), len(set(group[~truth].tolist()))
    if min(with_sick, with_well) < 2:
        return np.full((areas.size, areas.size), np.nan)

    def sums(parts: Floats, among: NDArray[np.bool_]) -> Floats:
        off = parts - areas[:, None]
        return np.stack([np.bincount(group[among], row, number) for row in off])

    ill, healthy = sums(above, truth), sums(below, ~truth)
    cross = ill @ healthy.T * number / (number - 1)
    return np.asarray(
        (ill @ ill.T) * with_sick / (with_sick - 1) / sick**2
        + (healthy @ healthy.T) * with_well / (with_well - 1) / well**2
        + (cross + cross.T) / (sick * well)
    )


def _unknown(models: int) -> Areas:
    return Areas(np.full(models, np.nan), np.full((models, models), np.nan))


def _normal(value: float, variance: float, level: float, least: float) -> Interval:
    reach = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(max(variance, 0.0))
    # max and min would swallow a NaN
    low, high = float(np.maximum(value - reach, least)), float(np.minimum(value + reach, 1.0))
    return Interval(value, low, high)


def two_sided(z: float) -> float:
    """p of a standard normal deviate, both tails."""
    return math.erfc(abs(z) / math.sqrt(2))


# McNemar


@dataclass(frozen=True)
class DecisionTest:
    """Decisions of two models on the same images.

    Attributes
    ----------
    only_first, only_second : int
        Images that one of them alone decided rightly.
    statistic : float
        Chi squared with one degree of freedom; NaN where the test is exact.
    odds_ratio : Interval
        ``only_second`` to ``only_first``: above 1 the second is the better one. Wald interval, over patients; one half
        is added to both where one of them is 0 (Haldane 1956). NaN where the models never differ.
    """

    only_first: int
    only_second: int
    exact: bool
    statistic: float
    p: float
    odds_ratio: Interval

    def to_dict(self) -> dict[str, Any]:
        """As JSON: NaN becomes null."""
        return {
            "test": "McNemar, exact" if self.exact else "McNemar, continuity-corrected",
            "only_first": self.only_first,
            "only_second": self.only_second,
            "statistic": null_for_nan(self.statistic),
            "p": self.p,
            "odds_ratio": self.odds_ratio.to_dict(),
        }


def mcnemar(first: ArrayLike, second: ArrayLike, groups: Sequence[str] | None = None) -> DecisionTest:
    """Do two models decide equally well (McNemar 1947)? Two-sided.

    Parameters
    ----------
    first, second : arrays of shape (N,), bool
        Whether each image was decided rightly. Images on which both are right, or both wrong, say nothing.
    groups : sequence of str, length N, optional
        Patient of each image. What a patient's images say is summed before it is squared (Obuchowski 1998, in the form
        of Yang et al. 2010); exactly: his sum may as well have had the other sign. Where each patient has one image
        both are McNemar's.
    """
    one, two = np.asarray(first, bool), np.asarray(second, bool)
    patients = np.arange(one.size) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    worse, better = (np.bincount(patients, rows).astype(np.int64) for rows in (one & ~two, two & ~one))
    differences = better - worse
    sizes = np.abs(differences[differences != 0])
    gap, exact, statistic = abs(int(differences.sum())), sizes.size < EXACT_BELOW, math.nan
    if exact:
        p = _chance_of_a_sum(sizes.tolist(), gap)
    else:
        # Edwards 1948: half of the step between two possible sums, which is twice their common divisor
        statistic = max(gap - int(np.gcd.reduce(sizes)), 0) ** 2 / float((sizes**2).sum())
        p = math.erfc(math.sqrt(statistic / 2))
    ratio = _odds_ratio(worse.astype(np.float64), better.astype(np.float64))
    return DecisionTest(int(worse.sum()), int(better.sum()), exact, statistic, p, ratio)


def _chance_of_a_sum(sizes: Sequence[int], least: int) -> float:
    """Chance that numbers of these sizes, each with a sign by a coin, sum to `least` or more on either side."""
    ways = {0: 1}
    for size in sizes:
        more: dict[int, int] = {}
        for total, count in ways.items():
            for reached in (total - size, total + size):
                more[reached] = more.get(reached, 0) + count
        ways = more
    extreme = sum(count for total, count in ways.items() if abs(total) >= least)
    return float(extreme / 2 ** len(sizes))


def _odds_ratio(worse: Floats, better: Floats, level: float = 0.95) -> Interval:
    """From how often, for each patient, one model alone was right; the interval is over patients (delta method)."""
    only_first, only_second = float(worse.sum()), float(better.sum())
    if only_first + only_second == 0:
        return Interval(math.nan, math.nan, math.nan)
    if 0 in (only_first, only_second):
        only_first, only_second = only_first + 0.5, only_second + 0.5
        variance = 1 / only_first + 1 / only_second
    else:
        variance = float(((better / only_second - worse / only_first) ** 2).sum())
    ratio, reach = only_second / only_first, NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(variance)
    return Interval(ratio, ratio * math.exp(-reach), ratio * math.exp(reach))


# Effect sizes of paired differences, and several tests at once


def cohen_dz(differences: ArrayLike) -> float:
    """Mean of paired differences over their standard deviation (Cohen 1988); NaN where they do not vary."""
    values = np.asarray(differences, np.float64)
    if not values.any():
        return 0.0
    spread = float(values.std(ddof=1)) if values.size > 1 else 0.0
    return float(values.mean()) / spread if spread > 1e-12 * float(np.abs(values).max()) else math.nan


def rank_biserial(differences: ArrayLike) -> float:
    """Share of the ranks of positive differences less that of negative ones (Kerby 2014); zeros are left out."""
    values = np.asarray(differences, np.float64)
    values = values[values != 0]
    if not values.size:
        return 0.0
    ranks = rankdata(np.abs(values))
    return float((ranks[values > 0].sum() - ranks[values < 0].sum()) / ranks.sum())


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979): the chance of any false claim stays below the level.

    NaN (a test that could not be made) stays NaN and is not counted.
    """
    known = sorted((p, position) for position, p in enumerate(p_values) if not math.isnan(p))
    corrected, least = [math.nan] * len(p_values), 0.0
    for rank, (p, position) in enumerate(known):
        least = max(least, min(1.0, (len(known) - rank) * p))  # never below that of a smaller p
        corrected[position] = least
    return corrected
