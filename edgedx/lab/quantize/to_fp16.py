"""FP16 in the graph: what a strongly typed TensorRT network takes its types from, 8-bit graphs included.

TensorRT 11 has no precision flags, and 10 takes its types from the graph where the network is strongly typed. A graph
with Q/DQ pairs then has 8-bit convolutions between FP32 layers unless the rest is FP16 too; and NVIDIA's builder
refuses FP32 matrix products on Turing (SM 7.5). FP16 scales of Q and DQ need opset 19.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import version_converter

from edgedx.core.errors import UnsupportedModel

QDQ_OPSET = 19
_QDQ = ("QuantizeLinear", "DequantizeLinear")


def to_fp16(model: bytes) -> bytes:
    """FP32 ONNX, with Q/DQ pairs or without, to FP16; float32 at its inputs and outputs.

    Raises
    ------
    UnsupportedModel
        onnx cannot raise the opset of a quantized graph.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    graph = _only_used_domains(onnx.load_from_string(model))
    if any(node.op_type in _QDQ for node in graph.graph.node):
        graph = _raise_opset(graph)
    graph = convert_float_to_float16(graph, keep_io_types=True)
    _sort(graph.graph)  # the converter appends casts of inputs at the end, which onnx and older parsers refuse
    onnx.checker.check_model(graph)
    return graph.SerializeToString()


def _raise_opset(graph: onnx.ModelProto) -> onnx.ModelProto:
    opset = next(entry.version for entry in graph.opset_import if not entry.domain)
    if opset >= QDQ_OPSET:
        return graph
    try:
        return version_converter.convert_version(graph, QDQ_OPSET)
    except (RuntimeError, ValueError) as error:
        raise UnsupportedModel(
            f"the quantized model cannot be raised from opset {opset} to {QDQ_OPSET}, which FP16 scales need: {error}",
            next_step="deploy without --int8",
        ) from error


def _only_used_domains(graph: onnx.ModelProto) -> onnx.ModelProto:
    """ONNX Runtime lists every domain it knows; a strict parser may ask what they are."""
    used = {node.domain for node in graph.graph.node} | {""}
    kept = [entry for entry in graph.opset_import if entry.domain in used]
    del graph.opset_import[:]
    graph.opset_import.extend(kept)
    return graph


def _sort(graph: onnx.GraphProto) -> None:
    """Nodes after those that they read from, otherwise in the order in which they stood."""
    known = {"", *_names(graph.input), *_names(graph.initializer)}
    waiting, ordered = list(graph.node), []
    while waiting:
        left = []
        for node in waiting:
            if known.issuperset(node.input):
                ordered.append(node)
                known.update(node.output)
            else:
                left.append(node)
        if len(left) == len(waiting):
            raise UnsupportedModel("the graph has a cycle, or reads a tensor that nothing makes")
        waiting = left
    del graph.node[:]
    graph.node.extend(ordered)


def _names(values: Iterable[onnx.ValueInfoProto] | Iterable[onnx.TensorProto]) -> set[str]:
    return {value.name for value in values}
