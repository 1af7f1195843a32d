"""The gate against a run's own teacher: the file that would ship is run, whatever was written down about it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tiny
from onnx import helper, numpy_helper

from edgedx.core.bundle.manifest import open_bundle
from edgedx.core.errors import CheckpointError, GateRefused, UsageError
from edgedx.core.files import write_json
from edgedx.core.settings.profile import load_profile
from edgedx.core.settings.recipe import Recipe
from edgedx.core.stats.gate import write_verdict
from edgedx.device.clinic.gate import examine_samples
from edgedx.device.clinic.samples import read_samples
from edgedx.lab.data.prepare import open_data
from edgedx.lab.judge.gate import Judge, against_teacher
from edgedx.lab.judge.teacher_answers import teacher_predictions
from edgedx.lab.network.checkpoint import load_checkpoint
from edgedx.lab.quantize.to_onnx import export_onnx
from edgedx.lab.run.run import Run as RunFolder
from edgedx.lab.ship.deploy import deploy
from edgedx.lab.train.finetune import finetune

Run = tuple[Recipe, Path]
VARIANTS = "devices/x86-avx2/variants"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose compressed model is the teacher itself, exported."""
    folder = tmp_path_factory.mktemp("gate")
    (folder / "set").mkdir()
    tiny.write_set(folder / "set", patients=160)
    recipe = tiny.recipe(
        folder / "set",
        data={"subgroup_columns": ["sex"]},
        train={"epochs": 4},
        gate={"rule": "value", "max_auc_drop": 0.05, "points": ["youden", "specificity-0.90"], "golden_images": 2},
    )
    run = folder / "run"
    finetune(recipe, run)
    found = load_checkpoint(run / "teacher")
    model = export_onnx(found.model, recipe.preprocess)
    (run / VARIANTS).mkdir(parents=True)
    (run / VARIANTS / "fp32.onnx").write_bytes(model)
    card = found.card
    figures = json.loads((run / "teacher" / "metrics.json").read_text())
    entry = {
        "file": "fp32.onnx", "precision": "fp32", "scheme": "float", "purpose": "cpu", "bytes": len(model),
        "temperature": card.temperature, "operating_points": [point.model_dump() for point in card.operating_points],
        "val": figures["val"], "test": figures["test"],
    }  # fmt: skip
    report = {"variants": {"fp32": entry}, "choice": {"variant": "fp32", "reason": "the only one"}}
    write_json(run / VARIANTS / "metrics.json", report)
    write_json(
        run / VARIANTS / "stage.json",
        {"fingerprint": "f" * 64, "metrics": report, "settings": {"profile": "x86-avx2"}, "inputs": {}},
    )
    shutil.copytree(run / "teacher", run / "student")
    (run / VARIANTS / "fp32").mkdir()
    shutil.copyfile(run / "teacher" / "logits.npz", run / VARIANTS / "fp32" / "logits.npz")
    return recipe, run


@pytest.fixture
def run(made: Run, tmp_path: Path) -> Run:
    """A copy to break."""
    shutil.copytree(made[1], tmp_path / "run")
    return made[0], tmp_path / "run"


def _change(path: Path, operator: str, values: Any, **attributes: Any) -> None:
    """Put one node behind the logits of a graph."""
    model = onnx.load(path)
    for node in model.graph.node:
        node.output[:] = ["straight" if name == "logits" else name for name in node.output]
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), "change"))
    model.graph.node.append(helper.make_node(operator, ["straight", "change"], ["logits"], **attributes))
    onnx.save(model, path)


def _judge(run: Run, **options: Any) -> Any:
    recipe, folder = run
    return Judge(recipe, RunFolder(folder), open_data(recipe, folder), **options).artifact(folder)


def _judge_file(run: Run, path: Path) -> Any:
    recipe, folder = run
    return Judge(recipe, RunFolder(folder), open_data(recipe, folder)).artifact(path)


def test_the_teachers_own_export_loses_nothing(run: Run) -> None:
    verdict = _judge(run)
    assert verdict.passed, verdict.sentence
    whole = verdict.comparison.whole
    stored = json.loads((run[1] / "teacher" / "metrics.json").read_text())
    assert whole.auc.teacher.value == pytest.approx(stored["val"]["auc"]["value"])
    assert whole.sensitivity["bright"].teacher.value == pytest.approx(stored["val"]["sensitivity"]["value"])
    assert abs(whole.auc.drop.value) < 1e-6 and verdict.flips == ()
    assert verdict.points == ("youden", "youden") and "variant fp32" in verdict.ran
    write_verdict(run[1] / "gate", verdict)
    record = json.loads((run[1] / "gate" / "gate.json").read_text())
    assert record["passed"] and [part["value"] for part in record["subgroups"]] == ["F", "M"]
    assert (run[1] / "gate" / "flips.csv").read_text().startswith("image,truth,teacher,student,teacher dark")


def test_the_file_is_judged_and_not_what_was_written_about_it(run: Run) -> None:
    """Its logits.npz and metrics.json still tell of the good model."""
    _change(run[1] / VARIANTS / "fp32.onnx", "Gather", np.array([1, 0]), axis=1)
    verdict = _judge(run)
    assert not verdict.passed and "over the budget of 0.05" in verdict.sentence
    assert verdict.comparison.whole.auc.student.value == pytest.approx(1 - verdict.comparison.whole.auc.teacher.value)
    assert verdict.flips and all("images/" in flip.image for flip in verdict.flips)


