"""Bad input: a clear error that names file, field and next step, with the documented exit code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from inprocess import edgedx

TINY = """
name: tiny
title: a tiny task
task: {kind: binary, classes: [dark, bright], positive: bright}
data: {source: medmnist, path: tiny.npz, patient_column: null}
preprocess: {size: [32, 32], window: none, bits: 8}
model: {backbone: resnet18, weights: none}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recipe and its data."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 32), ("val", 16), ("test", 16)):
        arrays[f"{split}_images"] = rng.integers(0, 255, (count, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 2)[:, None]
    np.savez(tmp_path / "tiny.npz", **arrays)
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


def _edgedx(folder: Path, *arguments: str) -> tuple[int, str]:
    done = edgedx(folder, *arguments)
    assert done.returncode == 0 or done.stdout == ""  # never a result together with a failure
    return done.returncode, done.stderr


def test_a_missing_recipe_file(folder: Path) -> None:
    code, said = _edgedx(folder, "finetune", "absent.yaml")
    assert code == 5 and "absent.yaml" in said and "next:" in said


def test_an_unknown_recipe_name_lists_the_shipped_ones(folder: Path) -> None:
    code, said = _edgedx(folder, "finetune", "pnuemonia")
    assert code == 2 and "pneumonia-mnist" in said


def test_a_wrong_recipe_key_names_the_nearest(folder: Path) -> None:
    code, said = _edgedx(folder, "finetune", "tiny.yaml", "--set", "train.epoch=3", "--dry-run")
    assert code == 2 and "train.epoch" in said and "epochs" in said


def test_an_unsupported_backbone_names_near_ones(folder: Path) -> None:
    code, said = _edgedx(folder, "finetune", "tiny.yaml", "--set", "model.backbone=resnet19")
    assert code == 2 and "resnet18" in said


def test_no_weights_offline_says_three_ways_out(folder: Path) -> None:
    code, said = _edgedx(folder, "finetune", "tiny.yaml", "--weights", "auto")
    assert code == 3 and "--weights FILE" in said and "--from-scratch" in said


def test_a_missing_weights_file(folder: Path) -> None:
    code, said = _edgedx(folder, "finetune", "tiny.yaml", "--weights", "none.safetensors")
    assert code == 5 and "none.safetensors" in said


def test_a_missing_data_set_names_where_it_looked(folder: Path) -> None:
    code, said = _edgedx(folder, "finetune", "tiny.yaml", "--set", "data.path=absent.npz")
    assert code == 5 and "absent.npz" in said and "EDGEDX_DATA" in said


def test_an_empty_class(folder: Path) -> None:
    arrays = dict(np.load(folder / "tiny.npz"))
    arrays |= {key: np.zeros_like(value) for key, value in arrays.items() if key.endswith("labels")}
    np.savez(folder / "tiny.npz", **arrays)
    code, said = _edgedx(folder, "finetune", "tiny.yaml")
    assert code == 5 and "'bright'" in said and "no usable image" in said


def test_one_class_only_in_val(folder: Path) -> None:
    arrays = dict(np.load(folder / "tiny.npz"))
    arrays["val_labels"] = np.zeros_like(arrays["val_labels"])
    np.savez(folder / "tiny.npz", **arrays)
    code, said = _edgedx(folder, "finetune", "tiny.yaml")
    assert code == 5 and "'bright'" in said and "val" in said


def test_a_run_that_is_none(folder: Path) -> None:
    code, said = _edgedx(folder, "compress", "runs/absent", "--int8")
    assert code == 2 and "finetune" in said


def test_a_device_that_no_profile_names(folder: Path) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "recipe.yaml").write_text(TINY)
    code, said = _edgedx(folder, "compress", "run", "--device", "orin-nanno-8gb")
    assert code == 2 and "orin-nano-8gb" in said


def test_a_model_that_bench_does_not_know(folder: Path) -> None:
    code, said = _edgedx(folder, "bench", "runs/absent/teacher")
    assert code == 2 and "runs/absent/teacher" in said
