"""Shares of few cases: Wilson's interval, and what a count of cases can prove. Standard library alone."""

from __future__ import annotations

import math
from statistics import NormalDist

from .metrics import Interval


def wilson(share: float, count: float, level: float = 0.95, *, z: float | None = None) -> Interval:
    """A share with its two-sided score interval (Wilson, JASA 1927), which holds at 0 and 1 too.

    Parameters
    ----------
    share : float
        Observed, 0 to 1.
    count : float
        Cases that it is of; less where cases are not independent (see `core.stats.patients.independent_cases`).
    z : float, optional
        Standard deviations, in the place of the level.

    Returns
    -------
    Interval
        Of no cases the value is NaN, and anything from 0 to 1 is possible.
    """
    if count <= 0 or math.isnan(share):
        return Interval(math.nan, 0.0, 1.0)
    z = NormalDist().inv_cdf((1 + level) / 2) if z is None else z
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    # At its ends the interval reaches the share itself; rounding must not leave it outside.
    return Interval(share, min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half)))


def safe_rank(count: int, share: float, confidence: float) -> int:
    """Greatest rank k such that the k-th lowest of `count` scores has `share` of all others at or above it.

    That holds with `confidence` over samples, whatever the scores' distribution: the share below the k-th lowest of n
    independent scores is Beta(k, n - k + 1), which is at most 1 - share with probability P(Bin(n, 1 - share) >= k)
    (distribution-free tolerance limits; Wilks, Ann. Math. Stat. 1941, 12(1):91-96). Ties only help.

    Returns
    -------
    int
        0 where `count` is too small for any: see `least_cases`.
    """
    below, rank = 0.0, 0  # `below`: probability of `rank` or fewer among `count`
    while rank < count:
        below += math.exp(
            math.lgamma(count + 1) - math.lgamma(rank + 1) - math.lgamma(count - rank + 1)
            + rank * math.log1p(-share) + (count - rank) * math.log(share)
        )  # fmt: skip
        if below > 1 - confidence + 1e-12:
            break
        rank += 1
    return rank


def least_cases(share: float, confidence: float) -> int:
    """Cases below which no rank is safe: 59 at 0.95 and 0.95, as 0.95 to the power of 59 is below 0.05.

    Examples
    --------
    >>> least_cases(0.95, 0.95), least_cases(0.9, 0.95)
    (59, 29)
    """
    return max(1, math.ceil(math.log(1 - confidence) / math.log(share) - 1e-9))
