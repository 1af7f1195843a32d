"""All figures of one classifier on labelled images, per class and together, each with an interval over patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx.core.stats.cases import Cases, Predictions
from edgedx.core.stats.metrics import Interval
from edgedx.core.stats.resample import RESAMPLES, Draws, draw
from edgedx.core.stats.weighted import (
    Ranked,
    Statistic,
    Sums,
    calibration_error,
    mean_of,
    quadratic_kappa,
    ratio,
)

SPECIFICITIES = (0.90, 0.95)
PER_CLASS = ("auc_roc", "auc_pr", "sensitivity", "specificity", "precision", "f1")


@dataclass(frozen=True)
class Figures:
    """What `figures_with_intervals` found; figures that do not exist (a class is absent) are NaN.

    Attributes
    ----------
    overall : dict of str to Interval
        ``accuracy`` and ``balanced_accuracy`` of the decisions, ``auc_roc`` and ``auc_pr`` (of the positive class of a
        binary task, else the macro mean), ``macro_`` and each of `PER_CLASS`, ``ece``, ``brier``; of multilabel tasks
        ``exact_match`` too, of ordered classes ``quadratic_kappa``.
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
                name: {"support": self.support[name], **{key: value.to_dict() for key, value in statistics.items()}}
                for name, statistics in self.classes.items()
            },
            "confusion": self.confusion,
        }


def called_matrix(cases: Cases, decisions: Sequence[str]) -> NDArray[np.bool_]:
    """Which classes each decision calls, shape (N, K)."""
    many = cases.task == "multilabel"
    split_decisions = [decision.split("|") if many else [decision] for decision in decisions]
    statistics = [[name in one for name in cases.classes] for one in split_decisions]
    return np.array(statistics, bool).reshape(len(split_decisions), len(cases.classes))


