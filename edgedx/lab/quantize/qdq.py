"""Our own writer of Q/DQ graphs: FP32 ONNX and ranges in, 8-bit ONNX out, laid out for the kernels that will run it.

CPU schemes (ONNX Runtime): a node becomes an integer kernel only where all that it reads and writes is 8-bit, so the
writer gives 8 bits to chains of nodes. A ReLU after a convolution disappears: the range of what it lets through is the
convolution's own 8-bit range, whose ends cut off the same values. One node less, and one rounding less.

TensorRT: Q/DQ on what weighted nodes read and never between convolution and activation, which would keep the two from
being fused; and on the residual branch of an addition, because the precision of that input decides the precision in
which TensorRT writes the fused convolution (NVIDIA, "Q/DQ Layer-Placement Recommendations").
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .calibrate import Ranges
from .onnx_graph import Graph, channel_axis

Scheme = Literal["u8s8", "s8s8", "trt"]

_CHAINED = ("Add", "AveragePool", "Concat", "GlobalAveragePool")
PASSING = ("MaxPool", "Reshape", "Flatten", "Squeeze", "Transpose")  # the same numbers, elsewhere
SMALLEST = 1e-12


@dataclass(frozen=True)
class QuantizationPlan:
    """How a network is to be quantized.

    Attributes
    ----------
    scheme : str
        Kind of 8-bit numbers, by the device (`core.profile.Quantization`).
    ranges : mapping of str to (float, float)
        Of each tensor, from `calibrate`.
    reduced : bool
        7-bit weights: sums of two products then fit 16 bits, so that U8S8 kernels without VNNI cannot saturate.
    keep_float : frozenset of str
        Names or labels of weighted nodes that stay in float.
    """

    scheme: Scheme
    ranges: Ranges
    reduced: bool = False
    keep_float: frozenset[str] = frozenset()

    def keeping(self, more: Collection[str]) -> QuantizationPlan:
        """The same with more nodes in float."""
        return replace(self, keep_float=self.keep_float | frozenset(more))

    def with_ranges(self, ranges: Ranges) -> QuantizationPlan:
        """The same with other ranges for some tensors."""
        return replace(self, ranges={**self.ranges, **ranges})

    @property
    def symmetric(self) -> bool:
        """Whether activations are spread evenly around zero."""
        return self.scheme == "trt"

    @property
    def weight_peak(self) -> int:
        """Greatest 8-bit (7-bit) weight; the smallest is its negative."""
        return 63 if self.reduced else 127

    @property
    def activation_type(self) -> type[np.uint8] | type[np.int8]:
        """Type of 8-bit activations."""
        return np.uint8 if self.scheme == "u8s8" else np.int8


def step_of(ends: tuple[float, float], symmetric: bool, kind: type[np.uint8] | type[np.int8]) -> tuple[np.float32, int]:
    """Scale and zero point of 8-bit numbers from `ends`; zero is always exact."""
    low, high = min(ends[0], 0.0), max(ends[1], 0.0)
    if symmetric:
        return np.float32(max(-low, high, SMALLEST) / 127), 0
    scale = np.float32(max(high - low, SMALLEST) / 255)
    least = int(np.iinfo(kind).min)
    return scale, int(np.clip(round(least - low / float(scale)), least, least + 255))


def weight_scales(weight: np.ndarray, axis: int, peak: int) -> np.ndarray:
    """Scale of each output channel, float32."""
    others = tuple(place for place in range(weight.ndim) if place != axis)
    return np.maximum(np.abs(weight).max(axis=others) / np.float32(peak), np.float32(SMALLEST)).astype(np.float32)


def write_qdq(exported: bytes, plan: QuantizationPlan, *, trainable: bool = False) -> bytes:
    """Write the quantized graph.

    Parameters
    ----------
    exported : bytes
        FP32 ONNX, folded as `export_onnx` leaves it.
    trainable : bool
        Weights and biases stay float under their own names, weights with Q/DQ behind them: the same arithmetic, to be
        trained or corrected.
    """
    return _Writer(Graph(exported), plan, trainable).write()


@dataclass(frozen=True)
class EightBit:
    """A tensor that becomes 8-bit.

    Attributes
    ----------
    ends : (float, float)
        The range it gets.
    limits : (float, float)
        What the activation that was merged into it lets through: no range may go beyond.
    """

    ends: tuple[float, float]
    limits: tuple[float, float] = (-np.inf, np.inf)


def eight_bit_tensors(exported: bytes, plan: QuantizationPlan) -> dict[str, EightBit]:
    """Every tensor that `plan` makes 8-bit, by name."""
    writer = _Writer(Graph(exported), plan, trainable=True)
    writer.decide()
    unlimited = (-np.inf, np.inf)
    return {name: EightBit(writer.ranges[name], writer.merged.get(name, unlimited)) for name in sorted(writer.eight)}


class _Writer:
    def __init__(self, graph: Graph, plan: QuantizationPlan, trainable: bool) -> None:
        self.graph, self.plan, self.trainable = graph, plan, trainable
        self.cpu = plan.scheme != "trt"
        self.pairs = trainable or not self.cpu  # weights as float with Q and DQ, instead of as integers with DQ
        self.ranges = dict(plan.ranges)
        self.eight: set[str] = set()  # tensors that are 8-bit
        self.integer: set[str] = set()  # nodes that compute with integers, by first output
        self.renamed: dict[str, str] = {}  # output of a node whose activation was merged into it
        self.merged: dict[str, tuple[float, float]] = {}  # its activated output, and what the activation lets through
        self.residual: set[tuple[str, str]] = set()
        self.constants: dict[tuple[Any, ...], str] = {}
        self.initializers: list[onnx.TensorProto] = []
        self.nodes: list[onnx.NodeProto] = []

    def decide(self) -> None:
        """Find out what becomes 8-bit."""
        for node in self.graph.nodes:
            self._decide(node)
        if not self.cpu:
            self._residuals()

    def write(self) -> bytes:
        """The graph."""
        self.decide()
        for name in self.graph.inputs:
            self._step_down(name)
        for node in self.graph.nodes:
            if node.output[0] not in self.merged:
                self._emit(node)
        return self._finish()

    # What becomes 8-bit

    def _quantized(self, node: onnx.NodeProto) -> bool:
        graph, kept = self.graph, self.plan.keep_float
        chosen = graph.is_weighted(node) and node.name not in kept and graph.label(node) not in kept
        return chosen and node.input[0] in self.ranges

    def _decide(self, node: onnx.NodeProto) -> None:
        if self._quantized(node):
            self.eight.add(node.input[0])
            self.integer.add(node.output[0])
            # Gemm and MatMul can write float, and what they write is often the logits.
            if self.cpu and node.op_type == "Conv":
                self._write_eight(node)
        elif self.cpu and node.op_type in _CHAINED and self._reads_eight(node):
            self.integer.add(node.output[0])
            self._write_eight(node)
        elif self.cpu and self._passes_eight(node):
            self.integer.add(node.output[0])
            self.ranges[node.output[0]] = self.ranges[node.input[0]]
            self.eight.add(node.output[0])

    def _passes_eight(self, node: onnx.NodeProto) -> bool:
        chained = node.op_type in PASSING and node.input[0] in self.eight
        return chained and node.output[0] not in self.graph.outputs

    def _reads_eight(self, node: onnx.NodeProto) -> bool:
        known = node.output[0] in self.ranges and node.output[0] not in self.graph.outputs
        return known and all(name in self.eight for name in node.input)

    def _write_eight(self, node: onnx.NodeProto) -> None:
        output = node.output[0]
        readers = self.graph.readers[output]
        if output in self.graph.outputs:
            return
        if len(readers) == 1 and (limits := self.graph.clip_range(readers[0])) and limits[0] == 0.0:
            activated = readers[0].output[0]
            if activated not in self.graph.outputs and activated in self.ranges:
                self.merged[activated] = limits
                self.renamed[output] = activated
                high = min(max(self.ranges[activated][1], 0.0), limits[1])
                self.ranges[activated] = 0.0, high
                output = activated
        if output in self.ranges:
            self.eight.add(output)

    def _residuals(self) -> None:
        """Of an addition that follows a quantized convolution, the other branch is read in 8 bits."""
        for node in self.graph.nodes:
            if node.op_type != "Add" or any(name in self.graph.weights for name in node.input):
                continue
            fused = [self._from_weighted(name) for name in node.input]
            if not any(fused):
                continue
            skip = node.input[1] if fused[0] else node.input[0]
            if skip in self.ranges:
                self.eight.add(skip)
                self.residual.add((skip, node.output[0]))

    def _from_weighted(self, name: str) -> bool:
        maker = self.graph.maker.get(name)
        return maker is not None and maker.output[0] in self.integer and len(self.graph.readers[name]) == 1

    # Writing it

    def _emit(self, node: onnx.NodeProto) -> None:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        integer = node.output[0] in self.integer
        for place, name in enumerate(node.input):
            if name in self.eight and self._reads_step(node, name, integer):
                copy.input[place] = f"{name}/dq" if integer or self.trainable else self._float_for_good(node, name)
        if integer and self.graph.is_weighted(node):
            self._weights(node, copy)
        copy.output[0] = self.renamed.get(node.output[0], node.output[0])
        copy.name = self.graph.label(node) if self.graph.is_weighted(node) else f"n{len(self.nodes)}"
        self.nodes.append(copy)
        for name in copy.output:
            self._step_down(name)

    def _reads_step(self, node: onnx.NodeProto, name: str, integer: bool) -> bool:
        if integer or (name, node.output[0]) in self.residual:
            return True
        maker = self.graph.maker.get(name)
        # Float to float needs no rounding in between; an integer kernel has left nothing but 8 bits.
        return self.cpu and maker is not None and (maker.input[0] if name in self.merged else name) in self.integer

    def _float_for_good(self, node: onnx.NodeProto, name: str) -> str:
        """What a node that stays in float reads instead of an 8-bit tensor.

        ONNX Runtime (1.32, `WeightBiasQuantization`) quantizes a float convolution between 8-bit tensors by itself,
        with one scale for all channels, and depthwise ones do not bear that. It knows the convolution by the
        DequantizeLinear before it. A Clip without limits stands between them: it changes nothing and costs nothing.
        """
        if not (self.cpu and self.graph.is_weighted(node)):
            return f"{name}/dq"
        free = f"{node.output[0]}/float"
        self._node("Clip", [f"{name}/dq"], free)
        return free

    def _step_down(self, name: str) -> None:
        if name not in self.eight:
            return
        scale, zero = step_of(self.ranges[name], self.plan.symmetric, self.plan.activation_type)
        step = [self._constant(scale), self._constant(self.plan.activation_type(zero))]
        self._node("QuantizeLinear", [name, *step], f"{name}/q")
        self._node("DequantizeLinear", [f"{name}/q", *step], f"{name}/dq")

    def _weights(self, node: onnx.NodeProto, copy: onnx.NodeProto) -> None:
        name, axis = node.input[1], channel_axis(node)
        weight = self.graph.weights[name]
        bias = self.graph.weights[node.input[2]] if len(node.input) > 2 and node.input[2] else None
        scales = weight_scales(weight, axis, self.plan.weight_peak)
        output = copy.output[0]
        if self.pairs:
            step = [self._array(f"{output}/ws", scales), self._array(f"{output}/wz", np.zeros(len(scales), np.int8))]
            self._node("QuantizeLinear", [name, *step], f"{output}/wq", axis=axis)
            self._node("DequantizeLinear", [f"{output}/wq", *step], f"{output}/wd", axis=axis)
            copy.input[1] = f"{output}/wd"
            return
        source, _ = step_of(self.ranges[node.input[0]], self.plan.symmetric, self.plan.activation_type)
        if bias is not None:
            # A channel of next to no weight would make a bias step so small that the bias leaves 32 bits.
            scales = np.maximum(scales, np.abs(bias) / (float(source) * 2.0**30)).astype(np.float32)
        shape = [-1 if place == axis else 1 for place in range(weight.ndim)]
        integers = np.rint(weight / scales.reshape(shape)).clip(-self.plan.weight_peak, self.plan.weight_peak)
        # Zero points are left out: none is zero, for 8-bit weights and 32-bit biases alike, and 5 bytes a channel less.
        quantized = [self._array(f"{output}/w", integers.astype(np.int8)), self._array(f"{output}/ws", scales)]
        self._node("DequantizeLinear", quantized, f"{output}/wd", axis=axis)
        copy.input[1] = f"{output}/wd"
        if bias is None:
            return
        step_b = (scales * source).astype(np.float32)
        sums = np.rint(bias.astype(np.float64) / step_b).astype(np.int32)
        quantized = [self._array(f"{output}/b", sums), self._array(f"{output}/bs", step_b)]
        self._node("DequantizeLinear", quantized, f"{output}/bd", axis=0)
        copy.input[2] = f"{output}/bd"

    def _node(self, kind: str, inputs: list[str], output: str, **given: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"n{len(self.nodes)}", **given))

    def _constant(self, value: np.generic) -> str:
        """A scalar, once for all that use the same."""
        key = (value.dtype.str, value.item())
        if key not in self.constants:
            self.constants[key] = self._array(f"constant/{len(self.constants)}", np.asarray(value))
        return self.constants[key]

    def _array(self, name: str, value: np.ndarray) -> str:
        # Not ascontiguousarray: it makes scalars vectors of one, with which ONNX Runtime fuses no addition.
        self.initializers.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def _finish(self) -> bytes:
        model = onnx.ModelProto()
        model.CopyFrom(self.graph.model)
        graph = model.graph
        used = {name for node in self.nodes for name in node.input}
        kept = [tensor for tensor in graph.initializer if tensor.name in used]
        for part in (graph.node, graph.initializer, graph.value_info):
            del part[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend([*kept, *self.initializers])
        domains = {node.domain for node in graph.node}
        if self.cpu:
            domains.add("com.microsoft")  # where QLinearAdd is, which ONNX Runtime puts in for additions
        opsets = [entry for entry in model.opset_import if entry.domain in domains]
        del model.opset_import[:]
        model.opset_import.extend(opsets)
        if not self.trainable:
            _shorten(graph)
        onnx.checker.check_model(model)
        return model.SerializeToString()


def _shorten(graph: onnx.GraphProto) -> None:
    """Give tensors inside the graph names of a few letters: the long ones stand in the file several times each."""
    fixed = {value.name for value in [*graph.input, *graph.output]}
    short: dict[str, str] = {"": ""}

    def name_of(name: str) -> str:
        if name in fixed:
            return name
        return short.setdefault(name, f"t{len(short)}")

    for tensor in graph.initializer:
        tensor.name = name_of(tensor.name)
    for node in graph.node:
        for part in (node.input, node.output):
            for place, name in enumerate(part):
                part[place] = name_of(name)
