"""Operating points chosen on val, and the short list of figures that every stage reports."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgedx.core.settings.recipe import Recipe
from edgedx.core.settings.recipe_sections import Task
from edgedx.core.stats.cases import calibrated_probabilities, ranking_scores
from edgedx.core.stats.metrics import (
    area_statistics,
    auc,
    brier,
    class_aucs,
    expected_calibration_error,
    sensitivity_specificity,
)
from edgedx.core.stats.points import OperatingPoint, threshold_of
from edgedx.core.stats.resample import draw
from edgedx.core.stats.weighted import Statistic, mean_of, share
from edgedx.core.table import null_for_nan


def auc_of_logits(task: Task, logits: np.ndarray, labels: np.ndarray) -> float:
    """AUC of a task from raw logits of shape (N, K). One logit alone does not rank cases; probabilities do."""
    return auc(labels, _scores(task, logits, 1.0), task.kind, task.positive_index)


def area_of_logits(task: Task, logits: np.ndarray, labels: np.ndarray) -> Statistic:
    """The same of weighted images, for `resample.draw`."""
    return mean_of(area_statistics(labels, _scores(task, logits, 1.0), task.kind, task.positive_index))


def _scores(task: Task, logits: np.ndarray, temperature: float) -> np.ndarray:
    """What ranks the images in every table and report too, of shape (N, K)."""
    return ranking_scores(calibrated_probabilities(logits, task.kind, temperature), task.kind)


def operating_points(
    recipe: Recipe, logits: np.ndarray, labels: np.ndarray, temperature: float
) -> list[OperatingPoint]:
    """Thresholds on calibrated probabilities, chosen on val as the recipe's ``gate.points`` say.

    Parameters
    ----------
    logits : ndarray of shape (N, K)
    labels : ndarray
        As in `Dataset.labels`.
    """
    task = recipe.task
    if task.kind == "multiclass":
        return [OperatingPoint(name="argmax", threshold={})]
    chance = calibrated_probabilities(logits, task.kind, temperature)
    return [_point(name, task, chance, labels) for name in recipe.gate.points]


def _point(name: str, task: Task, chance: np.ndarray, labels: np.ndarray) -> OperatingPoint:
    thresholds: dict[str, float] = {}
    sensitivity = specificity = None
    for index, finding in enumerate(task.classes):
        if task.kind == "binary" and finding != task.positive:
            continue
        known = ~np.isnan(labels[:, index]) if task.kind == "multilabel" else np.ones(len(labels), bool)
        truth = (labels[:, index] == 1 if task.kind == "multilabel" else labels == index)[known]
        score = chance[known, index]
        thresholds[finding] = threshold_of(name, truth, score)
        if task.kind == "binary":
            sensitivity, specificity = sensitivity_specificity(truth, score, thresholds[finding])
    return OperatingPoint(name=name, threshold=thresholds, sensitivity=sensitivity, specificity=specificity)


def summary(
    task: Task,
    logits: np.ndarray,
    labels: np.ndarray,
    patients: list[str],
    temperature: float,
    point: OperatingPoint,
    resamples: int = 1000,
) -> dict[str, Any]:
    """AUC with its interval, sensitivity and specificity at the operating point, accuracy and calibration.

    Intervals are 95 % bootstrap over patients.
    """
    chance = calibrated_probabilities(logits, task.kind, temperature)
    scores = ranking_scores(chance, task.kind)
    statistics = {"auc": mean_of(area_statistics(labels, scores, task.kind, task.positive_index))}
    if task.kind == "binary":
        present = labels == task.positive_index
        called = chance[:, task.positive_index] >= point.threshold[str(task.positive)]
        statistics |= {"sensitivity": share(called, present), "specificity": share(~called, ~present)}
    draws = draw(statistics, patients, resamples=resamples)
    figures: dict[str, Any] = {"images": len(labels), "auc": draws["auc"].interval().to_dict()}
    if task.kind != "multilabel":
        figures["accuracy"] = float((chance.argmax(axis=1) == labels).mean())
        figures["ece"] = expected_calibration_error(chance.argmax(axis=1) == labels, chance.max(axis=1))
        figures["brier"] = brier(labels, chance)
    if task.kind == "binary":
        figures["operating_point"] = point.name
        figures |= {name: draws[name].interval().to_dict() for name in ("sensitivity", "specificity")}
    else:
        areas = class_aucs(labels, scores, task.kind)
        figures["class_auc"] = {name: null_for_nan(area) for name, area in zip(task.classes, areas, strict=True)}
    if task.kind == "multiclass":
        called = chance.argmax(axis=1)
        figures["class_sensitivity"] = {
            name: float((called[labels == index] == index).mean()) if (labels == index).any() else None
            for index, name in enumerate(task.classes)
        }
    return figures
