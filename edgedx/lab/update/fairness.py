"""Subgroups before and after an update: whether the largest gap between two of them grew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgedx.core.stats.cases import Cases, Predictions
from edgedx.core.stats.gate import GateCheck
from edgedx.core.stats.metrics import Interval
from edgedx.core.stats.resample import Draws, draw
from edgedx.lab.judge.disparity import KINDS, comparable_rows, subgroup_statistics

_WORDS = {"auc_roc": "AUC", "sensitivity": "sensitivity", "specificity": "specificity"}
BEFORE, AFTER = "before", "after"
Key = tuple[str, str]


@dataclass(frozen=True)
class Widening:
    """The largest gap of one figure, in whatever column it is, before the update and after.

    Attributes
    ----------
    before, after : float
        Best subgroup less worst of the same column, the largest over all columns.
    where : (str, str)
        Column, and worst subgroup, of the largest gap after.
    growth : Interval
        After less before, on the same resamples of patients.
    """

    kind: str
    before: float
    after: float
    where: Key
    growth: Interval

    def sentence(self, budget: float) -> str:
        """Plain words."""
        word = f"the largest gap in {_WORDS[self.kind]} between subgroups"
        told = f"{word} goes from {self.before:.3f} to {self.after:.3f} ({self.where[0]} {self.where[1]} is worst)"
        if self.growth.value <= budget:
            return f"{told}, within the budget of {budget:g}"
        chance = "" if self.growth.low > 0 else "; chance alone could explain it"
        return f"{told}: it widens by {self.growth}, over the budget of {budget:g}{chance}"


@dataclass(frozen=True)
class Fairness:
    """All subgroups that are large enough, before and after."""

    widenings: tuple[Widening, ...]
    subgroups: tuple[dict[str, Any], ...]
    not_judged: tuple[tuple[str, str], ...]

    def checks(self, budget: float) -> list[GateCheck]:
        """One for each figure that can be compared.

        The growth itself decides, not its interval: a subgroup is small, and what harms it would seldom be proven.
        """
        return [
            GateCheck(
                f"gap {one.kind}", bool(one.growth.value <= budget), one.sentence(budget), one.growth.value, budget
            )
            for one in self.widenings
        ]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "largest_gaps": [
                {
                    "figure": one.kind,
                    "before": one.before,
                    "after": one.after,
                    "column": one.where[0],
                    "worst": one.where[1],
                    "growth": one.growth.to_dict(),
                }
                for one in self.widenings
            ],
            "subgroups": list(self.subgroups),
            "not_judged": [{"subgroup": name, "why": why} for name, why in self.not_judged],
        }


def fairness(cases: Cases, before: Predictions, after: Predictions, *, seed: int = 0) -> Fairness:
    """Compare two models by subgroup, on the same images and the same resamples of patients."""
    parts, not_judged = comparable_rows(cases)
    statistics = {
        (*key, role): statistic
        for role, answers in ((BEFORE, before), (AFTER, after))
        for key, statistic in subgroup_statistics(cases, answers, parts).items()
    }
    if not statistics:
        return Fairness((), (), tuple(not_judged))
    draws = draw(statistics, cases.patients, seed=seed)
    widenings = tuple(one for kind in KINDS if (one := _widening(kind, list(parts), draws)) is not None)
    rows = tuple(
        {
            "column": column,
            "value": value,
            "images": int(parts[column, value].rows.sum()),
            **{
                role: {kind: draws[column, value, kind, role].interval().to_dict() for kind in KINDS}
                for role in (BEFORE, AFTER)
            },
        }
        for column, value in parts
    )
    return Fairness(widenings, rows, tuple(not_judged))


def _widening(kind: str, keys: list[Key], draws: Mapping[tuple[str, str, str, str], Draws]) -> Widening | None:
    columns = [[key for key in keys if key[0] == name] for name in dict.fromkeys(column for column, _ in keys)]
    columns = [group for group in columns if len(group) > 1]
    if not columns:
        return None
    gaps: dict[str, Draws] = {}
    worst: tuple[float, Key] = (-np.inf, keys[0])
    for role in (BEFORE, AFTER):
        of_columns = []
        for group in columns:
            values = np.array([draws[key + (kind, role)].value for key in group])
            samples = np.stack([draws[key + (kind, role)].samples for key in group])
            if np.isnan(values).any():
                continue
            of_columns.append(Draws(float(values.max() - values.min()), samples.max(axis=0) - samples.min(axis=0)))
            if role == AFTER and of_columns[-1].value > worst[0]:
                worst = of_columns[-1].value, group[int(values.argmin())]
        if not of_columns:
            return None
        gaps[role] = Draws(
            max(one.value for one in of_columns), np.stack([one.samples for one in of_columns]).max(axis=0)
        )
    growth = gaps[AFTER].minus(gaps[BEFORE]).interval()
    return Widening(kind, gaps[BEFORE].value, gaps[AFTER].value, worst[1], growth)
