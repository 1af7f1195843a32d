"""Small networks with something to quantize, as FP32 ONNX, and images for them. Shared by the tests of INT8."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import tiny
import torch
from onnx import helper, numpy_helper
from torch import nn

from edgedx.core.preprocess import PreprocessSpec
from edgedx.core.settings.recipe import Recipe
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.network.backbone import build_model
from edgedx.lab.quantize.calibrate import observe
from edgedx.lab.quantize.qdq import QuantizationPlan, Scheme
from edgedx.lab.quantize.to_onnx import export_onnx

SPEC = PreprocessSpec(size=(32, 32), window="none", bits=8)


def recipe(**quantize: Any) -> Recipe:
    """The tiny task; calibrated on few images unless told otherwise."""
    return tiny.recipe(quantize={"calibration_images": 32, "calibrators": ["minmax"], **quantize})


def images(count: int = 32, start: int = 0) -> Dataset:
    """Pictures, half of them bright, of very different contrast: logits are to differ by more than rounding does."""
    labels = np.arange(count) % 2
    data = tiny.dataset(labels, side=32)
    pictures = np.stack([tiny.picture(start + n, bright=bool(n % 2), side=32) for n in range(count)]).astype(float)
    contrasts = np.random.default_rng(start).uniform(0.1, 2.5, (count, 1, 1))
    return replace(data, canvases=(pictures * contrasts).clip(0, 255).astype(np.uint8))


def backbone(name: str = "test_efficientnet", spec: PreprocessSpec = SPEC) -> bytes:
    """FP32 ONNX of a timm model with random weights that let activations through."""
    return export_onnx(torch_backbone(name, spec), spec)


def torch_backbone(name: str = "test_efficientnet", spec: PreprocessSpec = SPEC) -> nn.Module:
    """The model of `backbone`."""
    torch.manual_seed(0)
    model = build_model(name, 2, spec)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # untrained residual blocks end in zeros
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    nn.init.normal_(model.get_classifier().weight, std=0.3)  # type: ignore[operator]
    return model.eval()


def residual(seed: int = 0, limit: float = 6.0) -> bytes:
    """image -> stem, Clip -> two convolutions on a branch, added to the stem, Relu -> mean -> Gemm."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}

    def conv(name: str, source: str, target: str, cin: int, cout: int, side: int) -> onnx.NodeProto:
        arrays[f"model.{name}.weight"] = rng.normal(0, 1.2 / (cin * side**2) ** 0.5, (cout, cin, side, side))
        arrays[f"model.{name}.bias"] = rng.normal(0, 0.2, cout)
        inputs = [source, f"model.{name}.weight", f"model.{name}.bias"]
        return helper.make_node("Conv", inputs, [target], name=f"node_{name}", pads=[side // 2] * 4)

    arrays |= {"low": np.array(0.0), "high": np.array(limit)}
    arrays |= {"model.head.weight": rng.normal(0, 0.5, (2, 8)), "model.head.bias": rng.normal(0, 0.1, 2)}
    nodes = [
        conv("stem", "image", "s", 1, 8, 3),
        helper.make_node("Clip", ["s", "low", "high"], ["sc"], name="clip"),
        conv("one", "sc", "a", 8, 16, 1),
        helper.make_node("Relu", ["a"], ["ar"], name="relu"),
        conv("two", "ar", "b", 16, 8, 3),
        helper.make_node("Add", ["b", "sc"], ["c"], name="add"),
        helper.make_node("Relu", ["c"], ["cr"], name="relu2"),
        helper.make_node("GlobalAveragePool", ["cr"], ["g"], name="pool"),
        helper.make_node("Flatten", ["g"], ["features"], name="flat"),
        helper.make_node("Gemm", ["features", "model.head.weight", "model.head.bias"], ["logits"], "head", transB=1),
    ]
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "residual",
        [helper.make_tensor_value_info("image", kind, ["n", 1, 32, 32])],
        [helper.make_tensor_value_info(name, kind, ["n", k]) for name, k in (("logits", 2), ("features", 8))],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


SCHEMES: list[Scheme] = ["u8s8", "s8s8", "trt"]


def plan_for(model: bytes, scheme: Scheme, **more: Any) -> QuantizationPlan:
    observed = observe(model, images(), SPEC)
    return QuantizationPlan(scheme, observed.ranges("minmax", 99.99, symmetric=scheme == "trt"), **more)
