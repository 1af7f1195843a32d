"""An ONNX graph as a torch module: the very graph that ships, made trainable, Q/DQ pairs as fake quantization.

Training the exported graph instead of the torch model needs no batch-norm folding and no guess where a quantizer
belongs: what is trained is what `write_qdq` writes, node by node, for every scheme and every backbone alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgedx.core.errors import UnsupportedModel

from .fake_quant import FakeQuantActivation, FakeQuantWeight
from .onnx_graph import WEIGHTED, Graph, attributes
from .qdq import PASSING, QuantizationPlan, eight_bit_tensors, write_qdq

Watch = Callable[[str, Tensor], Tensor]
"""Called with label and output of each weighted node; what it returns takes the output's place."""


@dataclass(frozen=True)
class _Step:
    kind: str
    inputs: tuple[str, ...]
    output: str
    given: dict[str, Any]
    label: str  # of a weighted node; else empty
    done: tuple[str, ...]  # tensors that nobody reads any more


class GraphModule(nn.Module):
    """Runs an exported graph in torch, quantized by `plan` where one is given.

    Parameters
    ----------
    exported : bytes
        FP32 ONNX from `export_onnx`.
    plan : QuantizationPlan, optional
        Quantizes as `write_qdq` would.
    extremes : mapping, optional
        Least and greatest value that calibration saw, by tensor; for ranges that follow the training.
    follow : int
        Steps in training during which they do.

    Raises
    ------
    UnsupportedModel
        The graph has an operator that is not known here.
    """

    def __init__(
        self,
        exported: bytes,
        plan: QuantizationPlan | None = None,
        *,
        extremes: Mapping[str, tuple[float, float]] | None = None,
        follow: int = 0,
    ) -> None:
        super().__init__()
        graph = Graph(write_qdq(exported, plan, trainable=True) if plan else exported)
        eight = eight_bit_tensors(exported, plan) if plan else {}
        self.input, self.output = graph.inputs[0], graph.outputs[0]
        self.fake = nn.ModuleDict()
        self.tensors = nn.ParameterDict()
        self.constants: dict[str, np.ndarray] = {}
        self.known: dict[str, str] = {}  # initializer -> key of its parameter
        self.fixed: dict[str, str] = {}  # initializer -> name of its buffer
        self.steps: list[_Step] = []
        self.quantizes: dict[str, str] = {}  # key of a fake quantizer -> tensor whose range it holds
        last = {name: place for place, node in enumerate(graph.nodes) for name in node.input}
        for place, node in enumerate(graph.nodes):
            done = tuple(name for name in node.input if last[name] == place and name not in graph.weights)
            kind, inputs, label = node.op_type, tuple(node.input), ""
            if kind == "QuantizeLinear":
                kind, inputs = "Fake", (node.input[0], f"f{place}")
                if node.input[0] in graph.weights:
                    assert plan is not None
                    self.fake[inputs[1]] = FakeQuantWeight(int(attributes(node)["axis"]), plan.weight_peak)
                elif _rounded_already(graph, node.input[0]):
                    self.fake[inputs[1]] = nn.Identity()
                else:
                    assert plan is not None
                    tensor = eight[node.input[0]]
                    seen = (extremes or {}).get(node.input[0], tensor.ends)
                    self.fake[inputs[1]] = FakeQuantActivation(
                        tensor, seen, plan.activation_type, plan.symmetric, follow
                    )
                    self.quantizes[inputs[1]] = node.input[0]
            elif kind == "DequantizeLinear":
                kind, inputs = "Identity", inputs[:1]
            elif kind not in OPERATORS:
                raise UnsupportedModel(
                    f"quantization-aware training does not know the ONNX operator {kind}",
                    next_step="--set quantize.qat=never",
                )
            elif kind in WEIGHTED:
                label = node.name if plan else graph.label(node)
            for position, name in enumerate(inputs):
                self._hold(graph, name, node.op_type, position)
            self.steps.append(_Step(kind, inputs, node.output[0], attributes(node), label, done))

    def _hold(self, graph: Graph, name: str, reader: str, position: int) -> None:
        """Keep an initializer: a parameter where training may change it, else a buffer or a constant."""
        if name not in graph.weights or {name} & {*self.known, *self.fixed, *self.constants}:
            return
        value = graph.weights[name]
        if value.dtype != np.float32 or value.ndim == 0 or reader == "Clip":
            self.constants[name] = value
        elif reader == "BatchNormalization" and position > 2:  # running statistics
            self.fixed[name] = f"b{len(self.fixed)}"
            self.register_buffer(self.fixed[name], torch.from_numpy(value.copy()))
        else:
            self.known[name] = f"p{len(self.known)}"
            self.tensors[self.known[name]] = nn.Parameter(torch.from_numpy(value.copy()))

    def forward(self, images: Tensor, watch: Watch | None = None) -> Tensor:
        """Logits (N, K) of images (N, C, H, W)."""
        values: dict[str, Any] = {"": None, self.input: images, **self.constants}
        values |= {name: self.tensors[key] for name, key in self.known.items()}
        values |= {name: getattr(self, key) for name, key in self.fixed.items()}
        for step in self.steps:
            if step.kind == "Fake":
                result = self.fake[step.inputs[1]](values[step.inputs[0]])
            else:
                result = OPERATORS[step.kind](*[values[name] for name in step.inputs], given=step.given)
            if watch is not None and step.label:
                result = watch(step.label, result)
            if step.output == self.output:
                assert isinstance(result, Tensor)
                return result
            values[step.output] = result
            for name in step.done:
                values.pop(name, None)
        raise UnsupportedModel("the graph never writes its logits")

    def weights(self) -> dict[str, np.ndarray]:
        """Parameters by the name of their initializer."""
        return {name: self.tensors[key].detach().cpu().numpy() for name, key in self.known.items()}

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Range of each quantized tensor as it is now."""
        found: dict[str, tuple[float, float]] = {}
        for key, name in self.quantizes.items():
            quantizer = self.fake[key]
            assert isinstance(quantizer, FakeQuantActivation)
            found[name] = quantizer.ends
        return found

    def get_classifier(self) -> nn.Module:
        """For the training loop, which may freeze all but the classifier; here nothing is ever frozen."""
        return self.tensors

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """For timm: one group of layers, because the learning rate is the same for all of them."""
        return {"stem": r"^nothing", "blocks": r"^tensors\.p(\d+)"}


def _rounded_already(graph: Graph, name: str) -> bool:
    """Whether a tensor holds the same 8-bit numbers as another, only elsewhere, and so has that one's range."""
    maker = graph.maker.get(name)
    return maker is not None and maker.op_type in PASSING and maker.input[0].endswith("/dq")


