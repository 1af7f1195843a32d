"""Which threshold to propose for a target, and what it means beside the one in force."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgedx.core.errors import DataError, UsageError
from edgedx.core.stats.binomial import least_cases, safe_rank
from edgedx.core.stats.metrics import Interval
from edgedx.core.stats.resample import resampled_weights

from .cutoffs import Costs, Cutoff, Finding, check_prevalence, cost_of, cutoff_at, short_between

CONFIDENCE = 0.95
Kind = Literal["sensitivity", "cost", "positives", "given"]


@dataclass(frozen=True)
class Target:
    """What a threshold is to reach.

    Attributes
    ----------
    kind : str
        ``sensitivity``: at least `value` with `confidence`; ``cost``: the least cost of an image; ``positives``: at
        most `value` of the images called positive; ``given``: `value` is the threshold.
    prevalence : float, optional
        Share of the clinic's patients with the finding; that of the labelled images unless given.
    per_day : (float, float)
        Of ``positives``: how many may be called positive, of how many images; `value` is their ratio.
    """

    kind: Kind
    value: float = 0.0
    confidence: float = CONFIDENCE
    costs: Costs = Costs()
    prevalence: float | None = None
    per_day: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if self.kind == "sensitivity" and not 0 < self.value < 1:
            raise UsageError(
                f"a sensitivity of {self.value:g} cannot be shown by any number of patients",
                next_step="give one above 0 and below 1, e.g. 0.95",
            )
        if self.kind == "given" and not 0 < self.value < 1:
            raise UsageError(f"a threshold of {self.value:g}", next_step="it is a probability above 0 and below 1")
        if self.kind == "positives" and not 0 < self.value < 1:
            raise UsageError(
                "fewer images must be called positive than there are, and more than none",
                next_step="e.g. --positives-per-day 12 --images-per-day 60",
            )
        if self.kind == "cost" and self.costs.miss <= 0:
            raise UsageError(
                "without a cost of missed cases the cheapest is to find none", next_step="--cost-miss, --cost-test"
            )
        check_prevalence(self.prevalence)

    @property
    def rule(self) -> str:
        """As a word: ``sensitivity-0.95``, ``cost``, ``positives-0.2``, ``given``."""
        return self.kind if self.kind in ("cost", "given") else f"{self.kind}-{self.value!r}"

    @property
    def words(self) -> str:
        """As a sentence without its end."""
        if self.kind == "sensitivity":
            return f"sensitivity of at least {self.value:g} with {100 * self.confidence:g} % confidence"
        if self.kind == "positives":
            return f"at most {100 * self.value:.3g} % of all images called positive"
        if self.kind == "cost":
            costs = self.costs
            return f"least cost: {costs.miss:g} a missed case, {costs.test:g} a test, {costs.image:g} an image"
        return f"the threshold {self.value:g}"


@dataclass(frozen=True)
class Proposal:
    """A threshold for one class.

    Attributes
    ----------
    cutoff, before : Cutoff
        At the threshold, and at the one in force; None where none is.
    moves : Interval or None
        Where the choice itself would lie on other samples of as many patients (bootstrap); of cost alone.
    """

    finding: str
    target: Target
    threshold: float
    cutoff: Cutoff
    before: Cutoff | None
    moves: Interval | None = None


def propose(finding: Finding, target: Target, before: float | None = None, *, seed: int = 0) -> Proposal:
    """The threshold that reaches a target on labelled images.

    Parameters
    ----------
    before : float, optional
        The threshold in force.

    Raises
    ------
    DataError
        Too few images, which says how many more; or no threshold reaches the target.
    """
    if not finding.present.any() or finding.present.all():
        has = "every" if finding.present.any() else "no"
        raise DataError(f"{has} labelled image has {finding.name}", next_step="label images with it and without")
    moves = None
    if target.kind == "given":
        threshold = target.value
    elif target.kind == "sensitivity":
        threshold = _for_sensitivity(finding, target)
    elif target.kind == "positives":
        threshold = _for_positives(finding, target)
    else:
        threshold, moves = _for_cost(finding, target, seed)
    prevalence, costs = target.prevalence, target.costs
    return Proposal(
        finding.name,
        target,
        threshold,
        cutoff_at(finding, threshold, prevalence=prevalence, costs=costs),
        None if before is None else cutoff_at(finding, before, prevalence=prevalence, costs=costs),
        moves,
    )


def lowest_of_patients(finding: Finding) -> NDArray[np.float64]:
    """The lowest score that an image with the finding of each patient got, rising.

    Patients are independent, images of one are not. A threshold at or below it finds all images of the patient: what is
    promised is the share of patients of whom all are found, which the average share of a patient's images is above.
    """
    least = np.full(int(finding.numbers.max()) + 1, np.inf)
    np.minimum.at(least, finding.numbers[finding.present], finding.score[finding.present])
    return np.sort(least[np.isfinite(least)])


def patients_missing(finding: Finding, target: Target) -> int:
    """How many more patients with the finding are needed before any threshold can be shown to be sensitive enough."""
    return max(0, least_cases(target.value, target.confidence) - lowest_of_patients(finding).size)


def shows_sensitivity(finding: Finding, threshold: float, target: Target) -> bool:
    """Whether these images show at this threshold what a target of sensitivity asks for (an exact test)."""
    lowest = lowest_of_patients(finding)
    return int((lowest < threshold).sum()) < safe_rank(lowest.size, target.value, target.confidence)


def _for_sensitivity(finding: Finding, target: Target) -> float:
    """The highest threshold that is safe whatever the distribution of scores (see `binomial.safe_rank`)."""
    lowest = lowest_of_patients(finding)
    if more := patients_missing(finding, target):
        raise DataError(
            f"{lowest.size} patients with {finding.name} are too few for a {target.words}: "
            f"{lowest.size + more} are the least",
            next_step=f"label images of {more} more patients with {finding.name}, or ask for less",
        )
    found = float(lowest[safe_rank(lowest.size, target.value, target.confidence) - 1])
    below = finding.score[finding.score < found]
    if found <= 0:
        raise DataError(
            f"{finding.name} was given a probability of 0 too often: no threshold gives a {target.words}",
            next_step="the model does not find it here; see `edgedx gate`",
        )
    return short_between(float(below.max()) if below.size else 0.0, found)


def _for_positives(finding: Finding, target: Target) -> float:
    """The lowest threshold at which the upper end of the share called positive is within the target."""
    scores = np.unique(finding.score)

    def within(place: int) -> bool:
        share = cutoff_at(finding, float(scores[place]), prevalence=target.prevalence).called.high
        return share <= target.value

    if not within(scores.size - 1):
        raise DataError(
            f"{finding.score.size} images are too few to show that so few are called positive",
            next_step=f"about {math.ceil(4 / target.value)} images are the least; or allow more positives",
        )
    low, high = -1, scores.size - 1  # `within` holds at high and not at low: fewer are called as the threshold rises
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if within(middle) else (middle, high)
    return short_between(float(scores[high - 1]) if high else 0.0, float(scores[high]))


def _for_cost(finding: Finding, target: Target, seed: int) -> tuple[float, Interval]:
    """The cheapest threshold, and where it lies in resamples of patients."""
    order = np.argsort(-finding.score, kind="stable")
    score, sick = finding.score[order], finding.present[order].astype(np.float64)
    ends = np.r_[np.flatnonzero(np.diff(score)), score.size - 1]  # the last image of each score

    def cheapest(weights: NDArray[np.float64]) -> NDArray[np.intp]:
        """For each row of weights, which of `ends` is the lowest score called positive; -1: none is."""
        with np.errstate(invalid="ignore", divide="ignore"):
            hits, false = np.cumsum(weights * sick, axis=1), np.cumsum(weights * (1 - sick), axis=1)
            found, alarms = hits[:, ends] / hits[:, -1:], false[:, ends] / false[:, -1:]
            share = hits[:, -1:] / weights.sum(axis=1, keepdims=True) if target.prevalence is None else np.array(
                [[target.prevalence]])  # fmt: skip
            cost = cost_of(found, 1 - alarms, share, target.costs)
            nobody = cost_of(np.zeros((1, 1)), np.ones((1, 1)), share, target.costs)
        best = np.nanargmin(np.where(np.isnan(cost), np.inf, cost), axis=1)
        return np.asarray(np.where(cost[np.arange(len(best)), best] < nobody[:, 0], best, -1))

    place = int(cheapest(np.ones((1, score.size)))[0])
    if place < 0 or ends[place] == score.size - 1:
        whom = "nobody" if place < 0 else "everybody"
        raise DataError(
            f"at these costs the cheapest is to test {whom}: the model is of no use for them",
            next_step="check the costs, or choose by sensitivity",
        )
    above = np.append(score[ends], np.inf)
    drawn = [above[cheapest(weights[:, order])] for weights in resampled_weights(finding.patients.tolist(), seed=seed)]
    lows, highs = np.percentile(np.minimum(np.concatenate(drawn), 1.0), (2.5, 97.5))
    threshold = short_between(float(score[ends[place + 1]]), float(score[ends[place]]))
    return threshold, Interval(threshold, min(float(lows), threshold), max(float(highs), threshold))
