"""From a published layout to a trained teacher: several findings at once, and patches out of volumes."""

from __future__ import annotations

from pathlib import Path

import made_layouts
import pytest

from edgedx.core.settings.recipe import load_recipe
from edgedx.lab.data.prepare import open_data
from edgedx.lab.train.finetune import finetune

TINY = [
    *("preprocess.size=[32, 32]", "model.backbone=test_efficientnet", "model.weights=none", "model.dropout=0"),
    *("model.stochastic_depth=0", "train.frozen_epochs=0", "train.batch_size=16", "train.imbalance=none"),
    *("train.ema=0", "augment.rotation=0", "augment.zoom=0", "augment.shift=0"),
]


@pytest.mark.slow
def test_fourteen_findings_are_learned_from_the_official_split(tmp_path: Path) -> None:
    made_layouts.chestxray14(tmp_path / "set", patients=120)
    more = ["train.epochs=12", "train.patience=0", "train.learning_rate=0.004"]
    recipe = load_recipe("nih-chestxray14", [f"data.path={tmp_path / 'set'}", *TINY, *more])
    record = finetune(recipe, tmp_path / "run")
    assert record["data"]["splits"]["test"] == 80 and record["data"]["splits"]["val"] > 0
    data = open_data(recipe, tmp_path / "run")
    assert data.labels.shape == (240, 14)
    assert not set(data.subset("train").patients) & set(data.subset("val").patients)
    areas = record["metrics"]["test"]["class_auc"]
    assert set(areas) == set(recipe.task.classes)
    assert areas["effusion"] > 0.9  # the one finding that these pictures show; the others are noise


@pytest.mark.slow
def test_nodules_are_told_from_air(tmp_path: Path) -> None:
    made_layouts.luna16(tmp_path / "set", subsets=6, scans=4)
    more = ["train.epochs=10", "train.learning_rate=0.004", "data.patches.side_mm=16", "data.patches.pixels=32"]
    recipe = load_recipe("luna16", [f"data.path={tmp_path / 'set'}", *TINY, *more])
    record = finetune(recipe, tmp_path / "run")
    assert record["metrics"]["test"]["auc"]["value"] > 0.95
    assert open_data(recipe, tmp_path / "run").canvases.shape[1:] == (32, 32, 3)
