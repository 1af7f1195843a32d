"""Tests over the folds of a cross-validation: two figures a fold, from models trained on mostly the same images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from edgedx.core.stats.metrics import Interval
from edgedx.core.table import null_for_nan

from .significance import cohen_dz, rank_biserial


@dataclass(frozen=True)
class FoldTests:
    """Paired tests on K folds.

    Attributes
    ----------
    differences : list of float
        Second less first, fold by fold.
    mean : Interval
        With the interval of the corrected resampled t-test.
    corrected_t, corrected_p : float
        Nadeau & Bengio 2003.
    t, t_p : float
        The paired t-test as it is, which takes the folds for independent.
    wilcoxon_p, least_p : float
        Of the signed-rank test, and the least p that so many folds can give.
    d_z, rank_biserial : float
        Effect sizes.
    """

    differences: list[float]
    mean: Interval
    corrected_t: float
    corrected_p: float
    t: float
    t_p: float
    wilcoxon_p: float
    least_p: float
    d_z: float
    rank_biserial: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON: NaN becomes null."""
        more = {
            name: null_for_nan(getattr(self, name))
            for name in (
                "corrected_t", "corrected_p", "t", "t_p", "wilcoxon_p", "least_p", "d_z", "rank_biserial",
            )
        }  # fmt: skip
        return {"by_fold": self.differences, **self.mean.to_dict(), **more}


def fold_tests(first: Sequence[float], second: Sequence[float], test_share: float, level: float = 0.95) -> FoldTests:
    """Compare two figures over folds.

    The models of two folds share most of their training images, so their figures vary together, and the variance over
    folds is less than what another data set would show: a plain paired t-test claims too much. Nadeau & Bengio
    (Machine Learning 52:239, 2003) put ``1 / K + n_test / n_train`` in the place of ``1 / K``.

    Parameters
    ----------
    first, second : sequences of K floats
    test_share : float
        Images tested over images trained with, ``n_test / n_train``; of K equal folds 1 / (K - 1).
    """
    differences = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    folds = differences.size
    mean, spread = float(differences.mean()), float(differences.std(ddof=1)) if folds > 1 else math.nan
    if not differences.any():
        none = Interval(0.0, 0.0, 0.0)
        return FoldTests(differences.tolist(), none, 0.0, 1.0, 0.0, 1.0, 1.0, _least(folds), 0.0, 0.0)
    error = spread * math.sqrt(1 / folds + test_share)
    usable = spread > 1e-12 * float(np.abs(differences).max())
    corrected = mean / error if usable else math.nan
    plain = mean / (spread / math.sqrt(folds)) if usable else math.nan
    reach = float(stats.t.ppf((1 + level) / 2, folds - 1)) * error if usable else math.nan
    return FoldTests(
        differences=differences.tolist(),
        mean=Interval(mean, mean - reach, mean + reach),
        corrected_t=corrected,
        corrected_p=float(2 * stats.t.sf(abs(corrected), folds - 1)),
        t=plain,
        t_p=float(2 * stats.t.sf(abs(plain), folds - 1)),
        wilcoxon_p=float(stats.wilcoxon(differences).pvalue),
        least_p=_least(folds),
        d_z=cohen_dz(differences),
        rank_biserial=rank_biserial(differences),
    )


def _least(folds: int) -> float:
    """All differences of one sign is one of 2 ** folds patterns, on either side."""
    return min(1.0, 2.0 ** (1 - folds))
