"""What a threshold means: true and false positives, missed cases, predictive values and cost, with intervals.

Shares have Wilson intervals; several images of a patient count as one in their width (`independent_cases`). What is
computed from sensitivity and specificity (predictive values and cost at another prevalence) has an interval from the
corners of both, each at the level whose square is the one asked for: it holds at least as often as it says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgedx.core.errors import UsageError
from edgedx.core.stats.binomial import wilson
from edgedx.core.stats.cases import Cases
from edgedx.core.stats.metrics import Interval
from edgedx.core.stats.patients import independent_cases
from edgedx.core.table import null_for_nan

LEVEL = 0.95
Number = TypeVar("Number", float, NDArray[np.float64])


@dataclass(frozen=True)
class Finding:
    """Truth and calibrated probability of one class on labelled images.

    Attributes
    ----------
    name : str
        The class.
    present : ndarray of shape (N,), bool
    score : ndarray of shape (N,), float64
        An image is called positive when its score reaches the threshold.
    patients : ndarray of shape (N,), str
        Patient of each image; each its own where none is known.
    groups : sequence of mapping, length N
        Subgroup column to value.
    """

    name: str
    present: NDArray[np.bool_]
    score: NDArray[np.float64]
    patients: NDArray[np.str_]
    groups: Sequence[Mapping[str, str]] = ()

    def only(self, chosen: NDArray[np.bool_]) -> Finding:
        """Of some images alone."""
        groups = [one for one, take in zip(self.groups, chosen, strict=True) if take] if self.groups else ()
        return Finding(self.name, self.present[chosen], self.score[chosen], self.patients[chosen], groups)

    @cached_property
    def numbers(self) -> NDArray[np.intp]:
        """A number for the patient of each image."""
        return np.asarray(np.unique(self.patients, return_inverse=True)[1], np.intp).reshape(-1)

    @property
    def prevalence(self) -> float:
        """Share of these images that have it."""
        return float(self.present.mean()) if self.present.size else math.nan


@dataclass(frozen=True)
class Costs:
    """In any one currency, or in any unit.

    Attributes
    ----------
    image : float
        Of an image that is taken and read.
    test : float
        Of the test that confirms an image called positive.
    miss : float
        Of a missed case.
    """

    image: float = 0.0
    test: float = 0.0
    miss: float = 0.0

    def __post_init__(self) -> None:
        if wrong := [value for value in (self.image, self.test, self.miss) if not 0 <= value < math.inf]:
            raise UsageError(f"a cost of {wrong[0]:g}", next_step="it is a number, 0 or more")

    @property
    def given(self) -> bool:
        """Whether there are any."""
        return (self.image, self.test, self.miss) != (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Cutoff:
    """One threshold on labelled images.

    Attributes
    ----------
    prevalence : float
        The one that was given, else that of these images.
    called : Interval
        Share of images called positive, at that prevalence.
    cost_per_image : Interval or None
        Image, test of those called positive, and missed cases.
    cost_per_case : Interval or None
        Image and test alone, for each case that is found; infinite where none is.
    """

    threshold: float
    prevalence: float
    true_positives: int
    false_positives: int
    missed: int
    true_negatives: int
    sensitivity: Interval
    specificity: Interval
    ppv: Interval
    npv: Interval
    called: Interval
    cost_per_image: Interval | None = None
    cost_per_case: Interval | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON: NaN and infinity become null."""
        return {
            name: {part: null_for_nan(number) for part, number in value.items()} if isinstance(value, dict) else value
            for name, value in asdict(self).items()
        }


def finding_of(cases: Cases, probabilities: NDArray[np.float64], name: str) -> Finding:
    """One class of labelled images; those whose label of it is unknown are left out.

    Parameters
    ----------
    probabilities : array of shape (N, K)
        Calibrated.

    Raises
    ------
    KeyError
        It is no class that is judged.
    """
    place = list(cases.classes).index(name)
    known, present = next((known, present) for index, known, present in cases.findings() if index == place)
    whole = Finding(
        name, present, probabilities[:, place].astype(np.float64), np.asarray(cases.patients), cases.subgroups
    )
    return whole.only(known)


