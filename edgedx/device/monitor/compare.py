"""A window against what the bundle and the site have been like: which streams have changed, beyond sampling noise?

One family: all streams against both references, corrected by Holm, at a level that gives less than one false alarm in
two years where somebody looks every day. The charts over days (see `daily`) have the other half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from edgedx.core.bundle.reference import Numbers, Reference
from edgedx.core.stats.drift import (
    RESAMPLES,
    Shift,
    category_shift,
    chi_square_p,
    distance,
    holm,
    kolmogorov_p,
    number_floor,
)

from .sample import ANSWERED, Sample
from .usual import Usual

LEVEL = 0.5 / 365
"""Of the family: chance of any false alarm at one look."""
LEAST_EFFECT = 0.10
"""A smaller change of a distribution (D, or Cramer's V) is no news, however many images prove it."""
LEAST_SHARE = 0.02
"""The same for a picture that comes again and again."""
GREW = 0.15
"""What a person has said is as usual is an alarm again when it is so much more."""

Against = Literal["bundle", "site"]


@dataclass(frozen=True)
class Finding:
    """One stream against one reference.

    Attributes
    ----------
    p : float
        Corrected for the number of streams.
    alarm : bool
        Shown, beyond the noise floor, large enough, and not known to be as usual here.
    known : bool
        Whether a person has said that it is as usual here.
    """

    stream: str
    against: Against
    shift: Shift
    p: float = 1.0
    alarm: bool = False
    known: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        shift = {name: round(value, 6) if isinstance(value, float) else value
                 for name, value in asdict(self.shift).items() if name != "p"}  # fmt: skip
        return {"stream": self.stream, "against": self.against, **shift, "p": self.shift.p, "p_holm": self.p,
                "alarm": self.alarm, "known": self.known}  # fmt: skip


def compare(
    sample: Sample,
    reference: Reference | None,
    usual: Usual | None,
    known: Mapping[str, float] | None = None,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> list[Finding]:
    """Every stream against every reference there is, the most conspicuous first.

    Parameters
    ----------
    usual : Usual, optional
        None where it has not been taken, or the window is within it.
    known : mapping of stream to effect
        Differences from the bundle that a person has said are as usual here.
    resamples : int
        For noise floors; 0 leaves them out, and p-values alone decide with the least effect.
    """
    found: list[Finding] = []
    if reference is not None:
        found += _numbers(sample, reference.numbers, "bundle", resamples)
        found += _of_shares(sample, "bundle", _share(reference.unlike, reference.images), None, resamples)
        found += _repeats(sample, reference.repeats, "bundle")
    if usual is not None:
        found += _numbers(sample, usual.numbers, "site", resamples)
        for stream, counts in sorted(usual.categories.items()):
            found += _categories(stream, "site", counts, sample.categories.get(stream, {}), resamples)
        found += _of_shares(sample, "site", usual.unlike, usual.outcomes, resamples)
    corrected = holm([one.shift.p for one in found])
    judged = [
        _judge(replace(one, p=p), level, (known or {}).get(one.stream) if one.against == "bundle" else None)
        for one, p in zip(found, corrected, strict=True)
    ]
    return sorted(judged, key=lambda one: (not one.alarm, one.p, -one.shift.effect))


def _judge(finding: Finding, level: float, known: float | None) -> Finding:
    least = LEAST_SHARE if finding.stream == "repeats" else LEAST_EFFECT
    if known is not None:
        least = max(least, known + GREW)
    shown = finding.p < level and finding.shift.effect > max(finding.shift.floor, least)
    return replace(finding, alarm=shown, known=known is not None)


def _numbers(sample: Sample, kept: Mapping[str, Numbers], against: Against, resamples: int) -> list[Finding]:
    found = []
    for stream, one in sorted(kept.items()):
        values = sample.numbers(stream)
        if len(values) < 50:  # of a window that has its images, few are answered: the refusals tell
            continue
        apart = distance(one.grid, values)
        floor = _floor(_shape(one.grid), one.worth, len(values), resamples) if resamples else 0.0
        shift = Shift(apart, floor, kolmogorov_p(apart, len(values), one.worth), len(values), one.worth)
        found.append(Finding(stream, against, shift))
    return found


def _shape(grid: Sequence[float]) -> tuple[float, ...]:
    """Of all distributions in which no value comes twice D has the same noise: that of numbers between 0 and 1."""
    return tuple(grid) if any(low == high for low, high in zip(grid, grid[1:], strict=False)) else (0.0, 1.0)


@lru_cache(maxsize=256)
def _floor(grid: tuple[float, ...], worth: int, images: int, resamples: int) -> float:
    return number_floor(grid, worth, images, resamples)


def _categories(
    stream: str, against: Against, kept: Mapping[str, int], counted: Mapping[str, int], resamples: int
) -> list[Finding]:
    shift = category_shift(kept, counted, resamples=resamples)
    return [] if shift is None else [Finding(stream, against, shift)]


def _of_shares(
    sample: Sample, against: Against, unlike: tuple[int, int], outcomes: Mapping[str, int] | None, resamples: int
) -> list[Finding]:
    found: list[Finding] = []
    hits, asked = sample.unlike
    if asked and unlike[1] and hits / asked > unlike[0] / unlike[1]:  # fewer strange images are no trouble
        kept = {"unlike": unlike[0], "like": unlike[1] - unlike[0]}
        found += _categories("unlike", against, kept, {"unlike": hits, "like": asked - hits}, resamples)
    if outcomes is not None and sample.outcomes[ANSWERED] / len(sample) < outcomes.get(ANSWERED, 0) / sum(
        outcomes.values()
    ):
        found += _categories("refusals", against, outcomes, sample.outcomes, resamples)
    return found


def _repeats(sample: Sample, share: float, against: Against) -> list[Finding]:
    """Pictures that come again and again; twice the reference's share is usual."""
    hits, count = sample.repeats
    usual = max(2 * share, 0.005)
    if not count or hits <= usual * count:
        return []
    table = {"repeat": hits, "other": count - hits}
    expected = {"repeat": usual * count, "other": (1 - usual) * count}
    statistic = sum((table[name] - expected[name]) ** 2 / expected[name] for name in table)
    # They come together, so that half of them at most are independent.
    return [Finding("repeats", against, Shift(hits / count, usual, chi_square_p(statistic / 2, 1), count, count))]


def _share(value: float | None, count: int) -> tuple[int, int]:
    return (0, 0) if value is None else (round(value * count), count)