def test_a_file_that_answers_nan_never_passes(run: Run) -> None:
    _change(run[1] / VARIANTS / "fp32.onnx", "Mul", np.float32(np.nan))
    verdict = _judge(run)
    assert not verdict.passed and "not numbers" in verdict.sentence
    json.dumps(verdict.to_dict(), allow_nan=False)


def test_the_rule_of_the_recipe_decides(run: Run) -> None:
    recipe, folder = run
    gate = recipe.gate.model_copy(update={"rule": "non-inferior", "max_auc_drop": 0.005})
    strict = recipe.model_copy(update={"gate": gate})
    verdict = _judge((strict, folder))
    assert not verdict.passed and verdict.sentence.startswith("not proven") and "48 images" in verdict.sentence


def test_a_teacher_of_another_data_set_is_refused(run: Run) -> None:
    recipe, folder = run
    record = json.loads((folder / "teacher" / "stage.json").read_text())
    write_json(folder / "teacher" / "stage.json", {**record, "inputs": {"data": "0" * 64}})
    with pytest.raises(CheckpointError, match="no comparison"):
        _judge(run)


def test_an_operating_point_that_the_teacher_did_not_store_is_chosen_on_its_val_logits(run: Run) -> None:
    recipe, folder = run
    data = open_data(recipe, folder)
    known = teacher_predictions(recipe, RunFolder(folder), data, "test", "specificity-0.90")
    card = json.loads((folder / "teacher" / "model.json").read_text())
    card["operating_points"] = card["operating_points"][:1]
    write_json(folder / "teacher" / "model.json", card)
    again = teacher_predictions(recipe, RunFolder(folder), data, "test", "specificity-0.90")
    assert again.thresholds == pytest.approx(known.thresholds) and again.decisions == known.decisions


def test_another_models_table_takes_the_teachers_place(run: Run, tmp_path: Path) -> None:
    recipe, folder = run
    part = open_data(recipe, folder).subset("test")
    rows = [f"{name},{1 - label:.1f},{label:.1f}" for name, label in zip(part.names, part.labels, strict=True)]
    (tmp_path / "perfect.csv").write_text("image,dark,bright\n" + "\n".join(rows) + "\n")
    verdict = _judge(run, split="test", predictions=tmp_path / "perfect.csv")
    assert verdict.comparison is not None and verdict.comparison.whole.auc.teacher.value == 1
    assert verdict.where == "test" and "perfect.csv" in verdict.sentence


def test_a_bundle_is_judged_as_a_device_decides_and_force_is_in_it(run: Run) -> None:
    recipe, folder = run
    profile = load_profile("x86-avx2")
    build = RunFolder(folder).build()
    assert build.bundle is None and build.shipped.path == folder / VARIANTS / "fp32.onnx"
    good = deploy(recipe, folder, profile)
    assert good["metrics"]["gate"]["passed"] and good["metrics"]["gate"]["flips"] == 0
    path = build.bundle
    assert path is not None
    told = open_bundle(path).manifest.gate
    assert told["passed"] is True and told["forced"] is False and told["rule"] == "value" and told["images"] == 48
    verdict = _judge(run)
    assert "bundle" not in verdict.ran and verdict.to_dict() == _judge_file(run, path).to_dict()
    assert verdict.to_dict()["auc_drop"] == good["metrics"]["gate"]["auc_drop"]

    _change(folder / VARIANTS / "fp32.onnx", "Gather", np.array([1, 0]), axis=1)
    with pytest.raises(GateRefused, match="over the budget") as caught:
        deploy(recipe, folder, profile, overwrite=True)
    assert "--force" not in str(caught.value.next_step)
    assert len((folder / "devices/x86-avx2/bundle" / "flips.csv").read_text().splitlines()) > 10
    deploy(recipe, folder, profile, overwrite=True, force=True)
    forced = open_bundle(path).manifest.gate
    assert forced["forced"] is True and forced["passed"] is False and "over the budget" in str(forced["refused"])
    assert not _judge(run).passed


def test_a_clinics_images_against_the_teacher_itself(run: Run, tmp_path: Path) -> None:
    recipe, folder = run
    deploy(recipe, folder, load_profile("x86-avx2"))
    bundle = open_bundle(RunFolder(folder).build().bundle)
    for number in range(24):
        name = tiny.CLASSES[number % 2]
        tiny.write_picture(
            tmp_path / "clinic" / name / f"{number}.png", tiny.picture(90_000 + number, name == "bright")
        )
    found = examine_samples(bundle, read_samples(tmp_path / "clinic", bundle.manifest))
    verdict = against_teacher(bundle.manifest, found, recipe, folder)
    assert verdict.passed and verdict.flips == () and verdict.images == 24
    assert abs(verdict.comparison.whole.auc.drop.value) < 1e-6  # type: ignore[union-attr]
    other = recipe.model_copy(update={"preprocess": recipe.preprocess.model_copy(update={"size": (40, 40)})})
    with pytest.raises(UsageError, match="other images"):
        against_teacher(bundle.manifest, found, other, folder)


def test_a_new_budget_trains_nothing_again(run: Run) -> None:
    recipe, folder = run
    looser = recipe.model_copy(update={"gate": recipe.gate.model_copy(update={"max_auc_drop": 0.5, "max_ece": 0.3})})
    assert finetune(looser, folder)["reused"] is True
