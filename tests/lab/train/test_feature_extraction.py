"""Feature extraction: with train.epochs 0 the head alone is learned, on a base that stays as it was pretrained."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from edgedx.core.errors import RecipeError
from edgedx.lab.network.backbone import build_model
from edgedx.lab.network.weights import classifier_keys
from edgedx.lab.train.finetune import finetune, teacher_phases


def test_the_base_keeps_every_pretrained_weight_and_statistic(tmp_path: Path) -> None:
    tiny.write_set(tmp_path / "set")
    weights = tmp_path / "pretrained.safetensors"
    model = build_model("test_efficientnet", 2, tiny.recipe().preprocess)
    save_file(model.state_dict(), weights)
    recipe = tiny.recipe(tmp_path / "set", model={"weights": str(weights)}, train={"epochs": 0, "frozen_epochs": 2})
    record = finetune(recipe, tmp_path / "run")
    assert [line["phase"] for line in record["metrics"]["history"]] == ["new head"] * 2
    before, after = load_file(weights), load_file(tmp_path / "run" / "teacher" / "model.safetensors")
    heads = classifier_keys(model)
    assert heads and all(torch.equal(before[key], after[key]) for key in before if key not in heads)
    assert not any(torch.equal(before[key], after[key]) for key in heads)


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(RecipeError, match="one of them above 0"):
        tiny.recipe(train={"epochs": 0, "frozen_epochs": 0})
    scratch = teacher_phases(tiny.recipe(train={"epochs": 0, "frozen_epochs": 3}), "from scratch")
    assert [(phase.frozen, phase.epochs) for phase in scratch] == [(False, 3)]