def cutoff_at(
    finding: Finding, threshold: float, *, prevalence: float | None = None, costs: Costs | None = None
) -> Cutoff:
    """Figures at one threshold.

    Parameters
    ----------
    prevalence : float, optional
        Share of the clinic's patients that have the finding; that of these images unless given.
    """
    costs = costs or Costs()
    called = finding.score >= threshold
    hits, missed = int((called & finding.present).sum()), int((~called & finding.present).sum())
    false, clear = int((called & ~finding.present).sum()), int((~called & ~finding.present).sum())
    share = finding.prevalence if prevalence is None else prevalence

    def interval(good: int, of: NDArray[np.bool_], level: float = LEVEL) -> Interval:
        count = int(of.sum())
        return wilson(good / count if count else math.nan, independent_cases(finding.numbers[of]), level)

    def derived(value: Callable[[float, float], float]) -> Interval:
        """Of sensitivity and specificity, from the corners of both intervals."""
        level = math.sqrt(LEVEL)
        found, cleared = interval(hits, finding.present, level), interval(clear, ~finding.present, level)
        corners = [value(one, two) for one in (found.low, found.high) for two in (cleared.low, cleared.high)]
        known = [corner for corner in corners if not math.isnan(corner)]
        middle = value(found.value, cleared.value)
        return Interval(middle, min(known, default=math.nan), max(known, default=math.nan))

    def ppv(found: float, cleared: float) -> float:
        return _over(share * found, share * found + (1 - share) * (1 - cleared))

    def npv(found: float, cleared: float) -> float:
        return _over((1 - share) * cleared, (1 - share) * cleared + share * (1 - found))

    def per_case(found: float, cleared: float) -> float:
        return _over(cost_of(found, cleared, share, Costs(costs.image, costs.test)), share * found, math.inf)

    own = prevalence is None
    everything = np.ones(called.size, bool)
    return Cutoff(
        threshold, share, hits, false, missed, clear,
        sensitivity=interval(hits, finding.present),
        specificity=interval(clear, ~finding.present),
        ppv=interval(hits, called) if own else derived(ppv),
        npv=interval(clear, ~called) if own else derived(npv),
        called=interval(hits + false, everything) if own else derived(lambda a, b: share * a + (1 - share) * (1 - b)),
        cost_per_image=derived(lambda a, b: cost_of(a, b, share, costs)) if costs.given else None,
        cost_per_case=derived(per_case) if costs.given else None,
    )  # fmt: skip


def check_prevalence(value: float | None) -> None:
    """Refuse a prevalence that is none."""
    if value is not None and not 0 < value < 1:
        raise UsageError(f"a prevalence of {value:g}", next_step="it is above 0 and below 1: 8 % is 0.08")


def cost_of(sensitivity: Number, specificity: Number, prevalence: Number, costs: Costs) -> Number:
    """Cost of an image on average; of numbers, or of arrays."""
    called = prevalence * sensitivity + (1 - prevalence) * (1 - specificity)
    return costs.image + called * costs.test + prevalence * (1 - sensitivity) * costs.miss


def _over(part: float, whole: float, otherwise: float = math.nan) -> float:
    return part / whole if whole > 0 else otherwise


def all_thresholds(score: NDArray[np.float64], most: int = 2000) -> list[float]:
    """Every threshold that decides these images differently, rising: one between each two scores that differ.

    The first calls every image positive, and the last none. Where there are more than `most`, so many are taken at
    equal distances of rank.
    """
    ordered = np.unique(score)
    if ordered.size > most:
        ordered = ordered[np.unique(np.linspace(0, ordered.size - 1, most).round().astype(int))]
    inner = [short_between(low, high) for low, high in zip(ordered, ordered[1:], strict=False)]
    return [short_between(0.0, float(ordered[0])), *inner, short_between(float(ordered[-1]), 1.0, above=True)]


def short_between(low: float, high: float, *, above: bool = False) -> float:
    """The shortest decimal about midway between two scores: what is called positive at it is `high` and above.

    People type it, so it should be short; midway, because a threshold on a score flips with the last bit of it.

    Parameters
    ----------
    above : bool
        `high` is no score but the end of the scale: the next number above `low` will do where there is no room.
    """
    low, high = float(low), float(high)  # numpy's own numbers show themselves otherwise
    quarter = (high - low) / 4
    for digits in range(2, 16):
        value = round((low + high) / 2, digits)
        if low + quarter <= value <= high - quarter and low < value:
            return value
    middle = (low + high) / 2
    if low < middle <= high:
        return middle
    return float(np.nextafter(low, math.inf)) if above else high
