"""Two models on the same images: AUC, sensitivity, specificity, calibration and decisions, in all and by subgroup."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx.core.table import null_for_nan

from .cases import Cases, Predictions
from .metrics import Interval, brier, expected_calibration_error
from .resample import Draws, draw
from .subgroups import are_groups, bands, short
from .weighted import Ranked, Statistic, mean_of, share

MIN_OF_A_CLASS = 10
"""Images with a class, and without it, that a subgroup must have to be judged by it."""
_MOST_LISTED = 8  # values of a column that are named one by one where they are too small


@dataclass(frozen=True)
class Paired:
    """One figure of both models, with 95 % intervals, and what the student lost.

    Attributes
    ----------
    drop : Interval
        Teacher less student, from the same resamples.
    draws : Draws
        Of the drop, for ends at other levels.
    weight : float
        What one more patient could change: no sample shows less.
    """

    teacher: Interval
    student: Interval
    drop: Interval
    draws: Draws = field(repr=False)
    weight: float

    def upper(self, level: float = 0.95) -> float:
        """Upper end of the one-sided interval of the drop, never nearer than what one more image could change."""
        return float(np.maximum(self.draws.upper(level), self.drop.value + self.weight))

    def to_dict(self) -> dict[str, Any]:
        """As JSON: NaN becomes null."""
        upper = self.upper()
        return {
            "teacher": self.teacher.to_dict(),
            "student": self.student.to_dict(),
            "drop": self.drop.to_dict(),
            "drop_at_most": null_for_nan(upper),
        }


@dataclass(frozen=True)
class GroupComparison:
    """Figures of all images, or of one subgroup.

    Attributes
    ----------
    column, value : str
        Of the subgroup; empty for all images.
    sensitivity, specificity : dict of class to Paired
    """

    column: str
    value: str
    images: int
    auc: Paired
    sensitivity: dict[str, Paired]
    specificity: dict[str, Paired]

    @property
    def name(self) -> str:
        """``sex F``."""
        return f"{self.column} {self.value}".strip()

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        results: dict[str, Any] = {"column": self.column, "value": self.value} if self.column else {}
        return results | {
            "images": self.images,
            "auc": self.auc.to_dict(),
            "sensitivity": {name: figure.to_dict() for name, figure in self.sensitivity.items()},
            "specificity": {name: figure.to_dict() for name, figure in self.specificity.items()},
        }


@dataclass(frozen=True)
class Comparison:
    """All figures of two models.

    Attributes
    ----------
    subgroups : tuple of GroupComparison
        Those that are large enough.
    not_judged : tuple of (str, str)
        Subgroups that are not, and why.
    """

    whole: GroupComparison
    subgroups: tuple[GroupComparison, ...]
    not_judged: tuple[tuple[str, str], ...]
    calibration: dict[str, dict[str, float]]

    @property
    def largest_gap(self) -> GroupComparison | None:
        """The subgroup that lost most AUC."""
        known = [part for part in self.subgroups if not np.isnan(part.auc.drop.value)]
        return max(known, key=lambda part: part.auc.drop.value, default=None)


def compare(cases: Cases, teacher: Predictions, student: Predictions, *, seed: int = 0) -> Comparison:
    """All figures, by one paired bootstrap over patients."""
    parts, not_judged = subgroup_rows(cases)
    members = {("", ""): np.ones(len(cases), bool), **parts}
    statistics: dict[tuple[str, ...], Statistic] = {}
    for key, rows in members.items():
        for role, answers in (("teacher", teacher), ("student", student)):
            for name, statistic in _statistics(cases, answers, rows).items():
                statistics[key + (role, name)] = statistic
    draws = draw(statistics, cases.patients, seed=seed)

    def pair(key: tuple[str, str], name: str, weight: float) -> Paired:
        one, two = (draws[key + (role, name)] for role in ("teacher", "student"))
        drop = one.minus(two)
        return Paired(one.interval(), two.interval(), drop.interval(), drop, weight)

    results = []
    for key, rows in members.items():
        rates: dict[str, dict[str, Paired]] = {"sensitivity": {}, "specificity": {}}
        for index, known, present in judged_findings(cases, rows):
            for kind, among in (("sensitivity", known & present), ("specificity", known & ~present)):
                name = cases.classes[index]
                rates[kind][name] = pair(key, f"{kind} {index}", 1.0 / max(_patients(cases, among), 1))
        area_of = pair(key, "auc", _weight_of_one(cases, rows))
        results.append(GroupComparison(*key, int(rows.sum()), area_of, rates["sensitivity"], rates["specificity"]))
    calibration = {"teacher": _calibration(cases, teacher), "student": _calibration(cases, student)}
    return Comparison(results[0], tuple(results[1:]), tuple(not_judged), calibration)


def figures_of(cases: Cases, answers: Predictions, *, seed: int = 0) -> tuple[dict[str, Interval], dict[str, float]]:
    """AUC of one model, of a binary task sensitivity and specificity too, with 95 % intervals; and its calibration."""
    every = np.ones(len(cases), bool)
    results = _statistics(cases, answers, every)
    wanted = {"auc": results["auc"]}
    if cases.positive is not None:
        ((index, _, _),) = cases.findings()
        wanted |= {kind: results[f"{kind} {index}"] for kind in ("sensitivity", "specificity")}
    draws = draw(wanted, cases.patients, seed=seed)
    return {name: one.interval() for name, one in draws.items()}, _calibration(cases, answers)


def _statistics(cases: Cases, answers: Predictions, rows: NDArray[np.bool_]) -> dict[str, Statistic]:
    results: dict[str, Statistic] = {}
    areas = []
    for index, known, present in judged_findings(cases, rows):
        areas.append(Ranked(present, answers.scores[:, index], np.flatnonzero(known)).auc)
        name = cases.classes[index]
        called = np.array([name in decision.split("|") if cases.task == "multilabel" else decision == name
                           for decision in answers.decisions], bool)  # fmt: skip
        results[f"sensitivity {index}"] = share(called, known & present)
        results[f"specificity {index}"] = share(~called, known & ~present)
    results["auc"] = mean_of(areas)
    return results


def judged_findings(cases: Cases, rows: NDArray[np.bool_]) -> list[tuple[int, NDArray[np.bool_], NDArray[np.bool_]]]:
    """(class index, known, present) within `rows`; in a subgroup only those with enough images with and without."""
    results = [(index, known & rows, present & rows) for index, known, present in cases.findings()]
    if bool(rows.all()) or cases.task == "binary":
        return results
    return [one for one in results if _fewest(one[1], one[2]) >= MIN_OF_A_CLASS]


def _fewest(known: NDArray[np.bool_], present: NDArray[np.bool_]) -> int:
    return int(min((known & present).sum(), (known & ~present).sum()))


def _patients(cases: Cases, rows: NDArray[np.bool_]) -> int:
    return len({patient for patient, wanted in zip(cases.patients, rows, strict=True) if wanted})


def _weight_of_one(cases: Cases, rows: NDArray[np.bool_]) -> float:
    """What one more patient of the rarest class changes in the AUC when he is ranked as by a coin.

    The bootstrap draws from errors that were seen: where both models are perfect on a handful of images it would
    claim certainty. No sample can show less than the weight of one of its cases.
    """
    judged = judged_findings(cases, rows)
    fewest = [min(_patients(cases, known & present), _patients(cases, known & ~present))
              for _, known, present in judged]  # fmt: skip
    return max((0.5 / max(count, 1) for count in fewest), default=0.5) / max(len(judged), 1)


def _calibration(cases: Cases, answers: Predictions) -> dict[str, float]:
    """ECE and Brier score; over findings of a multilabel task the mean. NaN where an answer is not a number."""
    if answers.broken or not len(cases):
        return {"ece": float("nan"), "brier": float("nan")}
    labels = np.asarray(cases.labels)
    if cases.task == "multilabel":
        results = [
            (expected_calibration_error(present[known], answers.probabilities[known, index]),
             float(((answers.probabilities[known, index] - present[known]) ** 2).mean()))
            for index, known, present in cases.findings() if known.any()
        ]  # fmt: skip
        return {
            "ece": float(np.mean([one for one, _ in results])),
            "brier": float(np.mean([two for _, two in results])),
        }
    right = answers.probabilities.argmax(axis=1) == labels
    return {
        "ece": expected_calibration_error(right, answers.probabilities.max(axis=1)),
        "brier": brier(labels, answers.probabilities),
    }


def subgroup_rows(cases: Cases) -> tuple[dict[tuple[str, str], NDArray[np.bool_]], list[tuple[str, str]]]:
    """Rows of each subgroup that is large enough to be judged by one class at least, and why the others are not."""
    results: dict[tuple[str, str], NDArray[np.bool_]] = {}
    not_judged = []
    for column in sorted({name for group in cases.subgroups for name in group}):
        values = np.array(bands([group.get(column, "") for group in cases.subgroups]))
        different = sorted(set(values.tolist()))
        if len(different) == 1:
            not_judged.append((f"{column} {short(different[0])}", "all images have it"))
            continue
        if not are_groups(values.tolist()):
            not_judged.append((column, f"{len(different)} values among {len(values)} images are no groups"))
            continue
        small: list[tuple[str, str]] = []
        for value in different:
            rows = values == value
            counts = [_fewest(known & rows, present & rows) for _, known, present in cases.findings()]
            if max(counts) >= MIN_OF_A_CLASS:
                results[column, value] = rows
            else:
                most = "" if len(counts) == 1 else "at most "
                why = f"{most}{max(counts)} images of a class, {MIN_OF_A_CLASS} needed"
                small.append((f"{column} {short(value)}", why))
        if len(small) > _MOST_LISTED:
            small = [
                (f"{column}, {len(small)} of {len(different)} values", f"under {MIN_OF_A_CLASS} images of a class")
            ]
        not_judged += small
    return results, not_judged
