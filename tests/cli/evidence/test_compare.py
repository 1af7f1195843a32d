"""`edgedx compare`, its --baselines, and `edgedx evaluate --ensemble`: words, JSON, files and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from inprocess import edgedx
from made_run import VARIANTS, write_run

from edgedx.lab.evidence.report.sections import find_evidence


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("compare")
    write_run(made)
    return made


def test_baselines_are_trained_compared_and_said_in_sentences(folder: Path) -> None:
    call = ("compare", f"{VARIANTS}/fp32.onnx", "--baselines", "--against", "fp32", "--resamples", "100")
    again = edgedx(folder, *call)
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("baseline ") and "(finished)" not in again.stdout
    report = json.loads(edgedx(folder, *call, "--json").stdout)
    assert all(one["reused"] for one in report["baselines"].values()) and "pixels-knn" in report["baselines"]
    done = edgedx(folder, "compare", f"{VARIANTS}/fp32.onnx", "run/baselines", *call[3:])
    assert done.returncode == 0, done.stderr
    assert again.stdout.endswith(done.stdout)
    lines = done.stdout.splitlines()
    assert len([line for line in lines if line.startswith("result ")]) == 12
    assert any(line.startswith("compared  84 images of 42 patients (test); 95 % intervals by 100") for line in lines)
    assert lines[-1] == "written   comparison: comparison.json, comparison.md, comparison.png"
    assert (folder / "comparison" / "comparison.png").stat().st_size > 10_000
    (evidence,) = find_evidence(folder / "run", [folder / "comparison"])
    section = evidence.section
    assert section.key == "comparison" and len(section.tables[0].rows) == 7
    assert section.headline and section.headline.text.startswith("In ") and section.folded[0].texts[0] in done.stdout


def test_json_is_one_document(folder: Path) -> None:
    models = [f"{VARIANTS}/fp32.onnx", f"{VARIANTS}/int8-u8s8.onnx"]
    table = str(folder / "set" / "labels.csv")
    done = edgedx(folder, "compare", *models, "--data", table, "--resamples", "100", "--out", "c", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["images"] == 140 and list(report["subjects"]) == ["fp32", "int8-u8s8"]
    assert report["pairs"] == json.loads((folder / "c" / "comparison.json").read_text())["pairs"]
    assert [test["test"].split(",")[0] for test in report["pairs"][0]["tests"]] == ["DeLong", "McNemar"]


def test_an_ensemble_is_told_beside_its_members(folder: Path) -> None:
    models = [f"{VARIANTS}/fp32.onnx", f"{VARIANTS}/int8-u8s8.onnx"]
    done = edgedx(folder, "evaluate", *models, "--ensemble", "mean", "--resamples", "100")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("result    mean of 2 reaches 0.")
    assert len([line for line in done.stdout.splitlines() if line.startswith("member ")]) == 2
    assert (folder / "run" / "evaluation-mean-of-2-test" / "predictions.csv").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["compare", f"{VARIANTS}/fp32.onnx"], 2, "needs two subjects"),
        (["compare", f"{VARIANTS}/fp32.onnx", "gone.csv"], 5, "nothing at gone.csv"),
        (["compare", f"{VARIANTS}/fp32.onnx", "set/labels.csv"], 2, "has no column 'dark'"),
        (["compare", "run/int8", "run", "--split", "best"], 2, "no such split"),
        (["compare", f"{VARIANTS}/fp32.onnx", f"{VARIANTS}/int8-u8s8.onnx", "--against", "x"], 2, "no such subject"),
        (["compare", "set", "--baselines"], 2, "no recipe.yaml"),
        (["compare", "run", "--baselines", "--split", "train"], 2, "test or val"),
        (["evaluate", f"{VARIANTS}/fp32.onnx", f"{VARIANTS}/int8-u8s8.onnx"], 2, "several models"),
        (["evaluate", f"{VARIANTS}/fp32.onnx", "--ensemble", "vote"], 2, "no such ensemble"),
        (["compress", "run", "--teacher", "run/student", "--max-auc-drop", "0.01"], 2, "a search takes none"),
    ],
)
def test_wrong_calls_name_the_next_step(folder: Path, arguments: list[str], code: int, told: str) -> None:
    done = edgedx(folder, *arguments)
    assert done.returncode == code and told in done.stderr and "next:" in done.stderr
