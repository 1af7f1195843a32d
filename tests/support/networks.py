"""Small networks for NVIDIA's real parser and builder, and a bundle for TensorRT. Shared by the tests of engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from bundles import MODEL, write_tiny
from onnx import TensorProto, helper, numpy_helper

from edgedx.core.bundle.manifest import Bundle, Variant
from edgedx.core.errors import ProviderMissing
from edgedx.device.runtime.cuda import find_gpu
from edgedx.device.runtime.engine_cache import EngineKey
from edgedx.device.runtime.engine_settings import BuildReport
from edgedx.device.runtime.tensorrt_library import installed

KEY = EngineKey("a" * 64, "int8", "tensorrt", "10.3.0", "Orin", "8.7", 8)
PLAN = b"an engine\nwith newlines\n"
REPORT = BuildReport("TensorRT 10.3.0", 1, {"HALF": 1}, {"INT8": 1}, 12.5, 900.0)

needs_rtx = pytest.mark.skipif(
    not installed("tensorrt_rtx"), reason='TensorRT for RTX is not installed: pip install "edgedx[rtx]"'
)


def _has_gpu() -> bool:
    try:
        find_gpu()
    except ProviderMissing:
        return False
    return True


without_gpu = pytest.mark.skipif(_has_gpu(), reason="a GPU is here")


def convolution(*, opset: int = 18, extra: list[onnx.NodeProto] | None = None, size: Any = 16) -> bytes:
    """image (n, 1, size, size) -> Conv, Relu, mean -> logits (n, 4); `extra` nodes make ``logits`` from ``pooled``."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(4, 1, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["wide"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["wide"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["small"]),
        helper.make_node("Flatten", ["small"], ["pooled"]),
        *(extra or [helper.make_node("Identity", ["pooled"], ["logits"])]),
    ]
    graph = helper.make_graph(
        nodes,
        "convolution",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, size, size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "weight")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return bytes(made.SerializeToString())


def tensorrt_bundle(path: Path, **changes: Any) -> Bundle:
    """A bundle whose default variant is for TensorRT."""
    variants = {
        "fp32": Variant(file=MODEL, precision="fp32", scheme="float", purpose="cpu"),
        "int8-trt": Variant(file=MODEL, precision="int8", scheme="trt", purpose="tensorrt"),
    }
    fields = {"target": "rtx", "profile": "rtx-pc", "variants": variants, "default_variant": "int8-trt", **changes}
    return write_tiny(path, **fields)
