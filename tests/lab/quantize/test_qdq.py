"""The writer of Q/DQ graphs: where the pairs sit, what ONNX Runtime makes of it, and what the numbers are."""

from __future__ import annotations

import platform
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import quantizing
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, quantize_static
from quantizing import SCHEMES, plan_for

from edgedx.core.preprocess import normalise
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.lab.data.predict import predict
from edgedx.lab.quantize.onnx_graph import Graph, attributes, operators, with_weights
from edgedx.lab.quantize.qdq import EightBit, Scheme, eight_bit_tensors, step_of, write_qdq
from edgedx.lab.quantize.workbench import noise_of

ON_ARM = pytest.mark.skipif(platform.machine() != "aarch64", reason="ONNX Runtime has S8S8 kernels on ARM alone")


def as_onnx_runtime_runs_it(model: bytes, folder: Path) -> Counter[str]:
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)


@pytest.mark.parametrize("scheme", ["u8s8", pytest.param("s8s8", marks=ON_ARM)])
def test_every_layer_and_addition_becomes_an_integer_kernel(scheme: Scheme, tmp_path: Path) -> None:
    model = quantizing.residual()
    found = as_onnx_runtime_runs_it(write_qdq(model, plan_for(model, scheme)), tmp_path)
    assert (found["QLinearConv"], found["QLinearAdd"]) == (3, 1)
    assert not {"Conv", "Add", "Relu", "Clip"} & set(found)


@pytest.mark.parametrize("scheme", ["u8s8", pytest.param("s8s8", marks=ON_ARM)])
def test_a_layer_kept_in_float_is_computed_in_float(scheme: Scheme, tmp_path: Path) -> None:
    model = quantizing.residual()
    kept = Graph(model).weighted()[1]
    plan = plan_for(model, scheme).keeping([kept.name])
    found = as_onnx_runtime_runs_it(write_qdq(model, plan), tmp_path)
    assert (found["QLinearConv"], found["Conv"]) == (2, 1)  # it would quantize the third by itself


def test_an_activation_disappears_into_the_range_of_its_convolution() -> None:
    model = quantizing.residual(limit=1.0)
    plan = plan_for(model, "u8s8")
    assert {"Relu", "Clip"} & set(operators(write_qdq(model, plan))) == set()
    assert eight_bit_tensors(model, plan)["sc"] == EightBit(
        (0.0, 1.0), (0.0, 1.0)
    )  # what the clip let through, and nothing above
    data = quantizing.images(16, start=500)
    assert (
        noise_of(*(predict(OnnxRunner(m, fused=False), data, quantizing.SPEC) for m in (write_qdq(model, plan), model)))
        < 0.05
    )


def test_tensorrt_has_pairs_where_weights_read_and_on_the_residual_branch() -> None:
    model = quantizing.residual()
    graph = Graph(write_qdq(model, plan_for(model, "trt")))
    for node in graph.weighted() + [node for node in graph.nodes if node.op_type in ("Conv", "Gemm")]:
        assert graph.maker[node.input[0]].op_type == graph.maker[node.input[1]].op_type == "DequantizeLinear"
        assert graph.weights[node.input[2]].dtype == np.float32  # TensorRT computes biases itself
    (add,) = (node for node in graph.nodes if node.op_type == "Add")
    assert [graph.maker[name].op_type for name in add.input] == ["Conv", "DequantizeLinear"]
    after = [
        reader.op_type for node in graph.nodes if node.op_type == "Conv" for reader in graph.readers[node.output[0]]
    ]
    assert sorted(after) == ["Add", "Clip", "Relu"]  # nothing between a convolution and what it is fused with
    zeros = [graph.weights[node.input[2]] for node in graph.nodes if node.op_type == "QuantizeLinear"]
    assert all((zero == 0).all() and zero.dtype == np.int8 for zero in zeros)