def _conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, given: dict[str, Any]) -> Tensor:
    x, padding = _pad(x, given)
    strides, dilations = given.get("strides", [1, 1]), given.get("dilations", [1, 1])
    return F.conv2d(x, weight, bias, strides, padding, dilations, given.get("group", 1))


def _pad(x: Tensor, given: dict[str, Any], value: float = 0.0) -> tuple[Tensor, list[int]]:
    if given.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise UnsupportedModel(f"quantization-aware training does not know auto_pad {given['auto_pad']!r}")
    top, left, bottom, right = given.get("pads", [0, 0, 0, 0])
    if (top, left) == (bottom, right):
        return x, [top, left]
    return F.pad(x, (left, right, top, bottom), value=value), [0, 0]


def _gemm(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, given: dict[str, Any]) -> Tensor:
    return F.linear(x, weight if given.get("transB", 0) else weight.t(), bias)


def _clip(x: Tensor, low: Any = None, high: Any = None, *, given: dict[str, Any]) -> Tensor:
    return x.clamp(None if low is None else float(low), None if high is None else float(high))


def _reduce_mean(x: Tensor, axes: Any = None, *, given: dict[str, Any]) -> Tensor:
    places = given.get("axes") if axes is None else [int(axis) for axis in axes]
    return x.mean(dim=places, keepdim=bool(given.get("keepdims", 1)))


