"""A tiny data set on disk, recipes on it, and data sets in memory. Shared by the tests of the lab."""

from __future__ import annotations

import copy
import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgedx.core.settings.recipe import Recipe, parse_recipe
from edgedx.lab.data.dataset import Dataset

CLASSES = ["dark", "bright"]
RECIPE: dict[str, Any] = {
    "name": "tiny",
    "title": "Bright squares",
    "task": {"kind": "binary", "classes": CLASSES, "positive": "bright"},
    "data": {"source": "csv"},
    "preprocess": {"size": [32, 32], "window": "none", "bits": 8},
    "model": {"backbone": "test_efficientnet", "weights": "none", "dropout": 0.0, "stochastic_depth": 0.0},
    "train": {"frozen_epochs": 0, "epochs": 1, "batch_size": 8},
    "student": {"macs": 1.0},
}
THREE = {"kind": "multiclass", "classes": ["a", "b", "c"]}
FINDINGS = {"kind": "multilabel", "classes": ["a", "b"]}

Entry = dict[str, str]


def recipe(path: Path | str = "nowhere", **sections: dict[str, Any] | str) -> Recipe:
    """The tiny recipe on the data set at `path`; a section given as a mapping is laid over the tiny one."""
    raw = copy.deepcopy(RECIPE)
    raw["data"]["path"] = str(path)
    for name, values in sections.items():
        if isinstance(values, dict) and name != "task":
            raw[name] = {**raw.get(name, {}), **values}
        else:
            raw[name] = values
    return parse_recipe(raw)


def picture(seed: int, bright: bool = False, side: int = 40) -> np.ndarray:
    """Noise of (side, side) uint8, different for each seed, with a square if `bright`."""
    pixels = np.random.default_rng(seed).normal(90, 25, (side, side))
    if bright:
        pixels[side // 4 : side // 2, side // 4 : side // 2] += 60
    return pixels.clip(0, 255).astype(np.uint8)


def write_picture(path: Path, pixels: np.ndarray) -> None:
    """Write a PNG, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def write_table(folder: Path, entries: list[Entry]) -> None:
    """Write labels.csv."""
    with (folder / "labels.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(entries[0]))
        writer.writeheader()
        writer.writerows(entries)


def write_set(folder: Path, patients: int = 30, per_patient: int = 2) -> list[Entry]:
    """Write PNG files and labels.csv, half of the patients bright, and return the table's rows."""
    entries = []
    for patient in range(patients):
        for shot in range(per_patient):
            name = f"images/p{patient:03d}-{shot}.png"
            write_picture(folder / name, picture(patient * 100 + shot, bright=patient % 2 == 1))
            entries.append(
                {"image": name, "label": CLASSES[patient % 2], "patient_id": f"p{patient:03d}", "sex": "FM"[shot % 2]}
            )
    write_table(folder, entries)
    return entries


def with_splits(entries: list[Entry]) -> list[Entry]:
    """The same rows with a split column: of each five pairs of patients three train, one is val, one test."""
    order = ("train", "train", "train", "val", "test")
    return [{**entry, "split": order[int(entry["patient_id"][1:]) // 2 % 5]} for entry in entries]


def dataset(labels: np.ndarray, *, side: int = 32, bits: int = 8, seed: int = 0) -> Dataset:
    """A data set in memory: one patient an image, all in train, noise for pixels."""
    count = len(labels)
    dtype = np.uint8 if bits == 8 else np.uint16
    pixels = np.random.default_rng(seed).integers(0, 1 << bits, (count, side, side)).astype(dtype)
    return Dataset(
        names=[f"{index}.png" for index in range(count)],
        patients=[f"p{index}" for index in range(count)],
        labels=labels,
        splits=["train"] * count,
        canvases=pixels,
        rows=np.arange(count),
        subgroups=[{} for _ in range(count)],
        digest="0" * 64,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the tiny data set."""
    root = tmp_path / "set"
    root.mkdir()
    write_set(root)
    return root
