"""One model by subgroup: figures of each that is large enough, and the largest gap between two of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx.core.stats.cases import Cases, Predictions
from edgedx.core.stats.metrics import Interval
from edgedx.core.stats.paired import MIN_OF_A_CLASS, judged_findings, subgroup_rows
from edgedx.core.stats.resample import RESAMPLES, draw
from edgedx.core.stats.weighted import Statistic, mean_of

from .figures import class_statistics, paired_difference

KINDS = ("auc_roc", "sensitivity", "specificity")


@dataclass(frozen=True)
class Part:
    """A subgroup before it is judged: its images, shape (N,), bool, and the classes (indices) that it is judged by."""

    rows: NDArray[np.bool_]
    classes: list[int]


@dataclass(frozen=True)
class Subgroup:
    """Figures of the images that share a value of a column; of a binary task's positive class, else macro means over
    the classes of which all judged subgroups of the column have enough images."""

    column: str
    value: str
    images: int
    patients: int
    figures: dict[str, Interval]

    @property
    def name(self) -> str:
        """``sex F``."""
        return f"{self.column} {self.value}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON: NaN becomes null."""
        return {
            "column": self.column,
            "value": self.value,
            "images": self.images,
            "patients": self.patients,
            **{name: value.to_dict() for name, value in self.figures.items()},
        }


@dataclass(frozen=True)
class Gap:
    """The largest difference between two subgroups of one column.

    Attributes
    ----------
    difference : Interval
        Better less worse. Its level is corrected for the number of pairs looked at (Bonferroni): the largest of many
        differences is large by chance.
    compared : int
        Pairs looked at.
    """

    kind: str
    column: str
    better: str
    worse: str
    difference: Interval
    compared: int

    @property
    def proven(self) -> bool:
        """Whether chance alone does not explain it."""
        return bool(self.difference.low > 0)

    @property
    def sentence(self) -> str:
        """Plain words."""
        word = {"auc_roc": "AUC"}.get(self.kind, self.kind)
        text = f"largest gap: {word} of {self.column} {self.worse} is {self.difference} below that of {self.better}"
        return text + ("" if self.proven else "; chance alone could explain it")

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "figure": self.kind,
            "column": self.column,
            "better": self.better,
            "worse": self.worse,
            "difference": self.difference.to_dict(),
            "compared": self.compared,
            "proven": self.proven,
            "sentence": self.sentence,
        }


@dataclass(frozen=True)
class Disparity:
    """All subgroups, those too small to be judged with the reason, and the largest gap (None: nothing to compare)."""

    subgroups: tuple[Subgroup, ...]
    not_judged: tuple[tuple[str, str], ...]
    gap: Gap | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "subgroups": [one.to_dict() for one in self.subgroups],
            "not_judged": [{"subgroup": name, "why": why} for name, why in self.not_judged],
            "largest_gap": self.gap.to_dict() if self.gap else None,
        }


def disparity(cases: Cases, answers: Predictions, *, resamples: int = RESAMPLES, seed: int = 0) -> Disparity:
    """Figures by subgroup, all on the same resamples of patients."""
    parts, not_judged = comparable_rows(cases)
    statistics = subgroup_statistics(cases, answers, parts)
    draws = draw(statistics, cases.patients, resamples=resamples, seed=seed)
    names = np.asarray(cases.patients)
    groups = tuple(
        Subgroup(
            *key,
            int(part.rows.sum()),
            len(set(names[part.rows].tolist())),
            {kind: draws[key + (kind,)].interval() for kind in KINDS},
        )
        for key, part in parts.items()
    )
    pairs = [(kind, one, two) for kind in KINDS for one, two in _pairs(list(parts))]
    gaps = []
    for kind, one, two in pairs:
        first, second = draws[one + (kind,)], draws[two + (kind,)]
        if np.isnan(first.value) or np.isnan(second.value):
            continue
        better, worse = (one, two) if first.value >= second.value else (two, one)
        difference = paired_difference(draws[better + (kind,)], draws[worse + (kind,)], 1 - 0.05 / len(pairs))
        gaps.append(Gap(kind, one[0], better[1], worse[1], difference, len(pairs)))
    # A proven gap is worse news than a larger one that chance explains.
    largest = max(gaps, key=lambda gap: (gap.proven, gap.difference.value), default=None)
    return Disparity(groups, tuple(not_judged), largest)


def comparable_rows(cases: Cases) -> tuple[dict[tuple[str, str], Part], list[tuple[str, str]]]:
    """The subgroups that can be compared, and why the others cannot.

    A mean over one set of classes says nothing beside a mean over another, so the subgroups of a column are judged by
    the classes of which each has enough images. One that has no class in common with the larger ones is left out.
    """
    found, not_judged = subgroup_rows(cases)
    parts: dict[tuple[str, str], Part] = {}
    for column in dict.fromkeys(column for column, _ in found):
        own = {key: rows for key, rows in found.items() if key[0] == column}
        judged = {key: {one[0] for one in judged_findings(cases, rows)} for key, rows in own.items()}
        common = set.union(*judged.values())
        for key in sorted(own, key=lambda key: -int(own[key].sum())):
            if common & judged[key]:
                common &= judged[key]
            else:
                why = f"no class with {MIN_OF_A_CLASS} images in common with the larger subgroups"
                not_judged.append((" ".join(key), why))
        parts |= {key: Part(rows, sorted(common)) for key, rows in own.items() if common <= judged[key]}
        every = {index for index, *_ in cases.findings()}
        if lacking := sorted(every - common):
            names = ", ".join(cases.classes[index] for index in lacking)
            why = f"not {MIN_OF_A_CLASS} images with and without it in every subgroup"
            not_judged.append((f"{column}: {names}", why))
    return parts, not_judged


def subgroup_statistics(
    cases: Cases, answers: Predictions, parts: Mapping[tuple[str, str], Part]
) -> dict[tuple[str, str, str], Statistic]:
    """Each of `KINDS` in each subgroup of `comparable_rows`: of a binary task's positive class, else the macro mean."""
    statistics: dict[tuple[str, str, str], Statistic] = {}
    for key, part in parts.items():
        classes, _ = class_statistics(cases, answers, part.rows)
        for kind in KINDS:
            statistics[key + (kind,)] = mean_of([classes[index][kind] for index in part.classes])
    return statistics


def _pairs(keys: list[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    return ((one, two) for one, two in combinations(keys, 2) if one[0] == two[0])
