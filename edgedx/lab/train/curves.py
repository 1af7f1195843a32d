"""Learning curves where people watch theirs: TensorBoard or MLflow, as the recipe's ``train.log_to`` says."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from edgedx.core.errors import DependencyMissing
from edgedx.core.files import write_text
from edgedx.core.settings.recipe import Recipe

TENSORBOARD = "tensorboard"
"""Folder of a stage; `tensorboard --logdir runs` finds it."""
MLFLOW_RUN = "mlflow-run.txt"
"""Of a stage: the id of its run in MLflow, for a training that is gone on with."""
_NAMES = {"loss": "loss/train", "val_loss": "loss/val", "val_auc": "auc/val", "learning_rate": "learning_rate"}


class Curves(Protocol):
    """A place for learning curves."""

    def write(self, line: Mapping[str, Any], step: int) -> None:
        """Add a line of the history, after so many steps of the training."""
        ...

    def close(self, *, finished: bool) -> None:
        """Nothing more comes; `finished` is False where the training was cut off."""
        ...


class Nowhere:
    """Where nothing is asked for, which is the default."""

    def write(self, line: Mapping[str, Any], step: int) -> None:
        """Nothing."""

    def close(self, *, finished: bool) -> None:
        """Nothing."""


def open_curves(recipe: Recipe, folder: Path, title: str, step: int) -> Curves:
    """The place that the recipe names.

    Parameters
    ----------
    folder : Path
        Of the stage.
    step : int
        The first that comes; what an earlier start wrote of later ones is void.

    Raises
    ------
    DependencyMissing
        Its package is not installed.
    """
    if recipe.train.log_to == "tensorboard":
        return _TensorBoard(folder / TENSORBOARD, step)
    if recipe.train.log_to == "mlflow":
        return _MLflow(recipe, folder, title)
    return Nowhere()


def _numbers(line: Mapping[str, Any]) -> dict[str, float]:
    return {key: float(line[key]) for key in _NAMES if math.isfinite(line[key])}


class _TensorBoard:
    def __init__(self, folder: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise _missing("tensorboard") from error
        self.writer = SummaryWriter(str(folder), purge_step=step or None)

    def write(self, line: Mapping[str, Any], step: int) -> None:
        for key, value in _numbers(line).items():
            self.writer.add_scalar(_NAMES[key], value, step)  # type: ignore[no-untyped-call]
        self.writer.flush()  # type: ignore[no-untyped-call]

    def close(self, *, finished: bool) -> None:
        self.writer.close()  # type: ignore[no-untyped-call]


class _MLflow:
    def __init__(self, recipe: Recipe, folder: Path, title: str) -> None:
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # it would tell its makers of its use
        try:
            import mlflow
        except ImportError as error:
            raise _missing("mlflow") from error
        self.client = mlflow.MlflowClient()  # not the module's own run, which belongs to who calls edgedx from Python
        known = folder / MLFLOW_RUN
        if known.is_file():
            self.run = known.read_text(encoding="utf-8").strip()
            self.client.update_run(self.run, status="RUNNING")
            return
        experiment = self.client.get_experiment_by_name(recipe.name)
        experiment_id = experiment.experiment_id if experiment else self.client.create_experiment(recipe.name)
        self.run = self.client.create_run(experiment_id, run_name=f"{folder.parent.name}: {title}").info.run_id
        write_text(known, self.run + "\n")
        settings = {"backbone": recipe.model.backbone, **recipe.train.model_dump(mode="json")}
        for key, value in settings.items():
            self.client.log_param(self.run, key, value)

    def write(self, line: Mapping[str, Any], step: int) -> None:
        names = {"loss": "train_loss"}
        for key, value in _numbers(line).items():
            self.client.log_metric(self.run, names.get(key, key), value, step=step)

    def close(self, *, finished: bool) -> None:
        self.client.set_terminated(self.run, "FINISHED" if finished else "KILLED")


def _missing(name: str) -> DependencyMissing:
    return DependencyMissing(
        f"train.log_to: {name} asks for the package {name}, which is not installed",
        next_step="pip install 'edgedx[curves]', or --set train.log_to=none",
    )
