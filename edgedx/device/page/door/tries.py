"""Waits after wrong PINs, and bounds of how often a client may ask. Time is monotonic: the clock may be set."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

from .limits import Limits

_KEPT = 4096
"""Clients or names remembered; the one not seen for longest is forgotten."""


class Tries:
    """Who must wait for how long before the next try.

    Names that nobody has are counted as those that somebody has, so that an answer does not tell them apart.
    """

    def __init__(self, limits: Limits, now: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._now = limits, now
        self._known: OrderedDict[Hashable, tuple[int, float]] = OrderedDict()

    def wait(self, who: Hashable, kept: int = 0) -> float:
        """Seconds until the next try; 0 where it may be made.

        Parameters
        ----------
        kept : int
            Wrong tries that a database remembers of `who`: after a restart the wait begins anew.
        """
        if who not in self._known and kept >= self._limits.tries:
            self._remember(who, kept)
        _, until = self._known.get(who, (0, 0.0))
        return max(0.0, until - self._now())

    def count(self, who: Hashable, kept: int = 0) -> None:
        """A try was made, and counts as wrong until `forget`."""
        wrong, _ = self._known.get(who, (0, 0.0))
        self._remember(who, max(wrong + 1, kept))

    def forget(self, who: Hashable) -> None:
        """It was right."""
        self._known.pop(who, None)

    def _remember(self, who: Hashable, wrong: int) -> None:
        over = wrong - self._limits.tries
        longest = self._limits.longest_delay_seconds
        delay = min(longest, self._limits.delay_seconds * 2.0 ** min(over, 32)) if over >= 0 else 0.0
        self._known[who] = wrong, self._now() + delay
        self._known.move_to_end(who)
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)


class Buckets:
    """A token bucket for each client: so many at once, so many a second for long."""

    def __init__(self, burst: float, per_second: float, now: Callable[[], float] = time.monotonic) -> None:
        self._burst, self._rate, self._now = burst, per_second, now
        self._known: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, who: Hashable, count: float = 1.0) -> float:
        """Take `count` tokens; returns 0, or the seconds after which there are so many (none are taken then)."""
        now = self._now()
        left, before = self._known.pop(who, (self._burst, now))
        left = min(self._burst, left + (now - before) * self._rate)
        enough = left >= count
        self._known[who] = (left - count if enough else left), now
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return 0.0 if enough else (count - left) / self._rate
