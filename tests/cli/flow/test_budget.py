"""`edgedx compress` with a budget, on a tiny data set: plan, search, what it leaves behind, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from inprocess import edgedx
from tiny_flow import RECIPE, make_images

BUDGET = ("compress", "runs/tiny", "--int8", "--device", "x86-avx2")
DEVICE = "devices/x86-avx2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained teacher, nothing compressed."""
    path = tmp_path_factory.mktemp("budget")
    arrays = {}
    for seed, (split, count) in enumerate((("train", 256), ("val", 96), ("test", 96))):
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = make_images(count, seed)
    np.savez(path / "tiny.npz", **arrays)
    (path / "tiny.yaml").write_text(RECIPE + "search: {tries: 2, least_macs: 0.4}\n")
    done = edgedx(path, "finetune", "tiny.yaml")
    assert done.returncode == 0, done.stderr
    return path


def test_a_plan_tells_what_would_be_done_and_how_long_and_does_nothing(folder: Path) -> None:
    done = edgedx(folder, *BUDGET, "--max-latency", "5ms", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "resnet18, pruned until it takes 5 ms" in done.stdout
    assert "min a candidate" in done.stdout
    assert not (folder / "runs" / "tiny" / DEVICE / "candidates").exists()


def test_a_latency_budget_for_a_jetson_is_refused_here(folder: Path) -> None:
    done = edgedx(folder, "compress", "runs/tiny", "--int8", "--device", "orin-nano-8gb", "--max-latency", "5ms")
    assert done.returncode == 2
    assert "--max-macs" in done.stderr and "--device-record" in done.stderr


@pytest.mark.slow
def test_a_budget_that_nothing_meets_says_by_how_much_and_leaves_the_run_alone(folder: Path) -> None:
    done = edgedx(folder, *BUDGET, "--max-latency", "1us")
    assert done.returncode == 1
    assert "at the least" in done.stderr
    assert not (folder / "runs" / "tiny" / "student").exists()


@pytest.mark.slow
def test_a_search_measures_candidates_and_makes_the_best_the_runs_student(folder: Path) -> None:
    run = folder / "runs" / "tiny"
    done = edgedx(folder, *BUDGET, "--max-auc-drop", "0.2")
    assert done.returncode == 0, done.stderr
    found = json.loads((run / DEVICE / "candidates.json").read_text())
    names = {one["name"] for one in found["candidates"]}
    assert len(names) == 2  # search.tries
    assert {one["variant"] for one in found["candidates"]} == {"fp32", "int8-u8s8"}
    chosen = found["chosen"]
    fits = [one for one in found["candidates"] if not one["over"]]
    assert chosen["latency_ms"] <= 1.05 * min(one["latency_ms"] for one in fits)
    assert len(found["explanation"]) == 3
    assert (run / DEVICE / "candidates.png").stat().st_size > 5000
    for stage, kept_in in (("student", run), ("variants", run / DEVICE)):
        made = json.loads((run / DEVICE / "candidates" / chosen["name"] / stage / "stage.json").read_text())
        kept = json.loads((kept_in / stage / "stage.json").read_text())
        assert kept["fingerprint"] == made["fingerprint"]

    again = edgedx(folder, *BUDGET, "--max-auc-drop", "0.2", "--json")
    assert again.returncode == 0, again.stderr
    report = json.loads(again.stdout)
    for one in report["candidates"]:  # read, not trained again
        stage = json.loads((run / DEVICE / "candidates" / one["name"] / "student" / "stage.json").read_text())
        assert stage["finished"] < report["date"]

    shipped = edgedx(folder, "deploy", "runs/tiny", "--target", "cpu", "--json")
    assert shipped.returncode == 0, shipped.stderr
    default = json.loads(shipped.stdout)["metrics"]["default"]
    assert default["variant"] == report["chosen"]["variant"]
    assert "chosen by the search" in default["reason"]


@pytest.mark.slow
def test_a_student_that_no_search_made_is_not_replaced_unasked(folder: Path) -> None:
    run = folder / "runs" / "tiny"
    (run / DEVICE / "candidates.json").unlink(missing_ok=True)
    if not (run / "student").exists():
        assert edgedx(folder, *BUDGET, "--max-macs", "0.7").returncode == 0
        (run / DEVICE / "candidates.json").unlink()
    done = edgedx(folder, *BUDGET, "--max-macs", "0.7")
    assert done.returncode == 2
    assert "--overwrite" in done.stderr
