"""The whole way with columns beside the image, from a table and DICOM headers to the results of a scan."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inprocess import edgedx

from edgedx.core.bundle.manifest import open_bundle
from edgedx.dicom.writing.make import PatientFacts, write_dicom

RECIPE = """
name: tiny
title: a tiny task with columns
task: {kind: binary, classes: [dark, bright], positive: bright}
data: {source: csv, path: set, subgroup_columns: [sex], fractions: [0.5, 0.15, 0.35]}
columns:
  use:
    - {name: age, kind: number, header: PatientAgeYears}
    - {name: sex, kind: category, categories: [F, M], header: PatientSex}
    - {name: smoker, kind: category, categories: ["yes", "no"]}
preprocess: {size: [32, 32], window: voi, bits: 16}
model: {backbone: resnet18, weights: none, dropout: 0.0, stochastic_depth: 0.0}
augment: {rotation: 0, zoom: 0, shift: 0, intensity: 0}
train: {frozen_epochs: 0, epochs: 10, batch_size: 16, learning_rate: 0.002, ema: 0.9}
student: {macs: 0.7, epochs: 5, steps: 1, round_to: 4}
quantize: {calibration_images: 48, calibrators: [minmax]}
gate: {max_auc_drop: 0.2, rule: value, golden_images: 4}
accept: {ood: "off"}
"""


def _image(rng: np.random.Generator, bright: bool) -> np.ndarray:
    pixels = rng.normal(1500, 250, (40, 40))
    if bright:
        pixels[10:22, 10:22] += 90
    return np.asarray(pixels.clip(0, 4095).astype(np.uint16))


def _make_set(folder: Path, patients: int = 160) -> None:
    """The old are mostly bright, the young mostly dark, and the image shows it faintly; a quarter have no age."""
    rng = np.random.default_rng(0)
    rows = [["image", "label", "patient_id", "sex", "smoker"]]
    for number in range(patients):
        age = int(rng.integers(20, 90))
        bright = bool(rng.random() < (0.85 if age > 55 else 0.15))
        subject = PatientFacts(str(number), "DOE^JANE", "FM"[number % 2], age if number % 4 else None)
        name = f"{number:03d}.dcm"
        write_dicom(folder / name, _image(rng, bright), subject=subject, bits_stored=12)
        rows.append([name, ("dark", "bright")[bright], str(number), subject.sex, ("yes", "no", "")[number % 3]])
    with (folder / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


def _run(folder: Path, *arguments: str) -> str:
    done = edgedx(folder, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _scan(folder: Path, bundle: str) -> dict[str, dict[str, Any]]:
    _run(folder, "scan", "inbox", "--bundle", bundle, "--out", "out", "--once", "--workers", "1")
    found = [json.loads(path.read_text()) for path in (folder / "out" / "results").glob("*.json")]
    return {result["source"]["name"]: result for result in found}


def test_a_scan_tells_the_model_what_the_header_says(tmp_path: Path) -> None:
    from bundles import write_tiny
    from columned import COLUMNS, ROWS, samples, with_columns

    network = with_columns()
    write_tiny(tmp_path / "told.edgedx", network=network, samples=samples(network, ROWS), columns=COLUMNS)
    pixels = _image(np.random.default_rng(5), False)
    (tmp_path / "inbox").mkdir()
    for name, age in (("young", 30), ("old", 80), ("absent", None)):
        write_dicom(tmp_path / "inbox" / f"{name}.dcm", pixels, subject=PatientFacts(name=name, age_years=age))
    found = _scan(tmp_path, "told.edgedx")
    probabilities = {name: result["prediction"]["probabilities"]["bright"] for name, result in found.items()}
    assert probabilities["young.dcm"] < probabilities["absent.dcm"] < probabilities["old.dcm"]
    assert found["old.dcm"]["columns"] == {"used": ["age"], "absent": ["sex"]}
    assert found["absent.dcm"]["columns"] == {"used": [], "absent": ["age", "sex"]}


@pytest.mark.slow
def test_from_a_table_and_headers_to_results(tmp_path: Path) -> None:
    _make_set(tmp_path / "set")
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    _run(tmp_path, "finetune", "tiny.yaml")
    _run(tmp_path, "compress", "runs/tiny", "--int8", "--device", "x86-avx2")
    _run(tmp_path, "deploy", "runs/tiny", "--target", "cpu", "--force")
    path = next((tmp_path / "runs" / "tiny" / "devices" / "x86-avx2" / "bundle").glob("*.edgedx"))
    bundle = open_bundle(path)
    assert [column.name for column in bundle.manifest.columns] == ["age", "sex", "smoker"]
    assert b"age (DICOM PatientAgeYears)" in bundle.read("model-card.md")
    assert b"smoker (absent on a device)" in bundle.read("model-card.md")

    for model in ("runs/tiny/teacher", "runs/tiny/devices/x86-avx2/variants/int8-u8s8.onnx", str(path)):
        told = json.loads(_run(tmp_path, "evaluate", model, "--json", "--out", "judged"))
        worth = told["columns"]
        assert worth["auc"]["value"] > worth["auc_without"]["value"] + 0.04 and 0.6 < worth["known"]["age"] < 0.9
    shown = _run(tmp_path, "evaluate", str(path), "--out", "judged")
    assert "columns   age (" in shown and "with all of them absent" in shown

    # The same bundle elsewhere: a table's cells are told before the header's.
    rng = np.random.default_rng(7)
    rows = [["image", "label", "age"]]
    for number in range(40):
        name, bright = f"{number}.dcm", number % 2 == 1
        subject = PatientFacts(
            str(number), age_years=25 if bright else 85
        )  # the header is wrong, and the table corrects it
        write_dicom(tmp_path / "clinic" / name, _image(rng, bright), subject=subject, bits_stored=12)
        rows.append([name, ("dark", "bright")[bright], str(85 if bright else 25)])
    for name, kept in (("table.csv", 3), ("plain.csv", 2)):
        with (tmp_path / "clinic" / name).open("w", newline="") as stream:
            csv.writer(stream).writerows(row[:kept] for row in rows)
    areas = [
        json.loads(_run(tmp_path, "evaluate", str(path), "--data", f"clinic/{name}", "--json", "--out", "judged"))[
            "overall"
        ]["auc_roc"]["value"]
        for name in ("table.csv", "plain.csv")
    ]
    assert areas[0] > 0.85 and areas[0] > areas[1] + 0.3

    _run(tmp_path, "keys", "new", "release")
    _run(tmp_path, "keys", "pin", "release.pub", "--root", "device")
    _run(tmp_path, "keys", "sign", str(path), "--key", "release.key")
    _run(tmp_path, "install", str(path), "--root", "device")  # golden samples, columns among them
    (tmp_path / "inbox").mkdir()
    pixels = _image(np.random.default_rng(9), True)
    for name, age in (("young", 25), ("old", 85), ("absent", None)):
        write_dicom(tmp_path / "inbox" / f"{name}.dcm", pixels, subject=PatientFacts(name=name, age_years=age),
                    bits_stored=12)  # fmt: skip
    found = _scan(tmp_path, "device/current")
    probabilities = {name: result["prediction"]["probabilities"]["bright"] for name, result in found.items()}
    assert probabilities["young.dcm"] < probabilities["absent.dcm"] < probabilities["old.dcm"]
    assert found["old.dcm"]["columns"] == {"used": ["age"], "absent": ["sex", "smoker"]}
    gate = json.loads(_run(tmp_path, "gate", str(path), "--run", "runs/tiny", "--split", "test", "--json"))
    assert gate["images"] > 10
