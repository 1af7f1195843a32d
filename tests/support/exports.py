"""Exported backbones, kept on disk while the tests run: exporting one takes longer than all its engines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from edgedx.core.preprocess import PreprocessSpec
from edgedx.lab.network.backbone import build_model
from edgedx.lab.quantize.to_fp16 import to_fp16
from edgedx.lab.quantize.to_onnx import export_onnx
from edgedx.lab.quantize.workbench import quantize

# vgg16 alone has 134 million weights, whatever the input; 96 px is enough for inception_v3.
SPEC = PreprocessSpec(size=(96, 96), window="none", bits=8)


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this run of pytest see."""
    base = factory.getbasetemp()
    folder = (base.parent if base.name.startswith("popen-") else base) / "exports"
    folder.mkdir(exist_ok=True)
    return folder


def keep(folder: Path, backbone: str, exported: bytes) -> None:
    """Keep an export for `exported`."""
    temporary = folder / f"{backbone}.{id(exported)}.tmp"
    temporary.write_bytes(exported)
    temporary.replace(folder / f"{backbone}.onnx")


def exported(folder: Path, backbone: str) -> bytes:
    """FP32 ONNX of a backbone with random weights, as another test left it or made now. Taken away: some are large."""
    path = folder / f"{backbone}.onnx"
    if not path.is_file():
        torch.manual_seed(0)
        keep(folder, backbone, export_onnx(build_model(backbone, 2, SPEC).eval(), SPEC))
    data = path.read_bytes()
    path.unlink()
    return data


def in_three_precisions(fp32: bytes) -> dict[str, bytes]:
    """FP32, typed FP16 and S8S8 Q/DQ INT8 of an export, made as `edgedx compress` makes them."""
    recipe = tiny.recipe(
        preprocess={"size": list(SPEC.size), "window": "none", "bits": 8},
        quantize={"calibration_images": 8, "calibrators": ["minmax"]},
    )
    images = tiny.dataset(np.zeros(2, int), side=SPEC.size[0])
    best, _ = quantize(fp32, recipe, images, images, "trt", [False])
    return {"fp32": fp32, "fp16": to_fp16(fp32), "int8": to_fp16(best.model)}
