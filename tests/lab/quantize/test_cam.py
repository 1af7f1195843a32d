"""Class activation maps: exact where they can be, absent with a reason where not, and the same answers beside them."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import quantizing
from networks import needs_rtx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper
from quantizing import SPEC

from edgedx.core.bundle.onnx_walk import check_onnx  # noqa: E402
from edgedx.core.preprocess import normalise  # noqa: E402
from edgedx.device.runtime.run_onnx import OnnxRunner  # noqa: E402
from edgedx.lab.quantize.calibrate import observe  # noqa: E402
from edgedx.lab.quantize.cam import NoCam, add_cam, with_cam  # noqa: E402
from edgedx.lab.quantize.onnx_graph import Graph  # noqa: E402
from edgedx.lab.quantize.qdq import QuantizationPlan, Scheme, write_qdq  # noqa: E402
from edgedx.lab.quantize.to_fp16 import to_fp16  # noqa: E402
from edgedx.lab.ship.engines import build_ahead  # noqa: E402

BATCH = np.concatenate([normalise(part, SPEC) for part in quantizing.images(16).batches(8)])
WITH = ("resnet18", "densenet121", "mobilenetv2_100", "efficientnet_b0", "tf_efficientnet_lite0", "regnety_002")
WITHOUT = ("mobilenetv3_small_100", "mobilenetv4_conv_small", "ghostnet_100", "convnext_atto")


def quantized(model: bytes, scheme: Scheme) -> bytes:
    """8 bits, the classifier in float, as `edgedx compress` leaves it."""
    observed = observe(model, quantizing.images(), SPEC)
    ranges = observed.ranges("minmax", 99.99, symmetric=scheme == "trt")
    graph = Graph(model)
    return write_qdq(
        model, QuantizationPlan(scheme, ranges, keep_float=frozenset([graph.label(graph.maker["logits"])]))
    )


def sums_up(model: bytes, *, fused: bool = True, batch: np.ndarray = BATCH) -> float:
    """Greatest difference of a map's mean to the logit, less what all images have in common: the bias."""
    with OnnxRunner(model, fused=fused) as runner:
        found = runner.infer(batch, cam=True)
    assert found.cam is not None
    left = found.logits - found.cam.mean(axis=(2, 3))
    return float(np.abs(left - left.mean(axis=0)).max() / found.logits.std())


def test_the_mean_of_a_map_and_the_bias_are_the_logit() -> None:
    model = quantizing.residual()
    shown = add_cam(model, BATCH)
    assert sums_up(shown) < 1e-5
    check_onnx(shown, "the model")  # what a device refuses must not be in it
    opened = onnx.load_from_string(model)
    opened.graph.output.append(onnx.ValueInfoProto(name="cr"))  # what is pooled
    session = ort.InferenceSession(opened.SerializeToString(), providers=["CPUExecutionProvider"])
    (maps,) = session.run(["cr"], {"image": BATCH})
    expected = np.einsum("nchw,kc->nkhw", maps, Graph(model).weights["model.head.weight"])
    with OnnxRunner(shown) as runner, OnnxRunner(model) as plain:
        found, before = runner.infer(BATCH, cam=True), plain.infer(BATCH)
        assert found.cam is not None and np.abs(found.cam - expected).max() < 1e-4
        assert runner.infer(BATCH).cam is None  # nobody asked
    assert np.array_equal(found.logits, before.logits)
    assert found.features is not None and np.array_equal(found.features, before.features)  # type: ignore[arg-type]


@pytest.mark.parametrize("scheme", ["u8s8", "s8s8", "trt"])
def test_it_survives_quantization_without_changing_any_answer(scheme: Scheme) -> None:
    model = quantized(quantizing.residual(), scheme)
    shown = add_cam(model, BATCH, precision="int8", fused=scheme == "u8s8")
    fused = scheme == "u8s8"
    assert sums_up(shown, fused=fused) < 0.1  # the pooled feature is rounded once more than the map
    with OnnxRunner(shown, fused=fused) as runner, OnnxRunner(model, fused=fused) as plain:
        assert np.array_equal(runner.infer(BATCH).logits, plain.infer(BATCH).logits)
    if scheme == "trt":
        assert sums_up(to_fp16(shown), fused=False) < 0.1


