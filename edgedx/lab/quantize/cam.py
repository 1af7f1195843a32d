"""Class activation maps (Zhou et al. 2016) as a third output of the graph that ships.

A head of global average pooling and one linear layer is linear in space: the layer applied at every place instead of
to the mean gives a map whose mean, plus the bias, is the logit. That is no estimate but the same sum in another order,
so a device can show where a decision came from without gradients. Any other head gets no map, and says why.

The output is added to finished graphs, after quantization: ranges, layers kept in float and training know nothing of
it, and with FP32, FP16 and 8 bits alike the map is read where the pooling reads.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.device.runtime.runner import CAM

from .onnx_graph import Graph, attributes

ALLOWED = {"fp32": 1e-4, "int8": 0.15}
"""Greatest difference of a map's mean, plus the bias, to the logit, where logits are of unit size. In 8 bits the pooled
feature is rounded once more than the map is."""
_SAME_NUMBERS = ("Flatten", "Reshape", "Squeeze", "Identity", "Dropout", "QuantizeLinear", "DequantizeLinear")


class NoCam(Exception):
    """The graph has no exact class activation map; the message says why."""


def with_cam(model: bytes, images: np.ndarray, *, precision: str = "fp32", fused: bool = True) -> tuple[bytes, str]:
    """`add_cam`, or the model as it is and why it has no map."""
    try:
        return add_cam(model, images, precision=precision, fused=fused), ""
    except NoCam as error:
        return model, str(error)


def add_cam(model: bytes, images: np.ndarray, *, precision: str = "fp32", fused: bool = True) -> bytes:
    """The model with a third output ``cam`` of shape (N, K, h, w), proven on `images`.

    Parameters
    ----------
    model : bytes
        ONNX from `export_onnx` or `write_qdq`: float32, classifier not quantized.
    images : ndarray of shape (N, C, H, W), float32
        Network inputs.
    precision : str
        fp32 or int8: how exact the proof is to be.
    fused : bool
        As the model will be run.

    Raises
    ------
    NoCam
        The head is not global average pooling and one linear layer, or the proof failed.
    """
    graph = Graph(model)
    linear, maps = _head(graph)
    bias = graph.weights[linear.input[2]] if len(linear.input) > 2 and linear.input[2] else 0.0
    weight = graph.weights[linear.input[1]]
    weight = np.ascontiguousarray(weight if attributes(linear).get("transB", 0) else weight.T)
    changed = onnx.ModelProto()
    changed.CopyFrom(graph.model)
    changed.graph.initializer.append(numpy_helper.from_array(weight[:, :, None, None], f"{CAM}/weight"))
    changed.graph.node.append(helper.make_node("Conv", [maps, f"{CAM}/weight"], [CAM], name=CAM))
    batch = changed.graph.output[0].type.tensor_type.shape.dim[0].dim_param or "batch"
    changed.graph.output.append(helper.make_tensor_value_info(CAM, TensorProto.FLOAT, [batch, len(weight), None, None]))
    with OnnxRunner(changed.SerializeToString(), fused=fused) as runner:
        found = runner.infer(images, cam=True)
    assert found.cam is not None
    if found.cam.shape[2] * found.cam.shape[3] == 1:
        raise NoCam("the last feature map has one place alone, which shows nothing")
    # TensorRT allocates by the sides that a graph declares.
    for place, side in zip(changed.graph.output[-1].type.tensor_type.shape.dim[2:], found.cam.shape[2:], strict=True):
        place.dim_value = side
    difference = float(np.abs(found.cam.mean(axis=(2, 3)) + bias - found.logits).max())
    allowed = ALLOWED[precision] * max(1.0, float(np.sqrt(np.mean(found.logits**2))))
    if not difference <= allowed:
        raise NoCam(f"mean of the map and logit differ by {difference:.2g}, allowed {allowed:.2g}")
    onnx.checker.check_model(changed)
    return bytes(changed.SerializeToString())


def _head(graph: Graph) -> tuple[onnx.NodeProto, str]:
    """The linear layer that writes the logits, and the feature map whose mean it reads."""
    linear = graph.maker.get(graph.outputs[0])
    if linear is None or linear.op_type != "Gemm" or not graph.is_weighted(linear):
        kind = "an input" if linear is None else linear.op_type
        raise NoCam(f"the logits come from {kind}, not from one linear layer in float")
    name = linear.input[0]
    while (maker := graph.maker.get(name)) is not None and maker.op_type in _SAME_NUMBERS:
        name = maker.input[0]
    if maker is None or not _pools(graph, maker):
        kind = "an input" if maker is None else maker.op_type
        raise NoCam(f"the classifier reads {kind}, not the mean of a feature map over space")
    return linear, maker.input[0]


def _pools(graph: Graph, node: onnx.NodeProto) -> bool:
    """Whether a node is the mean over height and width of (N, C, H, W)."""
    if node.op_type == "GlobalAveragePool":
        return True
    if node.op_type != "ReduceMean":
        return False
    axes = graph.weights.get(node.input[1]) if len(node.input) > 1 else attributes(node).get("axes")
    return axes is not None and sorted(int(axis) for axis in axes) in ([2, 3], [-2, -1])