def truth_matrices(cases: Cases) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Known and present, both of shape (N, K): every class against the rest, the negative one of a binary task too."""
    labels = np.asarray(cases.labels)
    if cases.task == "multilabel":
        values = labels.astype(np.float64)
        return ~np.isnan(values), values == 1
    present = labels[:, None] == np.arange(len(cases.classes))[None, :]
    return np.ones_like(present), present


def _sum(*parts: Statistic) -> Statistic:
    return lambda weights: np.sum([part(weights) for part in parts], axis=0)


def _where_present(part: Statistic, present: Statistic) -> Statistic:
    return lambda weights: np.where(present(weights) > 0, part(weights), np.nan)


def class_statistics(
    cases: Cases, answers: Predictions, rows: NDArray[np.bool_] | None = None, specificities: Sequence[float] = ()
) -> tuple[list[dict[str, Statistic]], Sums]:
    """Statistics of each class against the rest, among the images `rows`.

    Precision is 0 where a class that is there is never called, as in scikit-learn; leaving it out of the macro mean
    would flatter.
    """
    known, present = truth_matrices(cases)
    called = called_matrix(cases, answers.decisions)
    if rows is not None:
        known = known & rows[:, None]
    counts, statistics = Sums(), []
    for index in range(len(cases.classes)):
        among, sick = known[:, index], known[:, index] & present[:, index]
        well, cried = among & ~sick, among & called[:, index]
        base, ill, healthy = counts.add(among), counts.add(sick), counts.add(well)
        alarms, hits, spared = counts.add(cried), counts.add(cried & sick), counts.add(well & ~cried)
        ranked = Ranked(present[:, index], answers.scores[:, index], np.flatnonzero(among), specificities)
        one: dict[str, Statistic] = {
            "auc_roc": ranked.auc,
            "auc_pr": ranked.average_precision,
            "sensitivity": ratio(hits, ill),
            "specificity": ratio(spared, healthy),
            "precision": _where_present(ratio(hits, alarms, empty=0.0), ill),
            "f1": ratio(_sum(hits, hits), _sum(ill, alarms)),
            "prevalence": ratio(ill, base),
        }
        for level in specificities:
            one[f"sensitivity_at_specificity_{level:.2f}"] = ranked.sensitivity_at(level)
        statistics.append(one)
    return statistics, counts


def figures_with_intervals(
    cases: Cases,
    answers: Predictions,
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
    statistics: dict[tuple[str, ...], Statistic] = {(name,): statistic for name, statistic in together.items()}
    for name, by_figure in zip(cases.classes, classes, strict=True):
        statistics |= {(name, key): statistic for key, statistic in by_figure.items()}
    draws = draw(statistics, cases.patients, resamples=resamples, seed=seed)
    _, present = truth_matrices(cases)
    return Figures(
        images=len(cases),
        patients=len(set(cases.patients)),
        overall={name: draws[name,].interval() for name in together},
        classes={
            name: {key: draws[name, key].interval() for key in one}
            for name, one in zip(cases.classes, classes, strict=True)
        },
        support={name: int(present[:, index].sum()) for index, name in enumerate(cases.classes)},
        confusion=confusion(cases, answers.decisions),
        resamples=resamples,
    )


def _overall(
    cases: Cases, answers: Predictions, classes: list[dict[str, Statistic]], counts: Sums
) -> dict[str, Statistic]:
    known, present = truth_matrices(cases)
    called = called_matrix(cases, answers.decisions)
    macro = {f"macro_{name}": mean_of([one[name] for one in classes]) for name in PER_CLASS}
    statistics: dict[str, Statistic] = {}
    if cases.task == "multilabel":
        shares = [
            ratio(counts.add(known[:, k] & (called[:, k] == present[:, k])), counts.add(known[:, k]))
            for k in range(len(cases.classes))
        ]
        statistics["accuracy"] = mean_of(shares)
        statistics["balanced_accuracy"] = mean_of([macro["macro_sensitivity"], macro["macro_specificity"]])
        complete = np.all(known, axis=1)
        same = complete & np.all(called == present, axis=1)
        statistics["exact_match"] = ratio(counts.add(same), counts.add(complete))
    else:
        every = counts.add(np.ones(len(cases)))
        statistics["accuracy"] = ratio(counts.add(np.any(called & present, axis=1)), every)
        statistics["balanced_accuracy"] = macro["macro_sensitivity"]
        if cases.ordered:
            statistics["quadratic_kappa"] = quadratic_kappa(
                np.asarray(cases.labels, int), called.argmax(axis=1), counts
            )
    lead = classes[list(cases.classes).index(cases.positive)] if cases.positive is not None else None
    for name in ("auc_roc", "auc_pr"):
        statistics[name] = lead[name] if lead is not None else macro[f"macro_{name}"]
    return statistics | macro | _calibration(cases, answers, known, present, counts)


def _calibration(
    cases: Cases, answers: Predictions, known: NDArray[np.bool_], present: NDArray[np.bool_], counts: Sums
) -> dict[str, Statistic]:
    """ECE of the likeliest class and Brier score of the vector; of multilabel tasks the mean over findings."""
    probabilities = answers.probabilities
    if cases.task != "multilabel":
        every = np.ones(len(cases), bool)
        right = present[np.arange(len(cases)), probabilities.argmax(axis=1)]
        squares = counts.add(((probabilities - present) ** 2).sum(axis=1))
        return {
            "ece": calibration_error(right, probabilities.max(axis=1), sums=counts),
            "brier": ratio(squares, counts.add(every)),
        }
    columns = range(len(cases.classes))
    errors = [calibration_error(present[:, k], probabilities[:, k], known[:, k], sums=counts) for k in columns]
    squares = (probabilities - present) ** 2
    distances = [ratio(counts.add(np.where(known[:, k], squares[:, k], 0.0)), counts.add(known[:, k])) for k in columns]
    return {"ece": mean_of(errors), "brier": mean_of(distances)}


def confusion(cases: Cases, decisions: Sequence[str]) -> dict[str, Any]:
    """Counts of truth (rows) and decision (columns); of multilabel tasks one 2 x 2 table of each finding."""
    known, present = truth_matrices(cases)
    called = called_matrix(cases, decisions)
    if cases.task == "multilabel":
        tables = {}
        for index, name in enumerate(cases.classes):
            rows = known[:, index]
            cell = 2 * present[rows, index].astype(int) + called[rows, index]
            tables[name] = np.bincount(cell, minlength=4).reshape(2, 2).tolist()
        return {"labels": ["without", "with"], "findings": tables}
    size = len(cases.classes)
    cell = np.asarray(cases.labels, int) * size + called.argmax(axis=1)
    return {
        "labels": list(cases.classes),
        "counts": np.bincount(cell, minlength=size * size).reshape(size, size).tolist(),
    }


def paired_difference(one: Draws, two: Draws, level: float = 0.95) -> Interval:
    """One figure less another, from the same resamples."""
    return one.minus(two).interval(level)
