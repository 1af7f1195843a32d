"""CUSUM over days of a share: which small change adds up until it cannot be chance?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

ODDS = 2.0
"""The change that a chart is made to find: odds that double, or halve."""


@dataclass(frozen=True)
class Chart:
    """Where a chart stands after its last day.

    Attributes
    ----------
    level, limit : float
        Sum of the log likelihood ratios since it was last at zero, and the limit.
    begun : int or None
        Index of the day on which the present run of evidence began; None where there is none.
    """

    level: float
    limit: float
    begun: int | None

    @property
    def alarm(self) -> bool:
        """Whether the limit is passed."""
        return self.level > self.limit


def limit_for(days: float) -> float:
    """Limit at which a chart without a change raises an alarm less than once in so many days, on average.

    The mean time to a false alarm is at least the exponential of the limit (Lorden 1971, theorem 2).
    """
    return math.log(days)


def levels(counts: Sequence[tuple[int, int]], usual: float, *, up: bool) -> list[float]:
    """Page's CUSUM (1954) after each day.

    Parameters
    ----------
    counts : sequence of (hits, images)
        Of each day, in order.
    usual : float
        The share without a change, 0 to 1.
    up : bool
        Whether shares above it are looked for, or below it.
    """
    usual = min(max(usual, 1e-3), 1 - 1e-3)
    odds = usual / (1 - usual) * (ODDS if up else 1 / ODDS)
    changed = odds / (1 + odds)
    hit, miss = math.log(changed / usual), math.log((1 - changed) / (1 - usual))
    found, level = [], 0.0
    for hits, images in counts:
        level = max(0.0, level + hits * hit + (images - hits) * miss)
        found.append(level)
    return found


def chart(counts: Sequence[tuple[int, int]], usual: float, *, up: bool, limit: float) -> Chart:
    """Where the chart of `levels` stands after the last day."""
    path = levels(counts, usual, up=up)
    if not path or path[-1] == 0.0:
        return Chart(0.0, limit, None)
    zeros = [day for day, level in enumerate(path) if level == 0.0]
    return Chart(path[-1], limit, zeros[-1] + 1 if zeros else 0)
