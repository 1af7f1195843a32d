"""Learning curves in TensorBoard and MLflow, read back by their own readers."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from edgedx.core.errors import DependencyMissing
from edgedx.core.settings.recipe import Recipe
from edgedx.lab.network.backbone import build_model
from edgedx.lab.run.stage import stage_settings
from edgedx.lab.train.finetune import STATE
from edgedx.lab.train.loop import fit
from edgedx.lab.train.phase import Outcome, Phase, Training
from edgedx.lab.train.tasks import Classify


def _recipe(place: str) -> Recipe:
    return tiny.recipe(train={"epochs": 2, "batch_size": 8, "frozen_epochs": 0, "log_to": place})


def _train(place: str, folder: Path) -> Outcome:
    torch.manual_seed(0)
    recipe = _recipe(place)
    data = tiny.dataset(np.arange(16) % 2)
    model = build_model(recipe.model.backbone, 2, recipe.preprocess)
    phases = [Phase("all layers", 2, 1e-3)]
    training = Training(model, Classify(recipe.task), data, data, recipe, phases, title="teacher")
    return fit(training, state=folder / STATE)


def test_nothing_is_written_unless_it_is_asked_for(tmp_path: Path) -> None:
    _train("none", tmp_path)
    assert not list(tmp_path.iterdir())


def test_tensorboard_shows_every_epoch(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the optional package tensorboard (pip install 'edgedx[curves]')")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    outcome = _train("tensorboard", tmp_path / "teacher")
    events = EventAccumulator(str(tmp_path / "teacher/tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"loss/train", "loss/val", "auc/val", "learning_rate"}
    shown = events.Scalars("loss/train")
    assert [one.step for one in shown] == [2, 4]
    assert [one.value for one in shown] == pytest.approx([line["loss"] for line in outcome.history])


def test_mlflow_holds_every_epoch_and_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the optional package mlflow (pip install 'edgedx[curves]')")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    outcome = _train("mlflow", tmp_path / "chest/teacher")
    client = mlflow.MlflowClient()
    run = client.get_run((tmp_path / "chest/teacher/mlflow-run.txt").read_text().strip())
    assert run.info.status == "FINISHED" and run.info.run_name == "chest: teacher"
    assert run.data.params["batch_size"] == "8" and run.data.params["backbone"] == "test_efficientnet"
    kept = client.get_metric_history(run.info.run_id, "train_loss")
    assert [(one.step, one.value) for one in kept] == [
        (step, pytest.approx(line["loss"])) for step, line in zip((2, 4), outcome.history, strict=True)
    ]


@pytest.mark.parametrize("place", ["tensorboard", "mlflow"])
def test_a_missing_package_is_named_before_anything_is_trained(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, place, None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(DependencyMissing, match=f"train.log_to: {place}") as caught:
        _train(place, tmp_path)
    assert "edgedx[curves]" in str(caught.value.next_step)


def test_where_curves_are_shown_makes_no_other_model() -> None:
    """Runs from before the setting are current, and turning it on repeats no training."""
    assert stage_settings(_recipe("none"), "train") == stage_settings(_recipe("mlflow"), "train")
    assert "log_to" not in stage_settings(_recipe("none"), "train")["train"]
