"""What quantization asks of an ONNX graph: who reads a tensor, which nodes have weights, what a node costs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

WEIGHTED = ("Conv", "Gemm", "MatMul")
"""Operators whose weights become 8-bit."""


class Graph:
    """An ONNX graph with its look-up tables. Nodes stand in the order in which they can run.

    Attributes
    ----------
    weights : dict of str to ndarray
        Initializers.
    readers : dict of str to list of NodeProto
        Nodes that read a tensor.
    maker : dict of str to NodeProto
        The node that writes a tensor.
    """

    def __init__(self, model: bytes) -> None:
        self.model = onnx.load_from_string(model)
        graph = self.model.graph
        self.nodes = list(graph.node)
        self.weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.inputs = [value.name for value in graph.input if value.name not in self.weights]
        self.outputs = [value.name for value in graph.output]
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        self.maker: dict[str, onnx.NodeProto] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.input):
                self.readers[name].append(node)
            for name in node.output:
                self.maker[name] = node

    def weighted(self) -> list[onnx.NodeProto]:
        """Nodes that can be quantized, in order: their weights are constant and laid out as kernels want them."""
        return [node for node in self.nodes if self.is_weighted(node)]

    def is_weighted(self, node: onnx.NodeProto) -> bool:
        """Whether a node can be quantized."""
        if node.op_type not in WEIGHTED or node.input[1] not in self.weights:
            return False
        if node.op_type == "Gemm":
            given = attributes(node)
            return given.get("alpha", 1.0) == 1.0 and given.get("beta", 1.0) == 1.0 and not given.get("transA", 0)
        return node.op_type == "Conv" or self.weights[node.input[1]].ndim == 2

    def label(self, node: onnx.NodeProto) -> str:
        """A node by the layer its weights come from, such as ``blocks.1.0.conv_pw``; ``name`` where that is unknown."""
        weight = node.input[1] if self.is_weighted(node) else ""
        if not weight.endswith(".weight") or len(self.readers[weight]) > 1:
            return node.name
        return weight.removeprefix("model.").removesuffix(".weight")

    def macs(self, node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """Multiply-accumulates of a weighted node for one image; `shapes` are those of tensors, without the batch."""
        weight = self.weights[node.input[1]]
        places = shapes.get(node.output[0], ())[1:] if node.op_type == "Conv" else shapes.get(node.output[0], ())[:-1]
        return int(weight.size * np.prod(places, dtype=np.int64))

    def clip_range(self, node: onnx.NodeProto) -> tuple[float, float] | None:
        """Smallest and greatest value that a ReLU or a clip with constant limits lets through; None for others."""
        if node.op_type == "Relu":
            return 0.0, float("inf")
        if node.op_type != "Clip":
            return None
        limits = [-float("inf"), float("inf")]
        for place, name in enumerate(node.input[1:]):
            if name and name not in self.weights:
                return None
            if name:
                limits[place] = float(self.weights[name])
        return limits[0], limits[1]


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Attributes of a node by name."""
    return {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}


def channel_axis(node: onnx.NodeProto) -> int:
    """Axis of a weight's output channels."""
    return 0 if node.op_type == "Conv" or attributes(node).get("transB", 0) else 1


def operators(model: bytes) -> dict[str, int]:
    """How many nodes of each operator a model has."""
    names, counts = np.unique([node.op_type for node in onnx.load_from_string(model).graph.node], return_counts=True)
    return {str(name): int(count) for name, count in zip(names, counts, strict=True)}


def with_weights(model: bytes, arrays: Mapping[str, np.ndarray]) -> bytes:
    """The same model with other values in some of its initializers."""
    graph = onnx.load_from_string(model)
    for tensor in graph.graph.initializer:
        if tensor.name in arrays:
            like = numpy_helper.to_array(tensor)
            value = np.ascontiguousarray(arrays[tensor.name], like.dtype).reshape(like.shape)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return graph.SerializeToString()
