"""What columns are worth to a model: the same images, asked once more with every column absent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx.core.settings.columns import FittedColumn, present
from edgedx.core.stats.cases import Cases, Predictions
from edgedx.core.stats.paired import Paired, compare


@dataclass(frozen=True)
class ColumnContribution:
    """AUC with the columns and without, on the same images.

    Attributes
    ----------
    auc : Paired
        ``teacher`` is with the columns, ``student`` without, ``drop`` what is lost without; from the same resamples.
    known : dict of str to float
        Share of the images that have each column.
    """

    auc: Paired
    known: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "auc": self.auc.teacher.to_dict(),
            "auc_without": self.auc.student.to_dict(),
            "gain": self.auc.drop.to_dict(),
            "known": self.known,
        }

    @property
    def sentence(self) -> str:
        """Plain words."""
        shares = ", ".join(f"{name} ({share:.0%} known)" for name, share in self.known.items())
        return (
            f"{shares}: with all of them absent the same images give {self.auc.student} AUC, "
            f"so they are worth {self.auc.drop}"
        )


def worth_of(
    cases: Cases,
    answers: Predictions,
    without: Predictions,
    columns: Sequence[FittedColumn],
    encoded: NDArray[np.float32],
) -> ColumnContribution:
    """Compare answers with the columns `encoded` (N, T), and with all of them absent."""
    whole = replace(cases, subgroups=[{} for _ in cases.names])
    shares = present(columns, encoded).mean(axis=0)
    known = {column.name: float(share) for column, share in zip(columns, shares, strict=True)}
    return ColumnContribution(compare(whole, answers, without).whole.auc, known)
