"""Which temperature to distil with: a short trial of each from the same start, the best on val kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgedx.core.files import read_json, write_json
from edgedx.core.settings.recipe_sections import Task
from edgedx.lab.feed.targets import targets_of
from edgedx.lab.train.processes import is_main
from edgedx.lab.train.short_figures import auc_of_logits
from edgedx.lab.train.tasks import Classify

RESULTS = "trials.json"


def try_temperatures(
    temperatures: list[float],
    trial: Callable[[float, Path], np.ndarray],
    task: Task,
    labels: np.ndarray,
    work: Path,
) -> list[dict[str, Any]]:
    """Try each temperature once and return all results, the best marked.

    Each finished trial is kept in ``work/trials.json``, so that a killed run repeats none.

    Parameters
    ----------
    trial : callable
        Temperature and a file for the training state to the val logits, (N, K), of what was trained.
    labels : ndarray
        Of val, as in `Dataset.labels`.
    """
    path = work / RESULTS
    results: list[dict[str, Any]] = read_json(path) if path.is_file() else []
    for number, temperature in enumerate(temperatures[len(results) :], start=len(results)):
        begun = time.monotonic()
        logits = trial(temperature, work / f"trial-{number}.safetensors")
        results.append(
            {
                "temperature": temperature,
                "val_auc": auc_of_logits(task, logits, labels),
                "val_nll": negative_log_likelihood(task, logits, labels),
                "seconds": round(time.monotonic() - begun, 1),
            }
        )
        if is_main():
            write_json(path, results)
    chosen = best(results)
    return [{**result, "chosen": result is chosen} for result in results]


def best(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Highest val AUC; of equals the lowest negative log likelihood, then the first."""
    return max(results, key=lambda result: (result["val_auc"], -result["val_nll"]))


def negative_log_likelihood(task: Task, logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean over images (multilabel: over known labels), natural logarithm."""
    return float(Classify(task).loss(torch.from_numpy(logits), torch.from_numpy(targets_of(labels, task))))
