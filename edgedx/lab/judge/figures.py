"""All figures of one classifier on labelled images, per class and together, each with an interval over patients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx.core.stats.cases import Answers, Cases
from edgedx.core.stats.metrics import Interval
from edgedx.core.stats.resample import RESAMPLES, Draws, Floats, Statistic, draw, mean_of

from .ranks import Ranked

SPECIFICITIES = (0.90, 0.95)
BINS = 15
"""Bins of the calibration error."""
PER_CLASS = ("auc_roc", "auc_pr", "sensitivity", "specificity", "precision", "f1")


@dataclass(frozen=True)
class Figures:
    """What `figures_with_intervals` found; figures that do not exist (a class is absent) are NaN.

    Attributes
    ----------
    overall : dict of str to Interval
        ``accuracy`` and ``balanced_accuracy`` of the decisions, ``auc_roc`` and ``auc_pr`` (of the positive class of a
        binary task, else the macro mean), ``macro_`` and each of `PER_CLASS`, ``ece``, ``brier``; of multilabel tasks
        ``exact_match`` too.
    classes : dict of class to dict of str to Interval
        `PER_CLASS`, ``prevalence``, and ``sensitivity_at_specificity_0.95`` and so on.
    confusion : dict
        ``labels`` and ``counts`` (rows are the truth); of multilabel tasks one of each finding, as ``findings``.
    """

    images: int
    patients: int
    overall: dict[str, Interval]
    classes: dict[str, dict[str, Interval]]
    support: dict[str, int]
    confusion: dict[str, Any]
    resamples: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON: NaN becomes null."""
        return {
            "images": self.images,
            "patients": self.patients,
            "resampled": "patients" if self.patients < self.images else "images",
            "resamples": self.resamples,
            "overall": {name: value.to_dict() for name, value in self.overall.items()},
            "classes": {
                name: {"support": self.support[name], **{key: value.to_dict() for key, value in found.items()}}
                for name, found in self.classes.items()
            },
            "confusion": self.confusion,
        }


def called_matrix(cases: Cases, decisions: Sequence[str]) -> NDArray[np.bool_]:
    """Which classes each decision calls, shape (N, K)."""
    many = cases.task == "multilabel"
    said = [decision.split("|") if many else [decision] for decision in decisions]
    found = [[name in one for name in cases.classes] for one in said]
    return np.array(found, bool).reshape(len(said), len(cases.classes))


