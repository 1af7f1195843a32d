"""The gate before a site's threshold: may the bundle decide at it here? On the images that it was chosen on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgedx.core.bundle.local_point import Figure, LocalPoint, LocalThreshold
from edgedx.core.bundle.manifest import Bundle
from edgedx.core.errors import GateRefused
from edgedx.core.stats.gate import GateCheck
from edgedx.core.stats.metrics import Interval
from edgedx.device.clinic.promise import judge_answers

from .cutoffs import Cutoff, Finding
from .evidence import Evidence
from .propose import Proposal, Target, lowest_of_patients, shows_sensitivity


@dataclass(frozen=True)
class Judged:
    """A proposal, and what the gate says of it.

    Attributes
    ----------
    point : LocalPoint
        What would be in force, with the thresholds of other findings that the site has set before.
    """

    proposal: Proposal
    point: LocalPoint
    checks: tuple[GateCheck, ...]
    remarks: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether it may be set."""
        return all(check.passed for check in self.checks)

    def require(self) -> None:
        """Raise GateRefused where it may not."""
        failed = [check.sentence for check in self.checks if not check.passed]
        if failed:
            raise GateRefused(
                f"the gate says no to a threshold of {self.proposal.threshold!r}: {'; '.join(failed)}",
                next_step="choose another target, label more images, or see `edgedx gate ROOT --data` for the model",
            )


def judge_proposal(
    bundle: Bundle, evidence: Evidence, proposal: Proposal, before: LocalPoint | None, *, by: str, at: str, edgedx: str
) -> Judged:
    """Judge the bundle at a proposed threshold as `edgedx gate` judges it, and the threshold itself.

    Parameters
    ----------
    before : LocalPoint or None
        The site's point that is in force.
    by, at, edgedx : str
        Who asks, when (ISO 8601 UTC), and by which version.
    """
    entry = _entry(evidence, proposal, by, at, edgedx)
    kept = {} if before is None else before.thresholds
    manifest = bundle.manifest
    point = LocalPoint(
        bundle=bundle.digest,
        model=f"{manifest.name} {manifest.version}",
        thresholds={**kept, proposal.finding: entry},
    )
    remarks = list(evidence.remarks)
    if evidence.not_answered:
        remarks.append(f"not answered, and not part of any figure: {evidence.not_answered}")
    checks = tuple(_checks(bundle, evidence, proposal, point))
    return Judged(proposal, point, checks, tuple(remarks))


def _checks(bundle: Bundle, evidence: Evidence, proposal: Proposal, point: LocalPoint) -> Iterator[GateCheck]:
    promise = judge_answers(bundle.manifest, evidence.done, evidence.answers, point.point(bundle))
    yield GateCheck("promise", promise.passed, promise.sentence)
    cutoff, name = proposal.cutoff, proposal.finding
    least = cutoff.sensitivity.low + cutoff.specificity.low - 1
    yield GateCheck(
        "informative",
        least > 0,
        f"at it {_shown(cutoff.sensitivity)} of images with {name} are called positive, and "
        f"{_shown(Interval(*_one_less(cutoff.specificity)))} of those without"
        + ("" if least > 0 else ": it is not shown that this tells them apart better than chance"),
        least,
        0.0,
    )
    yield from _target(evidence.finding(name), proposal)


def _target(finding: Finding, proposal: Proposal) -> Iterator[GateCheck]:
    target = proposal.target
    if target.kind == "sensitivity":
        shown = shows_sensitivity(finding, proposal.threshold, target)
        lowest = lowest_of_patients(finding)
        missed = int((lowest < proposal.threshold).sum())
        sentence = f"{target.words} is {'' if shown else 'not '}shown: {missed} of {lowest.size} patients are missed"
        yield GateCheck("target", shown, sentence, proposal.cutoff.sensitivity.value, target.value)
    elif target.kind == "positives":
        share = proposal.cutoff.called
        held = share.high <= target.value
        yield GateCheck("target", held, f"{_shown(share)} of images are called positive", share.high, target.value)


def _entry(evidence: Evidence, proposal: Proposal, by: str, at: str, edgedx: str) -> LocalThreshold:
    finding, cutoff = evidence.finding(proposal.finding), proposal.cutoff
    return LocalThreshold(
        value=proposal.threshold,
        rule=proposal.target.rule,
        words=proposal.target.words,
        source=evidence.source,
        images=finding.score.size,
        patients=len(set(finding.patients.tolist())),
        positives=int(finding.present.sum()),
        evidence=evidence.digest,
        sensitivity=_figure(cutoff.sensitivity),
        specificity=_figure(cutoff.specificity),
        by=by,
        at=at,
        edgedx=edgedx,
    )


def target_of(entry: LocalThreshold) -> Target:
    """What a threshold was chosen for, to be asked again of another bundle; with its own value where it was given."""
    kind, _, value = entry.rule.partition("-")
    if kind == "sensitivity":
        return Target("sensitivity", float(value))
    if kind == "positives":
        return Target("positives", float(value))
    return Target("given", entry.value)


def meaning(cutoff: Cutoff, finding: str, of: int = 1000) -> str:
    """``of 1000 images 620 have pneumonia: 12 of them are missed, and 41 others are called positive``."""
    with_it = round(of * cutoff.prevalence)
    missed = round(with_it * (1 - cutoff.sensitivity.value))
    false = round((of - with_it) * (1 - cutoff.specificity.value))
    return f"of {of} images {with_it} have {finding}: {missed} of them are missed, and {false} others called positive"


def _figure(value: Interval) -> Figure:
    return Figure(value=value.value, low=value.low, high=value.high)


def _one_less(value: Interval) -> tuple[float, float, float]:
    return 1 - value.value, 1 - value.high, 1 - value.low


def _shown(value: Interval) -> str:
    return f"{100 * value.value:.1f} % ({100 * value.low:.1f} to {100 * value.high:.1f})"
