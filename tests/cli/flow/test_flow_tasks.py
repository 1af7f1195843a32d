"""The whole way once more for what is not binary: findings that occur together, and one class of three."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from inprocess import edgedx

from edgedx.core.bundle.manifest import open_bundle
from edgedx.dicom.writing.make import write_dicom

RECIPE = """
name: tiny
title: a tiny task of three
task: {{kind: {kind}, classes: [left, middle, right]}}
data: {{source: csv, path: set, {columns}, subgroup_columns: [sex]}}
preprocess: {{size: [32, 32], window: voi, bits: 16}}
model: {{backbone: resnet10t, weights: none, dropout: 0.0, stochastic_depth: 0.0}}
augment: {{rotation: 0, zoom: 0, shift: 0, intensity: 0}}
train: {{frozen_epochs: 0, epochs: 6, batch_size: 16, learning_rate: 0.001, ema: 0.9}}
student: {{macs: 0.7, epochs: 3, steps: 1, round_to: 4}}
quantize: {{calibration_images: 48, calibrators: [minmax]}}
gate: {{max_auc_drop: 0.2, rule: value, golden_images: 4, points: [{point}]}}  # 12 patients in val prove nothing
"""
COLUMNS = {"multilabel": "label_columns: [left, middle, right]", "multiclass": "label_column: finding"}


def _make_set(folder: Path, kind: str, patients: int = 80) -> None:
    """DICOM files below folders, and a table; some labels of the multilabel set are unknown."""
    rng = np.random.default_rng(0)
    table = [["image", "left", "middle", "right", "finding", "patient_id", "sex"]]
    for number in range(2 * patients):
        present = rng.integers(0, 2, 3) if kind == "multilabel" else np.eye(3, dtype=int)[number % 3]
        pixels = rng.normal(1500, 150, (48, 48))
        for index in np.flatnonzero(present):
            pixels[18:30, 2 + 16 * index : 14 + 16 * index] += 900
        name = f"study{number % 7}/{number:03d}.dcm"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_dicom(folder / name, pixels.clip(0, 4095).astype(np.uint16), kind="CR", bits_stored=12)
        cells = ["" if kind == "multilabel" and rng.random() < 0.1 else str(value) for value in present]
        finding = ("left", "middle", "right")[int(present.argmax())]
        table.append([name, *cells, finding, f"p{number // 2}", "MF"[number // 2 % 2]])
    with (folder / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(table)


@pytest.mark.parametrize(
    ("kind", "device", "target", "point"),
    [
        ("multilabel", "orin-nano-8gb", "jetson", "youden"),
        pytest.param("multiclass", "x86-avx2", "cpu", "argmax", marks=pytest.mark.slow),
    ],
)
def test_from_dicom_files_to_results(tmp_path: Path, kind: str, device: str, target: str, point: str) -> None:
    _make_set(tmp_path / "set", kind)
    (tmp_path / "tiny.yaml").write_text(RECIPE.format(kind=kind, columns=COLUMNS[kind], point=point))
    for arguments in (
        ("finetune", "tiny.yaml"),
        ("compress", "runs/tiny", "--int8", "--device", device),
        ("deploy", "runs/tiny", "--target", target),
    ):
        done = edgedx(tmp_path, *arguments)
        assert done.returncode == 0, done.stderr
    bundle = open_bundle(next((tmp_path / "runs" / "tiny" / "devices" / device / "bundle").glob("*.edgedx")))
    assert bundle.manifest.task == kind
    assert bundle.manifest.metrics["test_auc"] > 0.8

    with (tmp_path / "runs/tiny/data/manifest.csv").open(newline="") as stream:
        tested = [row["image"] for row in csv.DictReader(stream) if row["split"] == "test"]
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for number, name in enumerate(tested):
        (inbox / f"{number}.dcm").write_bytes((tmp_path / "set" / name).read_bytes())
    scan = ("scan", "inbox", "--bundle", str(bundle.path), "--variant", "fp32", "--out", "out", "--once", "--json")
    done = edgedx(tmp_path, *scan)
    assert done.returncode == 0, done.stderr
    results = [json.loads(path.read_text()) for path in (tmp_path / "out" / "results").glob("*.json")]
    assert len(results) == len(tested) and {result["status"] for result in results} == {"done"}
    for result in results:
        probabilities = result["prediction"]["probabilities"]
        assert set(probabilities) == {"left", "middle", "right"}
        if kind == "multiclass":
            assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4)
            assert result["prediction"]["label"] == max(probabilities, key=probabilities.__getitem__)
