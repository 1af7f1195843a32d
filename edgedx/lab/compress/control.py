"""What distillation is worth: the same student, trained as long on labels alone, and the difference in AUC."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgedx.core.files import write_json
from edgedx.core.settings.recipe_sections import Task
from edgedx.core.stats.resample import draw
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.run.model_folder import ModelFolder
from edgedx.lab.run.stage import RECORD, Stage
from edgedx.lab.train.short_figures import area_of_logits, auc_of_logits

FOLDER = "control"


def with_gain(
    record: dict[str, Any],
    student: Stage,
    train: Callable[[Path], dict[str, Any]],
    task: Task,
    data: Dataset,
    weights: str,
    *,
    resume: bool,
    overwrite: bool,
) -> dict[str, Any]:
    """Train the control into ``student/control`` and add the gain to the student's record, also on disk.

    Parameters
    ----------
    record : dict
        Of the finished student.
    train : callable
        Trains the control into the folder it is given, and returns its figures.
    weights : str
        SHA-256 of the student's weights: another student needs another control.
    """
    stage = control_stage(student, weights)
    folder = stage.folder
    stale = (folder / RECORD).is_file() and stage.record() is None
    control = stage.run(lambda: train(folder), resume=resume, overwrite=overwrite or stale)
    shutil.rmtree(folder / "work", ignore_errors=True)
    gain = gains(student.folder, folder, task, data)
    gain["steps"] = control["metrics"]["steps"]
    gain["sentence"] = sentence(gain)
    distillation = {**record["metrics"]["distillation"], "gain": gain}
    record = {**record, "metrics": {**record["metrics"], "distillation": distillation}}
    write_json(student.folder / RECORD, {key: value for key, value in record.items() if key != "reused"})
    return record


def control_stage(student: Stage, weights: str) -> Stage:
    """The stage of the control of one student."""
    settings, inputs = {**student.settings, "teacher": None}, {**student.inputs, "student": weights}
    return Stage(student.folder / FOLDER, settings, inputs)


def gains(student: Path, control: Path, task: Task, data: Dataset) -> dict[str, Any]:
    """AUC of the student minus that of its control on val and test, with paired 95 % intervals by patient.

    Both folders hold ``logits.npz`` and a model card; each model is judged at its own temperature, as its record is.
    """
    found: dict[str, Any] = {}
    for split in ("val", "test"):
        part = data.subset(split)
        one, other = (calibrated(folder, split) for folder in (student, control))
        found[split] = paired_gain(one, other, part, task)
        found[f"control_{split}_auc"] = auc_of_logits(task, other, part.labels)
    return found


def paired_gain(one: np.ndarray, other: np.ndarray, part: Dataset, task: Task) -> dict[str, Any]:
    """AUC of `one` minus AUC of `other`, both logits (N, K) of the same images, with its 95 % interval.

    Each resample draws patients and judges both models on them, so that what is hard for both cancels.
    """
    areas = {name: area_of_logits(task, logits, part.labels) for name, logits in (("one", one), ("other", other))}
    draws = draw(areas, part.patients)
    return draws["one"].minus(draws["other"]).interval().to_dict()


def sentence(gain: dict[str, Any]) -> str:
    """For the report: ``distillation gains 0.012 [0.003, 0.021] AUC on test against ...``."""
    entry = gain["test"]
    if entry["value"] is None:
        return "the gain of distillation cannot be told: a class is missing in test"
    value, low, high = (0.0 if round(entry[key] or 0, 3) == 0 else entry[key] for key in ("value", "low", "high"))
    return (
        f"distillation gains {value:.3f} [{low:.3f}, {high:.3f}] AUC on test against the same student "
        "trained as long on labels"
    )


def calibrated(folder: Path, split: str) -> np.ndarray:
    """Logits (N, K) of a finished stage, divided by its temperature.

    With three classes or more the order of the images by one class depends on it, and so the AUC.
    """
    model = ModelFolder(folder)
    return np.asarray(model.logits(split)[split] / model.card.temperature)