def _average_pool(x: Tensor, *, given: dict[str, Any]) -> Tensor:
    counts = bool(given.get("count_include_pad", 0))
    top, left, bottom, right = given.get("pads", [0, 0, 0, 0])
    if (top, left) != (bottom, right) or given.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise UnsupportedModel("quantization-aware training does not know an AveragePool with uneven padding")
    shape, ceil = given["kernel_shape"], bool(given.get("ceil_mode", 0))
    return F.avg_pool2d(x, shape, given.get("strides", [1, 1]), [top, left], ceil, counts)


def _max_pool(x: Tensor, *, given: dict[str, Any]) -> Tensor:
    x, padding = _pad(x, given, -float("inf"))
    ceil = bool(given.get("ceil_mode", 0))
    return F.max_pool2d(x, given["kernel_shape"], given.get("strides", [1, 1]), padding, ceil_mode=ceil)


def _reshape(x: Tensor, shape: np.ndarray, *, given: dict[str, Any]) -> Tensor:
    kept = not given.get("allowzero", 0)
    sides = [x.shape[place] if side == 0 and kept else int(side) for place, side in enumerate(shape)]
    return x.reshape(sides)


def _batch_norm(x: Tensor, *values: Tensor, given: dict[str, Any]) -> Tensor:
    scale, bias, mean, variance = values
    return F.batch_norm(x, mean, variance, scale, bias, False, 0.0, given.get("epsilon", 1e-5))


def _layer_norm(x: Tensor, scale: Tensor, bias: Tensor | None = None, *, given: dict[str, Any]) -> Tensor:
    return F.layer_norm(x, x.shape[given.get("axis", -1) :], scale, bias, given.get("epsilon", 1e-5))


def _gelu(x: Tensor, *, given: dict[str, Any]) -> Tensor:
    return F.gelu(x, approximate=given.get("approximate", b"none").decode())


def _hard_sigmoid(x: Tensor, *, given: dict[str, Any]) -> Tensor:
    return (x * given.get("alpha", 0.2) + given.get("beta", 0.5)).clamp(0.0, 1.0)


def _plain(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(*inputs: Any, given: dict[str, Any]) -> Tensor:
        # scalars among the constants are numpy's
        return function(*[float(value) if isinstance(value, np.ndarray) else value for value in inputs])

    return run


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _plain(torch.matmul),
    "Relu": _plain(F.relu),
    "Clip": _clip,
    "Add": _plain(lambda x, y: x + y),
    "Sub": _plain(lambda x, y: x - y),
    "Mul": _plain(lambda x, y: x * y),
    "Div": _plain(lambda x, y: x / y),
    "Pow": _plain(lambda x, y: x**y),
    "Sqrt": _plain(torch.sqrt),
    "Sigmoid": _plain(torch.sigmoid),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _plain(F.hardswish),
    "Tanh": _plain(torch.tanh),
    "Erf": _plain(torch.erf),
    "Gelu": _gelu,
    "Identity": _plain(lambda x: x),
    "ReduceMean": _reduce_mean,
    "GlobalAveragePool": _plain(lambda x: x.mean(dim=(2, 3), keepdim=True)),
    "AveragePool": _average_pool,
    "MaxPool": _max_pool,
    "Reshape": _reshape,
    "Flatten": lambda x, *, given: x.flatten(given.get("axis", 1)),
    "Transpose": lambda x, *, given: x.permute(given["perm"]),
    "Concat": lambda *parts, given: torch.cat(parts, dim=given["axis"]),
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
}
