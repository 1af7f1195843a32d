"""edgedx compress tells what distillation won and which images it learned from; exit codes say what is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from inprocess import edgedx

RECIPE = """
name: tiny
title: a tiny task of three
task: {kind: multiclass, classes: [left, middle, right]}
data: {source: folders, path: set}
preprocess: {size: [32, 32], window: none, bits: 8}
model: {backbone: test_efficientnet, weights: none, dropout: 0.0, stochastic_depth: 0.0}
train: {frozen_epochs: 0, epochs: 2, batch_size: 16, learning_rate: 0.003, ema: 0.9}
student:
  {macs: 0.8, round_to: 2, steps: 1, epochs: 1, method: dkd, feature: crd, temperatures: [2, 4], trial_share: 1.0}
"""


def _picture(seed: int, place: int) -> np.ndarray:
    pixels = np.random.default_rng(seed).normal(90, 25, (32, 32))
    if place >= 0:
        pixels[10:20, 2 + 10 * place : 10 + 10 * place] += 70
    return pixels.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a teacher, and further images: new ones, one of the test split, and a text."""
    path = tmp_path_factory.mktemp("compress")
    for number in range(120):
        split, name = ("train", "train", "val", "test")[number % 4], ("left", "middle", "right")[number % 3]
        target = path / "set" / split / name / f"{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(target), _picture(number, number % 3))
    more = path / "more"
    more.mkdir()
    for number in range(20):
        assert cv2.imwrite(str(more / f"{number}.png"), _picture(5000 + number, number % 3))
    leaked = next((path / "set" / "test").rglob("*.png"))
    (more / "leak.png").write_bytes(leaked.read_bytes())
    (more / "readme.txt").write_text("not an image")
    (path / "tiny.yaml").write_text(RECIPE)
    done = edgedx(path, "finetune", "tiny.yaml")
    assert done.returncode == 0, done.stderr
    return path


@pytest.mark.slow
def test_gain_and_further_images_are_told(folder: Path) -> None:
    arguments = ("compress", "runs/tiny", "--device", "x86-avx2", "--ablate", "--unlabeled", "more")
    done = edgedx(folder, *arguments)
    assert done.returncode == 0, done.stderr
    number = r"-?\d\.\d{3}"
    sentence = rf"distillation gains {number} \[{number}, {number}\] AUC on test against the same student"
    assert re.search(sentence, done.stdout), done.stdout
    assert "20 images; 2 files left out, see runs/tiny/unlabeled/excluded.csv" in done.stdout
    again = edgedx(folder, *arguments, "--json")
    record = json.loads(again.stdout)
    told = record["student"]["distillation"]
    assert record["reused"] and told["method"] == "dkd" and told["unlabeled_images"] == 20 and len(told["trials"]) == 2
    assert record["unlabeled"]["excluded"] == {
        "unreadable: UNKNOWN_FORMAT": 1,
        "identical to a val or test image": 1,
    }
    other = edgedx(folder, "compress", "runs/tiny", "--device", "x86-avx2")  # without those images: another student
    assert other.returncode == 2 and "--overwrite" in other.stderr


def test_a_folder_that_is_not_there_is_an_input_error(folder: Path) -> None:
    done = edgedx(folder, "compress", "runs/tiny", "--device", "x86-avx2", "--unlabeled", "nowhere")
    assert done.returncode == 5 and "nowhere" in done.stderr and "Traceback" not in done.stderr
