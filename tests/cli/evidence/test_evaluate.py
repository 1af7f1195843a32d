"""`edgedx evaluate`: words, JSON, files and exit codes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from bundles import write_tiny
from inprocess import edgedx
from made_run import VARIANTS, write_run

from edgedx.core.bundle.doubt import Doubt
from edgedx.core.stats.conformal import SetThresholds


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("cli")
    write_run(made)
    return made


def test_the_sentence_comes_first_and_the_next_step_last(folder: Path) -> None:
    done = edgedx(folder, "evaluate", f"{VARIANTS}/fp32.onnx", "--resamples", "100")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("result    fp32 reaches 0.") and "of bright and clears" in lines[0]
    assert lines[-1] == "next      edgedx report run"
    assert any(line.startswith("subgroups largest gap") for line in lines)
    assert max(map(len, (line for line in lines if "AUC-ROC" in line))) < 120
    assert (folder / "run" / "evaluation-fp32-test" / "roc.png").is_file()


def test_json_is_one_document_and_the_bundle_needs_no_run(folder: Path, tmp_path: Path) -> None:
    write_tiny(tmp_path / "t.edgedx")
    table, answers = str(folder / "set" / "labels.csv"), str(tmp_path / "answers.csv")
    done = edgedx(
        tmp_path, "evaluate", "t.edgedx", "--data", table, "--json", "--predictions", answers, "--subgroup", "sex"
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["images"] == 140 and report["patients"] == 70 and report["resampled"] == "patients"
    assert {one["column"] for one in report["subgroups"]} == {"sex"}
    assert Path(answers).read_text().startswith("image,patient_id,truth,dark,bright,decision\n")


def test_sets_of_a_bundle_are_counted_on_the_images(folder: Path, tmp_path: Path) -> None:
    sets = SetThresholds(alpha=0.1, least={"dark": 0.3, "bright": 0.3}, cases={"dark": 20, "bright": 20})
    write_tiny(tmp_path / "t.edgedx", doubt=Doubt(sets={"fp32": sets}))
    table, answers = str(folder / "set" / "labels.csv"), tmp_path / "answers.csv"
    done = edgedx(tmp_path, "evaluate", "t.edgedx", "--data", table, "--predictions", str(answers), "--out", "out")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())["sets"]
    with answers.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for name in ("dark", "bright"):
        own = [float(row[name]) >= 0.3 for row in rows if row["truth"] == name]
        assert found["covered"][name] == pytest.approx(sum(own) / len(own))
    sizes = [sum(float(row[name]) >= 0.3 for name in ("dark", "bright")) for row in rows]
    assert found["mean_size"] == pytest.approx(sum(sizes) / len(sizes)) and found["promised"] == 0.9
    assert "sets      promised 0.90 of each class, covered dark" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["gone.edgedx"], 5, "nothing at gone.edgedx"),
        ([f"{VARIANTS}/fp32.onnx", "--split", "best"], 2, "no such split"),
        ([f"{VARIANTS}/fp32.onnx", "--subgroup", "colour"], 2, "no column 'colour'"),
        ([f"{VARIANTS}/fp32.onnx", "--data", "run/recipe.yaml"], 5, "no column 'image'"),
    ],
)
def test_wrong_calls_name_the_next_step(folder: Path, arguments: list[str], code: int, told: str) -> None:
    done = edgedx(folder, "evaluate", *arguments)
    assert done.returncode == code and told in done.stderr and "next:" in done.stderr


def test_a_report_says_its_summary_and_writes_three_files(folder: Path, tmp_path: Path) -> None:
    done = edgedx(folder, "report", "run", "--out", str(tmp_path / "r.html"), "--resamples", "100")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        "The model that would go onto devices (int8-u8s8, 8-bit) was judged on 84 test images of 42 patients"
    )
    assert all((tmp_path / f"r.{kind}").stat().st_size > 1000 for kind in ("html", "md", "json"))
    told = edgedx(folder, "report", "run", "--out", str(tmp_path / "r.html"), "--resamples", "100", "--json")
    assert json.loads(told.stdout)["shipped"] == "int8-u8s8"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["set"], 2, "no recipe.yaml"),
        (["run", "--out", "r.pdf"], 2, "does not end in .html"),
        (["run", "--split", "train"], 2, "no such split"),
    ],
)
def test_a_wrong_report_names_the_next_step(folder: Path, arguments: list[str], code: int, told: str) -> None:
    done = edgedx(folder, "report", *arguments)
    assert done.returncode == code and told in done.stderr and "next:" in done.stderr
