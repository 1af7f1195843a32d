"""A run folder as the commands leave it, made in a second: real images, real ONNX graphs, real answers, no training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tiny
import yaml
from bundles import model

from edgedx.core.files import write_bytes, write_json, write_text
from edgedx.core.preprocess import normalise
from edgedx.core.settings.recipe import Recipe
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.lab.data.dataset import build_dataset, load_dataset

CUT = 0.5
VARIANTS = "run/devices/x86-avx2/variants"
"""Folder of the run's ONNX files, below that of `write_run`."""
HISTORY = [
    {"phase": "new head", "epoch": 1.0, "loss": 0.6, "val_auc": 0.7, "learning_rate": 0.01, "seconds": 1.0},
    {"phase": "all layers", "epoch": 1.0, "loss": 0.4, "val_auc": 0.9, "learning_rate": 0.001, "seconds": 1.0},
]


def write_run(folder: Path, *, ships: str = "int8-u8s8", **sections: Any) -> Recipe:
    """Images below ``folder/set`` and the run ``folder/run``; every seventh patient's label is wrong."""
    entries = tiny.write_set(folder / "set", patients=70)
    for entry in entries:
        if int(entry["patient_id"][1:]) % 7 == 0:
            entry["label"] = tiny.CLASSES[1 - tiny.CLASSES.index(entry["label"])]
        entry["site"] = "north" if int(entry["patient_id"][1:]) < 35 else "south"
    tiny.write_table(folder / "set", entries)
    recipe = tiny.recipe(
        folder / "set",
        preprocess={"size": [16, 16]},
        data={"subgroup_columns": ["sex", "site"], "fractions": [0.2, 0.2, 0.6]},
        licences={"data": "CC0-1.0 <made here>", "weights": "none"},
        **sections,
    )
    run = folder / "run"
    write_text(run / "recipe.yaml", yaml.safe_dump(recipe.model_dump(mode="json")))
    build_dataset(recipe, run / "data")
    data = load_dataset(run / "data", recipe.task.kind, recipe.preprocess)
    write_bytes(folder / VARIANTS / "fp32.onnx", model(30.0))
    write_bytes(folder / VARIANTS / "int8-u8s8.onnx", model(25.0))
    logits = {}
    with OnnxRunner(folder / VARIANTS / "fp32.onnx") as runner:
        for split in ("val", "test"):
            batch = np.concatenate(list(data.subset(split).batches(64)))
            logits[split] = runner.infer(normalise(batch, recipe.preprocess)).logits
    # The graph's bias does not know how bright these images are; a run's would.
    shift = float(np.median(logits["val"][:, 1] - logits["val"][:, 0]))
    points = [{"name": "youden", "threshold": {"bright": float(1 / (1 + np.exp(-shift)))}}]
    variants = {
        name: {
            "file": f"{name}.onnx",
            "precision": precision,
            "scheme": scheme,
            "purpose": "cpu",
            "bytes": 1000,
            "temperature": 1.0,
            "operating_points": points,
        }
        for name, precision, scheme in (("fp32", "fp32", "float"), ("int8-u8s8", "int8", "u8s8"))
    }
    write_json(
        folder / VARIANTS / "metrics.json",
        {"variants": variants, "choice": {"variant": ships, "reason": "as this test wants it"}},
    )
    _stage(
        folder / VARIANTS,
        {"data": _digest(data)},
        {"variants": variants, "choice": {"variant": ships, "reason": "as this test wants it"}},
    )
    for role, noise in (("teacher", 0.5), ("student", 1.5)):
        _checkpoint(run / role, recipe, role, logits, noise, points, _digest(data))
    for name, noise in (("fp32", 1.5), ("int8-u8s8", 1.6)):
        _save(folder / VARIANTS / name / "logits.npz", logits, noise)
    return recipe


def _digest(data: Any) -> str:
    return str(data.digest)


def _save(path: Path, logits: dict[str, np.ndarray], noise: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    np.savez(path, **{split: values + rng.normal(0, noise, values.shape) for split, values in logits.items()})  # type: ignore[arg-type]


def _stage(folder: Path, inputs: dict[str, str], metrics: dict[str, Any]) -> None:
    write_json(
        folder / "stage.json",
        {
            "schema_version": 1,
            "stage": folder.name,
            "fingerprint": folder.name,
            "settings": {"profile": "x86-avx2"},
            "inputs": inputs,
            "versions": {"edgedx": "0.1.0"},
            "machine": "a machine",
            "metrics": metrics,
            "wall_seconds": 1.0,
            "finished": "2026-11-23T00:00:00Z",
        },
    )


def _checkpoint(
    folder: Path, recipe: Recipe, role: str, logits: dict[str, np.ndarray], noise: float, points: list[Any], digest: str
) -> None:
    _save(folder / "logits.npz", logits, noise)
    card = {
        "schema_version": 1,
        "backbone": "test_efficientnet",
        "task": recipe.task.model_dump(mode="json"),
        "preprocess": recipe.preprocess.model_dump(mode="json"),
        "role": role,
        "weights_from": "from scratch",
        "temperature": 1.0,
        "operating_points": points,
        "synthetic": recipe.synthetic,
    }
    write_json(folder / "model.json", card)
    write_bytes(folder / "model.safetensors", b"\x00" * 4000)
    write_json(folder / "metrics.json", {"parameters": 1000, "history": HISTORY})
    _stage(folder, {"data": digest}, {"parameters": 1000})
