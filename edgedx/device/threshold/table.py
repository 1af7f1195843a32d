"""True and false positives, missed cases, predictive values and cost at every threshold, by subgroup."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgedx.core.bundle.local_point import points_of
from edgedx.core.bundle.manifest import Bundle
from edgedx.core.stats.binomial import least_cases
from edgedx.core.stats.paired import MIN_OF_A_CLASS
from edgedx.core.stats.subgroups import are_groups, bands
from edgedx.core.table import csv_text, number_cell

from .cutoffs import Costs, Cutoff, Finding, all_thresholds, check_prevalence, cutoff_at
from .evidence import Evidence
from .propose import CONFIDENCE, lowest_of_patients

_SHOWN = (1.0, 0.99, 0.98, 0.97, 0.95, 0.93, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)
"""Sensitivities whose thresholds a short table has."""
_TARGETS = (0.9, 0.95, 0.97, 0.99)
_FIGURES = ("sensitivity", "specificity", "ppv", "npv", "called", "cost_per_image", "cost_per_case")


@dataclass(frozen=True)
class Part:
    """All images, or those of a subgroup.

    Attributes
    ----------
    name : str
        Empty for all; else ``sex: F``.
    rows : tuple of Cutoff
        By rising threshold; empty where there are too few images, which `few` says.
    """

    name: str
    images: int
    positives: int
    patients: int
    rows: tuple[Cutoff, ...]
    few: str = ""


@dataclass(frozen=True)
class ThresholdTable:
    """What every threshold means on labelled images.

    Attributes
    ----------
    marks : dict of str to float
        Operating points of the bundle and the site by name, the one in force first.
    parts : tuple of Part
        All images first.
    least : dict of float to int
        Sensitivity to the least number of patients with the finding that can show it with 95 % confidence.
    """

    finding: str
    source: str
    marks: dict[str, float]
    parts: tuple[Part, ...]
    patients_with_it: int
    least: dict[float, int]
    remarks: tuple[str, ...]

    def short(self, part: Part) -> list[tuple[Cutoff, str]]:
        """Rows for a screen, by rising threshold, and the names of the operating points that they stand for."""
        chosen: dict[float, str] = {}
        for target in _SHOWN:
            reached = [row for row in part.rows if row.sensitivity.value >= target]
            if reached:
                chosen[reached[-1].threshold] = ""
        for name, value in self.marks.items():
            same = [row.threshold for row in part.rows if row.threshold == value]
            for threshold in same:
                chosen[threshold] = f"{chosen.get(threshold, '')} {name}".strip()
        return [(row, chosen[row.threshold]) for row in part.rows if row.threshold in chosen]

    def to_dict(self) -> dict[str, Any]:
        """As JSON; every threshold."""
        return {
            "schema_version": 1,
            "finding": self.finding,
            "source": self.source,
            "operating_points": self.marks,
            "in_force": next(iter(self.marks), None),
            "patients_with_it": self.patients_with_it,
            "least_patients": {f"{target:g}": count for target, count in self.least.items()},
            "remarks": list(self.remarks),
            "parts": [
                {
                    "subgroup": part.name or None,
                    "images": part.images,
                    "with_it": part.positives,
                    "patients": part.patients,
                    "too_few": part.few or None,
                    "rows": [row.to_dict() for row in part.rows],
                }
                for part in self.parts
            ],
        }

    def csv(self) -> str:
        """Every threshold of every part as a row; empty cells where a figure is not known."""
        ends = [f"{name}_{end}" for name in _FIGURES for end in ("", "low", "high")]
        header = ["subgroup", "threshold", "true_positives", "false_positives", "missed", "true_negatives", *ends]
        rows = [
            [part.name, repr(row.threshold), row.true_positives, row.false_positives, row.missed, row.true_negatives,
             *_cells(row)]
            for part in self.parts for row in part.rows
        ]  # fmt: skip
        return csv_text([name.rstrip("_") for name in header], rows)


def _cells(row: Cutoff) -> Iterator[str]:
    for name in _FIGURES:
        figure = getattr(row, name)
        for end in ("value", "low", "high"):
            yield "" if figure is None else number_cell(getattr(figure, end))


def threshold_table(
    bundle: Bundle,
    evidence: Evidence,
    name: str,
    *,
    subgroups: Sequence[str] = (),
    prevalence: float | None = None,
    costs: Costs | None = None,
) -> ThresholdTable:
    """The table of one finding.

    Parameters
    ----------
    prevalence : float, optional
        Share of the clinic's patients with it, for predictive values and costs; that of the images unless given.
        Subgroups keep their own.
    """
    check_prevalence(prevalence)
    finding = evidence.finding(name)
    marks = {point.name: point.threshold[name] for point in points_of(bundle) if name in point.threshold}
    thresholds = sorted({*all_thresholds(finding.score), *marks.values()})
    remarks = list(evidence.remarks)
    if evidence.not_answered:
        remarks.append(f"not answered, and not part of any figure: {evidence.not_answered}")
    parts = [_part("", finding, thresholds, prevalence, costs)]
    for column in subgroups:
        values = bands([group.get(column, "") for group in finding.groups])
        if not are_groups(values):
            remarks.append(f"{column} has nearly as many values as there are images: it makes no groups")
            continue
        for value in sorted(set(values)):
            own = finding.only(np.array([one == value for one in values]))
            parts.append(_part(f"{column}: {value}", own, thresholds, None, costs))
    return ThresholdTable(
        name,
        evidence.source,
        marks,
        tuple(parts),
        lowest_of_patients(finding).size,
        {target: least_cases(target, CONFIDENCE) for target in _TARGETS},
        tuple(remarks),
    )


def _part(
    name: str, finding: Finding, thresholds: Sequence[float], prevalence: float | None, costs: Costs | None
) -> Part:
    with_it = int(finding.present.sum())
    without = finding.present.size - with_it
    few = ""
    if name and min(with_it, without) < MIN_OF_A_CLASS:
        few = f"{with_it} images with it and {without} without: {MIN_OF_A_CLASS} of each are the least"
    rows = [] if few else [cutoff_at(finding, value, prevalence=prevalence, costs=costs) for value in thresholds]
    return Part(name, finding.present.size, with_it, len(np.unique(finding.numbers)), tuple(rows), few)
