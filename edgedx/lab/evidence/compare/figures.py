"""Figures of one subject of a comparison: on all images, and fold by fold."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgedx.core.stats.cases import Predictions
from edgedx.core.stats.metrics import roc_auc
from edgedx.core.stats.weighted import Statistic, mean_of, share
from edgedx.lab.judge.figures import called_matrix, truth_matrices

from .lineup import Lineup


def right_matrix(lineup: Lineup, answers: Predictions) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which decisions are known to be right or wrong, and which are right; both (N, K), K findings or 1."""
    known, present = truth_matrices(lineup.cases)
    called = called_matrix(lineup.cases, answers.decisions)
    if lineup.cases.task == "multilabel":
        return known, np.asarray(called == present)
    right: NDArray[np.bool_] = np.any(called & present, axis=1, keepdims=True)
    return np.ones_like(right), right


def auc_parts(
    lineup: Lineup, answers: Predictions
) -> list[tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.intp]]]:
    """Truth, score and rows of each AUC: of each finding, and of each fold by itself."""
    folds = np.zeros(len(lineup.cases), np.int64) if lineup.folds is None else lineup.folds
    return [
        (present, answers.scores[:, index], np.flatnonzero(known & (folds == fold)))
        for fold in sorted(set(folds.tolist()))
        for index, known, present in lineup.cases.findings()
    ]


def accuracy_of(lineup: Lineup, answers: Predictions) -> Statistic:
    """Share of right decisions; of findings the mean over them."""
    known, right = right_matrix(lineup, answers)
    return mean_of([share(right[:, column], known[:, column]) for column in range(known.shape[1])])


def fold_aucs(lineup: Lineup, answers: Predictions) -> list[float]:
    """AUC of each fold, the mean over findings; NaN where a fold lacks a class."""
    parts = auc_parts(lineup, answers)
    each = [roc_auc(truth[rows], score[rows]) for truth, score, rows in parts]
    findings = len(lineup.cases.findings())
    together = [[value for value in each[start : start + findings] if not math.isnan(value)]
                for start in range(0, len(each), findings)]  # fmt: skip
    return [float(np.mean(values)) if values else math.nan for values in together]


def fold_accuracies(lineup: Lineup, answers: Predictions) -> list[float]:
    """Share of right decisions in each fold."""
    assert lineup.folds is not None
    of = accuracy_of(lineup, answers)
    weights = np.stack([(lineup.folds == fold).astype(float) for fold in sorted(set(lineup.folds.tolist()))])
    return [float(value) for value in of(weights)]
