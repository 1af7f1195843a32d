"""The gate: may this artifact ship in the place of its teacher? A pure decision on what both say (docs/gate.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import comb
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgedx.core.files import write_json, write_text
from edgedx.core.table import csv_text, plain_cell

from .cases import Cases, Predictions
from .metrics import Interval
from .paired import Comparison, GroupComparison, Paired, compare

Rule = Literal["non-inferior", "value"]
CONFIDENCE = 0.95
CHANCE = 0.5  # AUC of a model that guesses
RECORD, FLIPS = "gate.json", "flips.csv"


@dataclass(frozen=True)
class Limits:
    """What is allowed; fields as in the recipe's section gate."""

    max_auc_drop: float
    rule: Rule = "non-inferior"
    max_sensitivity_drop: float | None = None
    max_ece: float | None = None
    least_auc: float | None = None


@dataclass(frozen=True)
class GateCheck:
    """One question and its answer.

    Attributes
    ----------
    name : str
        numbers, auc, chance, least_auc, sensitivity CLASS, ece or subgroup NAME.
    value, limit : float or None
        What was compared; None where there is no such number.
    """

    name: str
    passed: bool
    sentence: str
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Flip:
    """One image on which the decisions differ."""

    image: str
    truth: str
    teacher: str
    student: str
    teacher_probabilities: tuple[float, ...]
    student_probabilities: tuple[float, ...]