def test_with_two_convolutions_into_an_addition_one_branch_is_8_bit() -> None:
    model = onnx.load_from_string(quantizing.residual())
    (add,) = (node for node in model.graph.node if node.op_type == "Add")
    short = onnx.helper.make_node("Conv", ["sc", "short.weight", "model.two.bias"], ["short"], "short")
    weight = np.random.default_rng(1).normal(size=(8, 8, 1, 1)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "short.weight"))
    model.graph.node.insert(3, short)
    add.input[1] = "short"
    changed = model.SerializeToString()
    graph = Graph(write_qdq(changed, plan_for(changed, "trt")))
    (add,) = (node for node in graph.nodes if node.op_type == "Add")
    assert [graph.maker[name].op_type for name in add.input] == ["Conv", "DequantizeLinear"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_rounding_is_close_to_float_and_a_layer_kept_in_float_is_float(scheme: Scheme) -> None:
    model, data = quantizing.residual(), quantizing.images(16, start=500)
    reference = predict(OnnxRunner(model), data, quantizing.SPEC)
    plan = plan_for(model, scheme)
    quantized = write_qdq(model, plan)
    assert 0 < noise_of(predict(OnnxRunner(quantized, fused=False), data, quantizing.SPEC), reference) < 0.05
    graph = Graph(model)
    layers = [graph.label(node) for node in graph.weighted()]
    kept = Graph(write_qdq(model, plan.keeping(layers[:1])))
    (first,) = (node for node in kept.nodes if node.name == layers[0])
    assert first.input[1] in kept.weights and kept.weights[first.input[1]].dtype == np.float32
    nothing = write_qdq(model, plan.keeping(layers))
    assert np.array_equal(
        predict(OnnxRunner(nothing, fused=False), data, quantizing.SPEC),
        predict(OnnxRunner(model, fused=False), data, quantizing.SPEC),
    )


def test_seven_bits_and_no_zero_points_for_weights() -> None:
    model = quantizing.residual()
    graph = Graph(write_qdq(model, plan_for(model, "u8s8", reduced=True)))
    weights = [node for node in graph.nodes if node.op_type == "DequantizeLinear" and node.input[0] in graph.weights]
    peaks = [np.abs(graph.weights[node.input[0]]).max() for node in weights if attributes(node)["axis"] == 0]
    assert max(peak for peak in peaks if peak < 128) == 63
    assert all(len(node.input) == 2 for node in weights)


def test_scales_of_activations_are_scalars() -> None:
    """With vectors of one ONNX Runtime left every addition in float, between conversions."""
    model = quantizing.residual()
    graph = Graph(write_qdq(model, plan_for(model, "u8s8")))
    steps = [node for node in graph.nodes if node.op_type == "QuantizeLinear"]
    assert steps and all(graph.weights[name].shape == () for node in steps for name in node.input[1:])


def test_a_dead_channel_keeps_its_bias() -> None:
    model = quantizing.residual()
    weight = Graph(model).weights["model.two.weight"].copy()
    weight[3] = 1e-13  # its own scale would put the bias of 0.2 beyond 32 bits
    dead = with_weights(model, {"model.two.weight": weight})
    data = quantizing.images(16)
    quantized = write_qdq(dead, plan_for(dead, "u8s8"))
    assert noise_of(*(predict(OnnxRunner(m, fused=False), data, quantizing.SPEC) for m in (quantized, dead))) < 0.1


def test_the_file_is_smaller_than_onnx_runtimes_own(tmp_path: Path) -> None:
    model = quantizing.backbone()
    images = normalise(np.concatenate(list(quantizing.images(8).batches(8))), quantizing.SPEC)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        left = iter([{"image": images}])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.left, None)

    theirs = tmp_path / "theirs.onnx"
    quantize_static(onnx.load_from_string(model), str(theirs), Reader(), per_channel=True)
    assert len(write_qdq(model, plan_for(model, "u8s8"))) < 0.8 * theirs.stat().st_size


@pytest.mark.parametrize(
    ("ends", "symmetric", "kind", "scale", "zero"),
    [
        ((0.0, 5.1), False, np.uint8, 0.02, 0),
        ((0.0, 5.1), False, np.int8, 0.02, -128),
        ((-2.55, 2.55), False, np.uint8, 0.02, 128),
        ((1.0, 5.1), False, np.uint8, 0.02, 0),  # zero is padded with, so it is always there
        ((-1.27, 0.5), True, np.int8, 0.01, 0),
    ],
)
def test_steps(ends: tuple[float, float], symmetric: bool, kind: Any, scale: float, zero: int) -> None:
    found = step_of(ends, symmetric, kind)
    assert found[0] == pytest.approx(scale, rel=1e-5)
    assert found[1] == zero
