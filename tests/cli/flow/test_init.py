"""The first hour: own images to a checked recipe that trains, without reading a page."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import tiny


def _edgedx(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgedx", *words], capture_output=True, text=True, cwd=cwd, check=False
    )


def test_own_images_to_a_trained_model_in_three_commands(tmp_path: Path) -> None:
    tiny.write_set(tmp_path / "squares")
    done = _edgedx("init", "squares", cwd=tmp_path)
    assert done.returncode == 0 and "next      edgedx data check squares.yaml" in done.stdout, done.stderr
    assert _edgedx("init", "squares", cwd=tmp_path).returncode == 2  # nothing is overwritten
    done = _edgedx("data", "check", "squares.yaml", cwd=tmp_path)
    assert done.returncode == 0 and "60 images of 30 patients; 0 of 60 left out" in done.stdout, done.stderr
    assert "next: edgedx finetune squares.yaml" in done.stdout
    small = [part for option in ("train.epochs=1", "train.frozen_epochs=0", "model.backbone=test_efficientnet",
                                 "model.weights=none") for part in ("--set", option)]  # fmt: skip
    done = _edgedx("finetune", "squares.yaml", *small, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/squares/teacher/model.safetensors").is_file()


def test_json_is_one_document_and_a_bad_set_exits_with_5(tmp_path: Path) -> None:
    tiny.write_set(tmp_path / "squares", patients=2)
    done = _edgedx("init", "squares", "--json", "--out", "mine.yaml", cwd=tmp_path)
    assert json.loads(done.stdout)["classes"] == {"bright": 2, "dark": 2}
    done = _edgedx("data", "check", "mine.yaml", "--json", cwd=tmp_path)
    report = json.loads(done.stdout)
    assert done.returncode == 5 and not report["good"] and "has no image in" in report["problems"][0]["message"]
    done = _edgedx("data", "check", "mine.yaml", cwd=tmp_path)
    assert done.returncode == 5 and done.stdout.startswith("problem   ")