@dataclass(frozen=True)
class Verdict:
    """What the gate says.

    Attributes
    ----------
    sentence : str
        Plain: what was found and, where it failed, why.
    next_step : str
        What to do about it; empty where it passed.
    where : str
        What it was judged on: val, test, or the labelled images.
    comparison : Comparison or None
        None where answers are not numbers.
    """

    passed: bool
    sentence: str
    next_step: str
    where: str
    images: int
    patients: int
    limits: Limits
    checks: tuple[GateCheck, ...]
    flips: tuple[Flip, ...]
    classes: tuple[str, ...]
    points: tuple[str, str]
    comparison: Comparison | None
    ran: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON: NaN becomes null. Images are counted, not named: names stand in flips.csv."""
        comparison = self.comparison
        nothing = {"value": None, "low": None, "high": None}
        gap = comparison.largest_gap if comparison else None
        return {
            "schema_version": 1,
            "passed": self.passed,
            "sentence": self.sentence,
            "split": self.where,
            "images": self.images,
            "patients": self.patients,
            "ran": self.ran,
            "rule": self.limits.rule,
            "budget": self.limits.max_auc_drop,
            "limits": asdict(self.limits),
            "auc_drop": comparison.whole.auc.drop.to_dict() if comparison else nothing,
            "auc_drop_at_most": comparison.whole.auc.to_dict()["drop_at_most"] if comparison else None,
            "checks": [asdict(check) for check in self.checks],
            "flips": len(self.flips),
            "operating_points": {"teacher": self.points[0], "student": self.points[1]},
            "calibration": _plain(comparison.calibration) if comparison else None,
            "figures": comparison.whole.to_dict() if comparison else None,
            "subgroups": [part.to_dict() for part in comparison.subgroups] if comparison else [],
            "not_judged": [{"subgroup": name, "why": why} for name, why in comparison.not_judged] if comparison else [],
            "largest_gap": {"subgroup": gap.name, "auc_drop": gap.auc.drop.value} if gap else None,
        }

    def flips_csv(self) -> str:
        """The images on which teacher and student decide otherwise."""
        probabilities = [f"{role} {name}" for role in ("teacher", "student") for name in self.classes]
        rows = [
            [plain_cell(flip.image), flip.truth, flip.teacher, flip.student,
             *(f"{value:.4f}" for value in (*flip.teacher_probabilities, *flip.student_probabilities))]
            for flip in self.flips
        ]  # fmt: skip
        return csv_text(["image", "truth", "teacher", "student", *probabilities], rows)


def write_verdict(folder: Path, verdict: Verdict) -> None:
    """Write ``gate.json`` and ``flips.csv``."""
    write_text(folder / FLIPS, verdict.flips_csv())
    write_json(folder / RECORD, verdict.to_dict())


def judge(
    cases: Cases,
    teacher: Predictions,
    student: Predictions,
    limits: Limits,
    *,
    where: str,
    subject: str = "the shipped model",
    reference: str = "its teacher",
    ran: str = "",
    seed: int = 0,
) -> Verdict:
    """Compare the student with the teacher, image by image, and decide.

    Parameters
    ----------
    where : str
        What the images are, for the sentences: val, test, the labelled images.
    subject, reference : str
        What the two are called there.
    ran : str
        What really computed the student's answers.
    """
    flips = tuple(_flips(cases, teacher, student))
    comparison = None
    checks = tuple(_numbers(cases, teacher, student, subject, reference))
    if not checks and len(cases):
        comparison = compare(cases, teacher, student, seed=seed)
        checks = tuple(_checks(cases, comparison, limits, where, subject, reference))
    elif not checks:
        checks = (GateCheck("numbers", False, f"there is no image in {where}: nothing can be judged"),)
    failed = [check for check in checks if not check.passed]
    decisive = failed or [checks[0]]
    return Verdict(
        passed=not failed,
        sentence="; ".join(check.sentence for check in decisive),
        next_step=_next_step(failed, limits),
        where=where,
        images=len(cases),
        patients=len(set(cases.patients)),
        limits=limits,
        checks=checks,
        flips=flips,
        classes=tuple(cases.classes),
        points=(teacher.point, student.point),
        comparison=comparison,
        ran=ran,
    )


def _flips(cases: Cases, teacher: Predictions, student: Predictions) -> Iterator[Flip]:
    for index, (one, two) in enumerate(zip(teacher.decisions, student.decisions, strict=True)):
        if one != two:
            probabilities = (
                tuple(float(value) for value in answers.probabilities[index]) for answers in (teacher, student)
            )
            yield Flip(cases.names[index], cases.truth(index), one, two, *probabilities)


def _numbers(
    cases: Cases, teacher: Predictions, student: Predictions, subject: str, reference: str
) -> Iterator[GateCheck]:
    for name, answers in ((subject, student), (reference, teacher)):
        if answers.broken:
            sentence = f"{answers.broken} of {len(cases)} answers of {name} are not numbers: nothing can be judged"
            yield GateCheck("numbers", False, sentence)


def _checks(
    cases: Cases, comparison: Comparison, limits: Limits, where: str, subject: str, reference: str
) -> Iterator[GateCheck]:
    auc, patients = comparison.whole.auc, len(set(cases.patients))
    number = f"{len(cases)} images" + (f" of {patients} patients" if patients < len(cases) else "")
    change = f"{subject} {_change(auc.drop)} AUC against {reference} on {where}"
    yield _bounded("auc", auc, limits.max_auc_drop, limits.rule, change, "AUC", number, len(cases))
    yield _better_than_chance(cases, auc.student, where, subject, number)
    if limits.least_auc is not None:
        reached = bool(auc.student.value >= limits.least_auc)
        relation = "at least" if reached else "below"
        sentence = f"{subject} has {auc.student} AUC on {where}, {relation} gate.least_auc of {limits.least_auc:g}"
        yield GateCheck("least_auc", reached, sentence, _or_none(auc.student.value), limits.least_auc)
    if limits.max_sensitivity_drop is not None:
        for name, rate in comparison.whole.sensitivity.items():
            change = f"{subject} {_change(rate.drop)} sensitivity for {name} against {reference} on {where}"
            limit = limits.max_sensitivity_drop
            yield _bounded(f"sensitivity {name}", rate, limit, limits.rule, change, "sensitivity", number, len(cases))
    if limits.max_ece is not None:
        ece = comparison.calibration["student"]["ece"]
        passed = bool(ece <= limits.max_ece)
        verb = "within" if passed else "over"
        sentence = f"the calibration error (ECE) of {subject} is {ece:.3f} on {where}, {verb} {limits.max_ece:g}"
        yield GateCheck("ece", passed, sentence, _or_none(ece), limits.max_ece)
    yield from _subgroup_checks(comparison, limits, reference)


def _better_than_chance(cases: Cases, auc: Interval, where: str, subject: str, number: str) -> GateCheck:
    """The floor that no rule removes: a model that may be guessing does not ship.

    Passed when the lower end of the 95 % interval of the AUC is above 0.5, and when there are so many patients with and
    without each finding that a perfect order of them is not luck itself (exact permutation test, p <= 0.05).
    """
    luck = max(_chance_of_perfection(cases, known, present) for _, known, present in cases.findings())
    if np.isnan(auc.value) or luck >= round(1 - CONFIDENCE, 6):
        few = f"{number} are too few" if np.isfinite(luck) else f"{number}, of which some class has none, are too few"
        return GateCheck(
            "chance",
            False,
            f"not proven: {few} in {where} to show that {subject} is better than chance; 4 patients of each class are "
            "the least, 50 or more are usual",
            _or_none(auc.low),
            CHANCE,
        )
    if auc.low > CHANCE:
        return GateCheck("chance", True, f"{subject} is better than chance: {auc} AUC on {where}", auc.low, CHANCE)
    if not auc.value > CHANCE:
        return GateCheck("chance", False, f"{subject} is not better than chance: {auc} AUC on {where}", auc.low, CHANCE)
    # The width of the interval shrinks with the root of the number of images.
    needed = int(np.ceil(len(cases) * ((auc.value - auc.low) / (auc.value - CHANCE)) ** 2 / 10) * 10)
    sentence = (
        f"not proven: {subject} is not shown to be better than chance: {auc} AUC on {where} with {number}; about "
        f"{needed} images would show it, if it holds"
    )
    return GateCheck("chance", False, sentence, _or_none(auc.low), CHANCE)


def _chance_of_perfection(cases: Cases, known: NDArray[np.bool_], present: NDArray[np.bool_]) -> float:
    """Probability that random scores rank all patients with a finding first; infinite where none has it."""
    patients = np.asarray(cases.patients)
    having = len(set(patients[known & present]))
    lacking = len(set(patients[known & ~present]))
    orders = comb(having + lacking, having)  # may be larger than any float
    return (1.0 / orders if orders < 10**9 else 0.0) if having and lacking else float("inf")


def _change(drop: Interval) -> str:
    """A loss in words; a negative one is a gain."""
    return f"gains {Interval(-drop.value, -drop.high, -drop.low)}" if drop.value < 0 else f"loses {drop}"


def _bounded(
    name: str, figure: Paired, limit: float, rule: Rule, change: str, word: str, number: str, images: int
) -> GateCheck:
    """A loss against its limit; comparisons are written so that NaN fails."""
    value, upper = figure.drop.value, figure.upper(CONFIDENCE)
    if np.isnan(value):
        return GateCheck(name, False, f"{word} is not a number: a class is missing", None, limit)
    if not value <= limit:
        return GateCheck(name, False, f"{change}, over the budget of {limit:g}", value, limit)
    if rule == "value":
        return GateCheck(name, True, f"{change}, within the budget of {limit:g} by the figures alone (gate.rule=value)",
                     value, limit)  # fmt: skip
    if upper <= limit:
        bound = f"loses at most {upper:.3f}" if upper >= 0 else f"gains at least {-upper:.3f}"
        sentence = f"{change}, within the budget of {limit:g}: {bound} with 95 % confidence"
        return GateCheck(name, True, sentence, upper, limit)
    most = "any number" if np.isnan(upper) else f"{upper:.3f}"
    # An interval narrows with the square root of the images. A loss that is the limit itself is never proven.
    narrower = (upper - value) / (limit - value) if value < limit else np.inf
    needed = images * narrower**2 / 10
    enough = f"; about {int(np.ceil(needed) * 10)} images would show it, if it stays so" if np.isfinite(needed) else ""
    sentence = f"not proven: {change}, but with {number} it could be up to {most}, over the budget of {limit:g}"
    return GateCheck(name, False, sentence + enough, _or_none(upper), limit)


def _subgroup_checks(comparison: Comparison, limits: Limits, reference: str) -> Iterator[GateCheck]:
    """A subgroup fails when its loss is proven to be over the limit: few have the images to prove the contrary.

    Bonferroni: among many subgroups one looks bad by chance.
    """
    for part in comparison.subgroups:
        level = 1 - (1 - CONFIDENCE) / len(comparison.subgroups)
        worst = [("AUC", part.auc, limits.max_auc_drop, comparison.whole.auc)]
        if limits.max_sensitivity_drop is not None:
            worst += [(f"sensitivity for {name}", rate, limits.max_sensitivity_drop, comparison.whole.sensitivity[name])
                      for name, rate in part.sensitivity.items()]  # fmt: skip
        for word, figure, limit, whole in worst:
            least = figure.draws.lower(level)
            if np.isnan(figure.drop.value):
                yield GateCheck(f"subgroup {part.name}", False, f"{part.name}: {word} is not a number", None, limit)
            elif not least <= limit and not np.isnan(least):
                yield GateCheck(
                    f"subgroup {part.name}",
                    False,
                    f"{part.name} ({part.images} images) loses {figure.drop.value:.3f} {word} against {reference}, at "
                    f"least {least:.3f}, over the budget of {limit:g}; all images together {whole.drop.value:.3f}",
                    least,
                    limit,
                )


def _next_step(failed: list[GateCheck], limits: Limits) -> str:
    if not failed:
        return ""
    if any(check.name == "numbers" for check in failed):
        return "compress again; if it stays so, report it with the backbone's name"
    if all(check.sentence.startswith("not proven") for check in failed):
        return "judge it on more images: a greater val split, or more patients in the data set"
    if all(check.name.startswith("subgroup") for check in failed):
        return "more training images of that subgroup, distil longer, or prune less"
    return "train or distil longer, prune less, or ship FP32"


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _plain(table: dict[str, dict[str, float]]) -> dict[str, dict[str, float | None]]:
    return {role: {name: _or_none(value) for name, value in row.items()} for role, row in table.items()}


def rows_of(verdict: Verdict) -> list[tuple[str, str, str, str]]:
    """(figure, teacher, student, drop) for a table: all images, then each subgroup, then calibration."""
    comparison = verdict.comparison
    if comparison is None:
        return []
    rows = []
    for part in (comparison.whole, *comparison.subgroups):
        rows += list(_part_rows(part))
    for name, word in (("ece", "ECE"), ("brier", "Brier score")):
        one, two = (comparison.calibration[role][name] for role in ("teacher", "student"))
        rows.append((word, f"{one:.3f}", f"{two:.3f}", f"{two - one:+.3f}"))
    return rows


def _part_rows(part: GroupComparison) -> Iterator[tuple[str, str, str, str]]:
    label = f"{part.name}, {part.images} images: " if part.column else ""
    yield (f"{label}AUC", *_shown(part.auc))
    for kind, rates in (("sensitivity", part.sensitivity), ("specificity", part.specificity)):
        for name, rate in rates.items():
            yield (f"{label}{kind} {name}", *_shown(rate))


def _shown(figure: Paired) -> tuple[str, str, str]:
    def text(value: Interval) -> str:
        return "-" if np.isnan(value.value) else str(value)

    return text(figure.teacher), text(figure.student), text(figure.drop)