def truth_matrices(cases: Cases) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Known and present, both of shape (N, K): every class against the rest, the negative one of a binary task too."""
    labels = np.asarray(cases.labels)
    if cases.task == "multilabel":
        values = labels.astype(np.float64)
        return ~np.isnan(values), values == 1
    present = labels[:, None] == np.arange(len(cases.classes))[None, :]
    return np.ones_like(present), present


class _Counts:
    """Weighted sums over images, all by one matrix product, kept for the weights that were seen last."""

    def __init__(self) -> None:
        self._columns: list[NDArray[Any]] = []
        self._matrix: Floats | None = None
        self._seen: Floats | None = None
        self._sums: Floats = np.zeros((0, 0))

    def add(self, column: NDArray[Any]) -> Callable[[Floats], Floats]:
        place = len(self._columns)
        self._columns.append(np.asarray(column, np.float64))

        def of(weights: Floats) -> Floats:
            if self._seen is not weights:
                if self._matrix is None:
                    self._matrix = np.stack(self._columns, axis=1)
                self._sums, self._seen = weights @ self._matrix, weights
            return self._sums[:, place]

        return of


def _ratio(above: Statistic, below: Statistic, empty: float = np.nan) -> Statistic:
    def of(weights: Floats) -> Floats:
        under = below(weights)
        found = np.full(under.shape, empty)
        np.divide(above(weights), under, out=found, where=under > 0)
        return found

    return of


def _sum(*parts: Statistic) -> Statistic:
    return lambda weights: np.sum([part(weights) for part in parts], axis=0)


def _where_present(part: Statistic, present: Statistic) -> Statistic:
    return lambda weights: np.where(present(weights) > 0, part(weights), np.nan)


def class_statistics(
    cases: Cases, answers: Answers, rows: NDArray[np.bool_] | None = None, specificities: Sequence[float] = ()
) -> tuple[list[dict[str, Statistic]], _Counts]:
    """Statistics of each class against the rest, among the images `rows`.

    Precision is 0 where a class that is there is never called, as in scikit-learn; leaving it out of the macro mean
    would flatter.
    """
    known, present = truth_matrices(cases)
    called = called_matrix(cases, answers.decisions)
    if rows is not None:
        known = known & rows[:, None]
    counts, found = _Counts(), []
    for index in range(len(cases.classes)):
        among, sick = known[:, index], known[:, index] & present[:, index]
        well, cried = among & ~sick, among & called[:, index]
        base, ill, healthy = counts.add(among), counts.add(sick), counts.add(well)
        alarms, hits, spared = counts.add(cried), counts.add(cried & sick), counts.add(well & ~cried)
        ranked = Ranked(present[:, index], answers.ranks[:, index], np.flatnonzero(among), specificities)
        one: dict[str, Statistic] = {
            "auc_roc": ranked.auc,
            "auc_pr": ranked.average_precision,
            "sensitivity": _ratio(hits, ill),
            "specificity": _ratio(spared, healthy),
            "precision": _where_present(_ratio(hits, alarms, empty=0.0), ill),
            "f1": _ratio(_sum(hits, hits), _sum(ill, alarms)),
            "prevalence": _ratio(ill, base),
        }
        for level in specificities:
            one[f"sensitivity_at_specificity_{level:.2f}"] = ranked.sensitivity_at(level)
        found.append(one)
    return found, counts


def figures_with_intervals(
    cases: Cases,
    answers: Answers,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    specificities: Sequence[float] = SPECIFICITIES,
) -> Figures:
    """All figures, with 95 % percentile bootstrap intervals over patients.

    Raises
    ------
    ValueError
        There is no image, or an answer is not a number: leave those out first, and count them.
    """
    if not len(cases) or answers.broken:
        raise ValueError(f"{len(cases)} images, {answers.broken} answers that are not numbers")
    classes, counts = class_statistics(cases, answers, specificities=specificities)
    together = _overall(cases, answers, classes, counts)
    statistics = {f"\x00{name}": of for name, of in together.items()}
    for name, one in zip(cases.classes, classes, strict=True):
        statistics |= {f"{name}\x00{key}": of for key, of in one.items()}
    draws = draw(statistics, cases.patients, resamples=resamples, seed=seed)
    _, present = truth_matrices(cases)
    return Figures(
        images=len(cases),
        patients=len(set(cases.patients)),
        overall={name: draws[f"\x00{name}"].interval() for name in together},
        classes={
            name: {key: draws[f"{name}\x00{key}"].interval() for key in one}
            for name, one in zip(cases.classes, classes, strict=True)
        },
        support={name: int(present[:, index].sum()) for index, name in enumerate(cases.classes)},
        confusion=confusion(cases, answers.decisions),
        resamples=resamples,
    )


def _overall(
    cases: Cases, answers: Answers, classes: list[dict[str, Statistic]], counts: _Counts
) -> dict[str, Statistic]:
    known, present = truth_matrices(cases)
    called = called_matrix(cases, answers.decisions)
    macro = {f"macro_{name}": mean_of([one[name] for one in classes]) for name in PER_CLASS}
    found: dict[str, Statistic] = {}
    if cases.task == "multilabel":
        shares = [
            _ratio(counts.add(known[:, k] & (called[:, k] == present[:, k])), counts.add(known[:, k]))
            for k in range(len(cases.classes))
        ]
        found["accuracy"] = mean_of(shares)
        found["balanced_accuracy"] = mean_of([macro["macro_sensitivity"], macro["macro_specificity"]])
        complete = np.all(known, axis=1)
        same = complete & np.all(called == present, axis=1)
        found["exact_match"] = _ratio(counts.add(same), counts.add(complete))
    else:
        every = counts.add(np.ones(len(cases)))
        found["accuracy"] = _ratio(counts.add(np.any(called & present, axis=1)), every)
        found["balanced_accuracy"] = macro["macro_sensitivity"]
    lead = classes[list(cases.classes).index(cases.positive)] if cases.positive is not None else None
    for name in ("auc_roc", "auc_pr"):
        found[name] = lead[name] if lead is not None else macro[f"macro_{name}"]
    return found | macro | _calibration(cases, answers, known, present, counts)


def _calibration(
    cases: Cases, answers: Answers, known: NDArray[np.bool_], present: NDArray[np.bool_], counts: _Counts
) -> dict[str, Statistic]:
    """ECE of the likeliest class and Brier score of the vector; of multilabel tasks the mean over findings."""
    chances = answers.chances
    if cases.task != "multilabel":
        every = np.ones(len(cases), bool)
        right = present[np.arange(len(cases)), chances.argmax(axis=1)]
        squares = counts.add(((chances - present) ** 2).sum(axis=1))
        return {
            "ece": _ece(right, chances.max(axis=1), every, counts),
            "brier": _ratio(squares, counts.add(every)),
        }
    columns = range(len(cases.classes))
    errors = [_ece(present[:, k], chances[:, k], known[:, k], counts) for k in columns]
    distances = [
        _ratio(counts.add(np.where(known[:, k], (chances[:, k] - present[:, k]) ** 2, 0.0)), counts.add(known[:, k]))
        for k in columns
    ]
    return {"ece": mean_of(errors), "brier": mean_of(distances)}


def _ece(right: NDArray[Any], sure: Floats, among: NDArray[np.bool_], counts: _Counts) -> Statistic:
    which = np.clip((sure * BINS).astype(int), 0, BINS - 1)
    gaps = [counts.add(np.where(among & (which == one), right - sure, 0.0)) for one in sorted(set(which[among]))]
    base = counts.add(among)
    return _ratio(lambda weights: np.sum([np.abs(gap(weights)) for gap in gaps], axis=0), base)


def confusion(cases: Cases, decisions: Sequence[str]) -> dict[str, Any]:
    """Counts of truth (rows) and decision (columns); of multilabel tasks one 2 x 2 table of each finding."""
    known, present = truth_matrices(cases)
    called = called_matrix(cases, decisions)
    if cases.task == "multilabel":
        tables = {}
        for index, name in enumerate(cases.classes):
            rows = known[:, index]
            place = 2 * present[rows, index].astype(int) + called[rows, index]
            tables[name] = np.bincount(place, minlength=4).reshape(2, 2).tolist()
        return {"labels": ["without", "with"], "findings": tables}
    size = len(cases.classes)
    place = np.asarray(cases.labels, int) * size + called.argmax(axis=1)
    return {
        "labels": list(cases.classes),
        "counts": np.bincount(place, minlength=size * size).reshape(size, size).tolist(),
    }


def paired_difference(one: Draws, two: Draws, level: float = 0.95) -> Interval:
    """One figure less another, from the same resamples."""
    return one.minus(two).interval(level)
