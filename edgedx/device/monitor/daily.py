"""Charts over days: shares that creep, too slowly for any one window to show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgedx.core.bundle.reference import Reference
from edgedx.core.bundle.streams import judged
from edgedx.core.stats.binomial import wilson
from edgedx.core.stats.charts import chart, limit_for

from .usual import Usual

_YEARS = 2.0
"""All charts together raise a false alarm less than once in so many years."""
_Z = 1.2816
"""The share that is usual is itself estimated: a chart begins at the end of its 80 % interval."""
Days = Sequence[tuple[int, Mapping[str, int]]]


@dataclass(frozen=True)
class DailyChart:
    """One share over days.

    Attributes
    ----------
    stream : str
        ``called:CLASS``, ``refused`` or ``unlike``.
    usual, now : float
        The share that it is compared with, and that of the last 7 days with images.
    since : int or None
        Day, since 1970, on which the present run of evidence began.
    """

    stream: str
    up: bool
    usual: float
    now: float
    level: float
    limit: float
    alarm: bool
    since: int | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "stream": self.stream,
            "direction": "up" if self.up else "down",
            "usual": round(self.usual, 6),
            "now": round(self.now, 6),
            "level": round(self.level, 4),
            "limit": round(self.limit, 4),
            "alarm": self.alarm,
        }


@dataclass(frozen=True)
class Plan:
    """A chart before it has seen a day.

    Attributes
    ----------
    whole : str
        Count of a day that the share is of.
    usual, start : float
        The share as it was counted, and the end of its interval at which the chart begins.
    """

    stream: str
    whole: str
    up: bool
    usual: float
    start: float
    limit: float

    def counted(self, days: Sequence[Mapping[str, int]]) -> list[tuple[int, int]]:
        """(hits, images) of each day."""
        return [(counts.get(self.stream, 0), counts.get(self.whole, 0)) for counts in days]


def plans(
    reference: Reference | None, usual: Usual | None, *, task: str, classes: Sequence[str], positive: str | None
) -> list[Plan]:
    """Every chart that can be kept: against what is usual at the site, else against the bundle."""
    shares = [(f"called:{name}", "answered", _called(name, reference, usual), both)
              for name in judged(task, classes, positive) for both in (True, False)]  # fmt: skip
    shares += [("refused", "images", _refused(usual), True), ("unlike", "asked", _unlike(reference, usual), True)]
    known = [(stream, whole, base, up) for stream, whole, base, up in shares if base is not None]
    limit = limit_for(365.25 * _YEARS * max(1, len(known)))
    made = []
    for stream, whole, (hits, count), up in known:
        share = wilson(hits / count, count, z=_Z)
        made.append(Plan(stream, whole, up, share.value, share.high if up else share.low, limit))
    return made


def charts(
    days: Days,
    reference: Reference | None,
    usual: Usual | None,
    *,
    task: str,
    classes: Sequence[str],
    positive: str | None,
) -> list[DailyChart]:
    """Where every chart stands.

    Parameters
    ----------
    days : sequence of (day, counts)
        As `store.Watched.days` gives them; those that the site's own reference was taken from are left out.
    """
    numbers = [day for day, _ in days if usual is None or day > usual.until]
    after = [counts for day, counts in days if usual is None or day > usual.until]
    found = []
    for plan in plans(reference, usual, task=task, classes=classes, positive=positive):
        counted = plan.counted(after)
        one = chart(counted, plan.start, up=plan.up, limit=plan.limit)
        recent = counted[-7:]
        seen = sum(images for _, images in recent)
        now = sum(part for part, _ in recent) / seen if seen else plan.usual
        since = None if one.begun is None else numbers[one.begun]
        found.append(DailyChart(plan.stream, plan.up, plan.usual, now, one.level, plan.limit, one.alarm, since))
    return found


def _called(name: str, reference: Reference | None, usual: Usual | None) -> tuple[float, float] | None:
    if usual is not None:
        answered = usual.outcomes.get("answered", 0)
        return (usual.called.get(name, 0), answered) if answered else None
    if reference is not None and name in reference.called:
        return reference.called[name] * reference.images, reference.images
    return None


def _refused(usual: Usual | None) -> tuple[float, float] | None:
    """Of the site alone: what a site sends that no model takes is not known where the model was made."""
    return None if usual is None else (usual.images - usual.outcomes.get("answered", 0), usual.images)


def _unlike(reference: Reference | None, usual: Usual | None) -> tuple[float, float] | None:
    if usual is not None:
        return usual.unlike if usual.unlike[1] else None
    if reference is not None and reference.unlike is not None:
        return reference.unlike * reference.images, reference.images
    return None
