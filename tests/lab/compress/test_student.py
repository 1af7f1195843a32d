"""The student: killed anywhere and continued it ends with the same weights; its record tells what was done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import student_runs
import torch

from edgedx.core.errors import AlreadyExists, UsageError
from edgedx.lab.compress.student import make_student
from edgedx.lab.data.prepare import open_data
from edgedx.lab.network.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, data set, teacher, and a student made without any disturbance."""
    path = tmp_path_factory.mktemp("student")
    student_runs.prepare(path)
    assert student_runs.make_in_a_process(path, path / "whole") == 0
    return path


def _record(target: Path) -> dict[str, Any]:
    return dict(json.loads((target / "student" / "stage.json").read_text()))


def _quick(
    folder: Path, target: Path, *, ablate: bool = False, overwrite: bool = False, **changes: Any
) -> dict[str, Any]:
    settings = {"temperatures": [], "epochs": 1, "steps": 1, "feature": "none", **changes}
    own, run = student_runs.recipe(folder, **settings), folder / "run"
    teacher = load_checkpoint(run / "teacher")
    return make_student(own, teacher, open_data(own, run), target, ablate=ablate, overwrite=overwrite)


# Kill -9


@pytest.mark.slow
def test_a_student_killed_at_every_stage_ends_with_the_weights_of_an_undisturbed_one(folder: Path) -> None:
    target = folder / "killed"
    for number, place in enumerate(student_runs.PLACES):
        assert student_runs.make_in_a_process(folder, target, place, resume=number > 0) == -9, place
    assert student_runs.make_in_a_process(folder, target, resume=True) == 0
    for part in ("student/pruned", "student", "student/control"):
        one, other = ((folder / name / part / "model.safetensors").read_bytes() for name in ("killed", "whole"))
        assert one == other, part
    one, other = (_record(folder / name)["metrics"] for name in ("killed", "whole"))
    assert one["distillation"]["gain"] == other["distillation"]["gain"]
    assert one["history"][-1]["val_auc"] == other["history"][-1]["val_auc"]
    for mine, theirs in zip(one["distillation"]["trials"], other["distillation"]["trials"], strict=True):
        assert mine | {"seconds": 0} == theirs | {"seconds": 0}
    assert not list(target.rglob("work"))


def test_an_unfinished_student_is_not_continued_nor_thrown_away_unasked(folder: Path) -> None:
    target = folder / "asked"
    assert student_runs.make_in_a_process(folder, target, "first trial") == -9
    with pytest.raises(UsageError, match="unfinished"):
        student_runs.make(folder, target)


# What the record tells


def test_the_record_tells_method_trials_and_gain(folder: Path) -> None:
    record = _record(folder / "whole")
    told = record["metrics"]["distillation"]
    assert told["method"] == "kd" and told["feature"] == "crd" and told["unlabeled_images"] == 12
    assert [trial["temperature"] for trial in told["trials"]] == [2.0, 4.0]
    chosen = [trial for trial in told["trials"] if trial["chosen"]]
    assert len(chosen) == 1 and chosen[0]["temperature"] == told["temperature"]
    assert record["inputs"]["unlabeled"]
    gain, control = told["gain"], json.loads((folder / "whole/student/control/stage.json").read_text())["metrics"]
    for split in ("val", "test"):
        difference = record["metrics"][split]["auc"]["value"] - control[split]["auc"]["value"]
        assert gain[split]["value"] == pytest.approx(difference, abs=1e-9)
        assert gain[split]["low"] <= gain[split]["value"] <= gain[split]["high"]
    # As many steps: the control has no unlabeled images, so its epochs are shorter.
    assert gain["steps"] == control["steps"] == told["steps"]
    assert control["history"][-1]["epoch"] > record["metrics"]["history"][-1]["epoch"]
    assert "trained as long on labels" in gain["sentence"]


def test_the_control_differs_from_the_student_and_starts_where_it_starts(folder: Path) -> None:
    student, control = (load_checkpoint(folder / "whole" / part) for part in ("student", "student/control"))
    assert student.card.pruning == control.card.pruning
    assert student.card.sha256 != control.card.sha256


def test_what_is_asked_for_and_cannot_be_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = _quick(folder, folder / "said", method="dkd")
    told = record["metrics"]["distillation"]
    assert told["method"] == "kd" and "two classes" in told["said"]
    assert told["said"] in capsys.readouterr().err


def test_an_ablation_asked_for_later_trains_the_control_alone(folder: Path) -> None:
    target = folder / "later"
    first = _quick(folder, target)
    assert "gain" not in first["metrics"]["distillation"]
    before = (target / "model.safetensors").stat().st_mtime_ns
    second = _quick(folder, target, ablate=True)
    assert second["reused"] and second["metrics"]["distillation"]["gain"]["test"]["value"] is not None
    assert (target / "model.safetensors").stat().st_mtime_ns == before
    assert json.loads((target / "stage.json").read_text())["metrics"] == second["metrics"]
    assert _quick(folder, target)["metrics"] == second["metrics"]  # and stays told


def test_another_recipe_in_the_same_folder_is_refused_and_replaced_only_when_told(folder: Path) -> None:
    target = folder / "other"
    _quick(folder, target, ablate=True)
    with pytest.raises(AlreadyExists):
        _quick(folder, target, epochs=2)
    record = _quick(folder, target, epochs=2, ablate=True, overwrite=True)
    control = json.loads((target / "control" / "stage.json").read_text())
    assert control["metrics"]["steps"] == record["metrics"]["distillation"]["steps"]


# Candidates


def test_candidates_with_other_recipes_stand_side_by_side(folder: Path) -> None:
    lean, full = (
        _quick(folder, folder / "run" / "candidates" / name / "student", macs=macs)
        for name, macs in (("lean", 0.6), ("full", 1.0))
    )
    assert lean["metrics"]["macs"] < 0.65 * full["metrics"]["macs"]
    assert full["metrics"]["macs"] == full["metrics"]["teacher_macs"]
    assert not (folder / "run" / "student").exists()


def test_the_start_keeps_the_recipes_dropout_when_it_is_opened_again(folder: Path) -> None:
    """A continued run that trained without dropout would end elsewhere."""
    from edgedx.lab.compress.start import open_start

    model, _ = open_start(student_runs.recipe(folder), folder / "whole" / "student" / "pruned")
    model.train()
    image = torch.randn(1, *student_runs.recipe(folder).preprocess.input_shape).repeat(64, 1, 1, 1)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    assert model(image).std(dim=0).max() > 0