def test_fp16_keeps_it_and_gives_it_out_as_float32() -> None:
    half = to_fp16(add_cam(quantizing.residual(), BATCH))
    assert sums_up(half) < 0.01
    output = onnx.load_from_string(half).graph.output[2]
    assert (output.name, output.type.tensor_type.elem_type) == ("cam", onnx.TensorProto.FLOAT)
    sides = [entry.dim_value for entry in output.type.tensor_type.shape.dim[1:]]
    assert sides == [2, 32, 32]  # fixed, because TensorRT allocates by them


def changed(kind: str) -> bytes:
    """The residual network with something between pooling and classifier, or without pooling."""
    model = onnx.load_from_string(quantizing.residual())
    nodes = {node.name: node for node in model.graph.node}
    if kind == "activation":
        nodes["flat"].output[0] = "flat"
        model.graph.node.insert(9, onnx.helper.make_node("Relu", ["flat"], ["features"], "late"))
    elif kind == "max":
        nodes["pool"].op_type = "GlobalMaxPool"
    else:
        nodes["head"].output[0] = "before"
        model.graph.node.append(onnx.helper.make_node("Tanh", ["before"], ["logits"], "late"))
    return model.SerializeToString()


@pytest.mark.parametrize(("kind", "why"), [("activation", "reads Relu"), ("max", "reads GlobalMaxPool"),
                                           ("after", "come from Tanh")])  # fmt: skip
def test_a_head_for_which_a_map_would_be_a_guess_gets_none_and_says_why(kind: str, why: str) -> None:
    model = changed(kind)
    assert with_cam(model, BATCH) == (model, with_cam(model, BATCH)[1])
    with pytest.raises(NoCam, match=why):
        add_cam(model, BATCH)


def test_a_map_that_does_not_add_up_is_not_shipped() -> None:
    """Eight bits with a range far too wide: the pooled feature is rounded away, and map and answer part."""
    model = quantizing.residual()
    ranges = observe(model, quantizing.images(), SPEC).ranges("minmax", 99.99, symmetric=False) | {"g": (0.0, 900.0)}
    graph = Graph(model)
    coarse = write_qdq(
        model, QuantizationPlan("u8s8", ranges, keep_float=frozenset([graph.label(graph.maker["logits"])]))
    )
    with pytest.raises(NoCam, match="differ by"):
        add_cam(coarse, BATCH, precision="int8")


@needs_rtx
def test_nvidias_builder_takes_the_output_in_every_precision() -> None:
    shown = add_cam(quantizing.residual(), BATCH)
    eight = to_fp16(add_cam(quantized(quantizing.residual(), "trt"), BATCH, precision="int8", fused=False))
    reports = {
        name: build_ahead(model, name, quiet=True).report.weighted  # type: ignore[arg-type]
        for name, model in (("fp32", shown), ("fp16", to_fp16(shown)), ("int8", eight))
    }
    # three convolutions, the classifier, and the map, which stays float as the classifier does
    assert reports == {"fp32": {"FLOAT": 5}, "fp16": {"HALF": 5}, "int8": {"INT8": 3, "HALF": 2}}


@pytest.mark.slow
@pytest.mark.parametrize("backbone", [*WITH, *WITHOUT])
def test_backbones_of_pooling_and_one_layer_have_it_and_no_others(backbone: str) -> None:
    spec = SPEC.model_copy(update={"size": (64, 64)})  # of 32 pixels one place is left
    batch = BATCH.repeat(2, axis=2).repeat(2, axis=3)
    shown, why = with_cam(quantizing.backbone(backbone, spec), batch)
    assert (why == "") == (backbone in WITH), why
    if not why:
        assert sums_up(shown, batch=batch) < 1e-4


def test_a_map_of_one_place_is_none() -> None:
    """VGG's first dense layer, a convolution over all of the map in timm, leaves one."""
    nodes = [
        helper.make_node("Conv", ["image", "dense"], ["map"]),
        helper.make_node("GlobalAveragePool", ["map"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "weight", "bias"], ["logits"], transB=1),
    ]
    shapes = {"dense": (3, 1, 4, 4), "weight": (2, 3), "bias": (2,)}
    weights = [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in shapes.items()]
    value = helper.make_tensor_value_info
    ends = [value("logits", TensorProto.FLOAT, ["n", 2]), value("features", TensorProto.FLOAT, ["n", 3])]
    graph = helper.make_graph(nodes, "one", [value("image", TensorProto.FLOAT, ["n", 1, 4, 4])], ends, weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    with pytest.raises(NoCam, match="one place alone"):
        add_cam(made.SerializeToString(), np.ones((2, 1, 4, 4), np.float32))
