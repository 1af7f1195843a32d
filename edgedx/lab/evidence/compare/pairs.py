"""What a comparison says: tests of each pair of models, with effect sizes and corrections."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from edgedx.core.stats.metrics import Interval
from edgedx.core.stats.patients import known_patients
from edgedx.core.table import null_for_nan

from .folds import FoldTests
from .lineup import Lineup
from .significance import AreaTest, DecisionTest


@dataclass(frozen=True)
class PairTest:
    """One test of one pair.

    Attributes
    ----------
    of : str
        ``ranking`` (AUC) or ``decisions`` (accuracy).
    finding : str
        Class or finding that it is about; empty where there is one alone, or all together.
    p, p_holm : float
        As it is, and corrected for all pairs and findings that the same test was made for.
    """

    of: str
    finding: str
    found: AreaTest | DecisionTest | FoldTests
    p: float
    p_holm: float = math.nan

    def to_dict(self) -> dict[str, Any]:
        """As JSON: NaN becomes null."""
        entries = {"of": self.of, "finding": self.finding or None, **self.found.to_dict()}
        if isinstance(self.found, FoldTests):
            entries["test"] = "corrected resampled t, over folds"
        return entries | {"p": null_for_nan(self.p), "p_holm": null_for_nan(self.p_holm)}


@dataclass(frozen=True)
class Pair:
    """Two subjects.

    Attributes
    ----------
    auc, accuracy : Interval
        Second less first, by paired bootstrap over patients.
    """

    first: str
    second: str
    auc: Interval
    accuracy: Interval
    tests: tuple[PairTest, ...]

    def best(self, of: str) -> tuple[PairTest, ...]:
        """The tests to decide by: over folds where there are some, else on the images."""
        matching = [one for one in self.tests if one.of == of]
        return tuple([one for one in matching if isinstance(one.found, FoldTests)] or matching)

    def gap(self, of: str) -> Interval:
        """The difference with its interval: of the test over folds where there is one, else by bootstrap."""
        over_folds = [one.found.mean for one in self.best(of) if isinstance(one.found, FoldTests)]
        return over_folds[0] if over_folds else self.auc if of == "ranking" else self.accuracy

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "first": self.first,
            "second": self.second,
            "auc_difference": self.auc.to_dict(),
            "accuracy_difference": self.accuracy.to_dict(),
            "tests": [one.to_dict() for one in self.tests],
        }


@dataclass(frozen=True)
class ModelComparison:
    """All that was found.

    Attributes
    ----------
    auc, accuracy : dict of name to Interval
        Of each subject; over folds the mean of the folds' AUCs.
    """

    lineup: Lineup
    auc: dict[str, Interval]
    accuracy: dict[str, Interval]
    pairs: tuple[Pair, ...]
    resamples: int

    @property
    def patients(self) -> int:
        """How many the images are of."""
        return len(set(self.lineup.cases.patients))

    @property
    def folds(self) -> int:
        """How many; 0 where nothing was cross-validated."""
        return 0 if self.lineup.folds is None else len(set(self.lineup.folds.tolist()))

    @property
    def notes(self) -> list[str]:
        """What a reader must know before he believes a p-value."""
        entries = list(self.lineup.warnings)
        if 0 < int((~known_patients(self.lineup.cases.patients)).sum()) == self.patients:
            entries.append("no patients are named: tests and intervals take images for independent")
        if 0 < self.folds < 6:
            entries.append(
                f"with {self.folds} folds the Wilcoxon test cannot give a p below {2.0 ** (1 - self.folds):g}, "
                "whatever the models do"
            )
        return entries

    def to_dict(self) -> dict[str, Any]:
        """As JSON: NaN becomes null."""
        cases = self.lineup.cases
        return {
            "data": self.lineup.where,
            "synthetic": self.lineup.synthetic,
            "task": cases.task,
            "classes": list(cases.classes),
            "images": len(cases),
            "patients": self.patients,
            "resampled": "patients" if self.patients < len(cases) else "images",
            "resamples": self.resamples,
            "folds": self.folds or None,
            "subjects": {
                name: {
                    "path": self.lineup.paths[name],
                    "ran": self.lineup.ran[name],
                    "auc": self.auc[name].to_dict(),
                    "accuracy": self.accuracy[name].to_dict(),
                }
                for name in self.lineup.answers
            },
            "pairs": [pair.to_dict() for pair in self.pairs],
            "notes": self.notes,
        }
