"""Engines of five students in three precisions, by NVIDIA's own builder without a GPU: bytes and seconds.

    python benchmarks/engines.py

Students are backbones pruned to half of their multiply-accumulates, at 224 x 224. Their weights are random: size and
build time depend on shapes alone. An engine's bytes are given as TensorRT for RTX serializes it, and as it ships
(xz): RTX puts the CUDA source text of every kernel that it generates into the engine. This says nothing of speed on
any card, which is "not measured" where there is no card.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgedx.core.bundle.engine_part import pack_engine
from edgedx.core.errors import UnsupportedModel
from edgedx.core.files import write_json
from edgedx.core.preprocess import PreprocessSpec
from edgedx.core.settings.recipe import parse_recipe
from edgedx.core.settings.recipe_sections import Student, Task
from edgedx.device.runtime.tensorrt_library import load_library
from edgedx.lab.compress.prune import prune
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.network.backbone import build_model
from edgedx.lab.network.pruned import count_macs
from edgedx.lab.quantize.to_fp16 import to_fp16
from edgedx.lab.quantize.to_onnx import export_onnx
from edgedx.lab.quantize.workbench import quantize
from edgedx.lab.run.stage import machine, versions
from edgedx.lab.ship.engines import AMPERE_AND_LATER, TURING, build_ahead
from edgedx.lab.train.tasks import Classify

BACKBONES = ("tf_efficientnet_lite0", "mobilenetv2_100", "densenet121", "inception_v3", "resnet50")
SPEC = PreprocessSpec(size=(224, 224), window="none", bits=8)
CLASSES = ["a", "b"]
BUILDS = 3
IMAGES = 8


def student(backbone: str) -> torch.nn.Module:
    """A backbone pruned to half of its multiply-accumulates."""
    torch.manual_seed(0)
    model = build_model(backbone, len(CLASSES), SPEC)
    for name, weight in model.named_parameters():
        if weight.ndim == 1 and "weight" in name:  # untrained residual blocks end in zeros, which no gradient passes
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    task = Task(kind="binary", classes=CLASSES, positive="b")
    prune(model, SPEC, Student(macs=0.5, steps=1, recovery_epochs=0.0), Classify(task), _batches, lambda step: None)
    return model.eval()


def _batches(step: int) -> Iterator[tuple[Tensor, Tensor]]:
    torch.manual_seed(step)
    yield torch.randn(4, *SPEC.input_shape), torch.eye(2)[[0, 1, 0, 1]]


def three(fp32: bytes) -> dict[str, bytes]:
    """FP32, typed FP16 and S8S8 Q/DQ INT8, as `edgedx compress` makes them."""
    recipe = parse_recipe(
        {
            "name": "engines",
            "title": "Random weights",
            "task": {"kind": "binary", "classes": CLASSES, "positive": "b"},
            "data": {"source": "csv", "path": "nowhere"},
            "model": {"backbone": "any", "weights": "none"},
            "preprocess": {"size": list(SPEC.size), "window": "none", "bits": 8},
            "quantize": {"calibration_images": IMAGES, "calibrators": ["minmax"]},
        }
    )
    images = Dataset(
        names=[f"{index}.png" for index in range(IMAGES)],
        patients=[f"p{index}" for index in range(IMAGES)],
        labels=np.arange(IMAGES) % 2,
        splits=["train"] * IMAGES,
        canvases=np.random.default_rng(0).integers(0, 256, (IMAGES, *SPEC.size)).astype(np.uint8),
        rows=np.arange(IMAGES),
        subgroups=[{} for _ in range(IMAGES)],
        digest="0" * 64,
    )
    best, _ = quantize(fp32, recipe, images, images, "trt", [False])
    return {"fp32": fp32, "fp16": to_fp16(fp32), "int8": to_fp16(best.model)}


def measure(model: bytes, precision: Any, group: tuple[str, ...], builds: int) -> dict[str, Any]:
    """Several builds of one engine."""
    try:
        built = [build_ahead(model, precision, group, quiet=True) for _ in range(builds)]
    except UnsupportedModel as error:
        return {"sm": list(group), "refused": error.message}
    seconds = sorted(one.report.seconds for one in built)
    report = asdict(built[0].report)
    return {
        "sm": list(group),
        "bytes": sorted({len(one.plan) for one in built}),
        "shipped_bytes": len(pack_engine(built[0].plan)),
        "seconds": {"median": statistics.median(seconds), "min": seconds[0], "max": seconds[-1], "builds": builds},
        "peak_mb": max(one.report.peak_mb for one in built),
        **{key: report[key] for key in ("layers", "types", "weighted", "warnings")},
    }


def main() -> None:
    """Build, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/engines.json"))
    parser.add_argument("--builds", type=int, default=BUILDS)
    arguments = parser.parse_args()
    rows = []
    for backbone in BACKBONES:
        model = student(backbone)
        macs = count_macs(model, SPEC)
        for precision, data in three(export_onnx(model, SPEC)).items():
            row = {"student": backbone, "macs": int(macs), "precision": precision, "onnx_bytes": len(data)}
            row["ampere_and_later"] = measure(data, precision, AMPERE_AND_LATER, arguments.builds)
            row["turing"] = measure(data, precision, TURING, 1)
            rows.append(row)
            engine = row["ampere_and_later"]
            print(
                f"{backbone:<24}{precision}  engine {engine['bytes'][-1] / 1e6:7.2f} MB, ships "
                f"{engine['shipped_bytes'] / 1e6:6.2f} MB, {engine['seconds']['median']:5.2f} s "
                f"({engine['seconds']['min']:.2f} to {engine['seconds']['max']:.2f}), {engine['weighted']}"
                f"{'; refused for Turing' if 'refused' in row['turing'] else ''}",
                flush=True,
            )
    result = {
        "schema_version": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": {**versions(), "tensorrt_rtx": load_library("tensorrt_rtx").version},
        "input": list(SPEC.input_shape),
        "students": "random weights, pruned to half of the multiply-accumulates",
        "latency": "not measured: no RTX card and no Jetson at hand",
        "rows": rows,
    }
    write_json(arguments.out, result)


if __name__ == "__main__":
    main()
