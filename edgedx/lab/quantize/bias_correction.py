"""Bias correction (Nagel et al. 2019, "Data-Free Quantization", empirical variant).

Rounding a layer's weights shifts the mean of what it puts out, the same way for every image, and such shifts add up
from layer to layer where noise would not. The shift is measured on calibration images and taken out of the bias, layer
by layer, each seeing its predecessors as they were corrected.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from edgedx.core.preprocess import PreprocessSpec, normalise
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.network.inputs import best_device

from .graph_torch import GraphModule
from .onnx_graph import Graph, with_weights
from .qdq import QuantizationPlan

_PIXELS = 1 << 20  # of all images together: each layer's outputs are held at once


@torch.inference_mode()
def correct_biases(exported: bytes, plan: QuantizationPlan, calibration: Dataset, spec: PreprocessSpec) -> bytes:
    """The FP32 network with biases that `plan` will need; for quantizing, not for running as it is.

    Layers without a bias, or that share one, and those that stay float are left as they are.

    Raises
    ------
    UnsupportedModel
        The graph has an operator that `GraphModule` does not know.
    """
    count = max(16, min(len(calibration), _PIXELS // (spec.size[0] * spec.size[1])))
    chosen = calibration.take(np.linspace(0, len(calibration) - 1, min(count, len(calibration))).astype(int))
    device = best_device()
    images = torch.from_numpy(np.concatenate([normalise(part, spec) for part in chosen.batches(64)])).to(device)
    expected: dict[str, Tensor] = {}

    def note(label: str, output: Tensor) -> Tensor:
        expected[label] = _mean(output)
        return output

    GraphModule(exported).to(device).eval()(images, note)
    shifts: dict[str, Tensor] = {}
    graph = Graph(exported)
    biases = {graph.label(node): node.input[2] for node in graph.weighted() if _has_own_bias(graph, node, plan)}

    def correct(label: str, output: Tensor) -> Tensor:
        if label not in biases or label not in expected:
            return output
        shift = expected[label] - _mean(output)
        shifts[label] = shift
        return output + (shift.view(1, -1, 1, 1) if output.ndim == 4 else shift)

    GraphModule(exported, plan).to(device).eval()(images, correct)
    return with_weights(
        exported, {biases[label]: graph.weights[biases[label]] + shift.cpu().numpy() for label, shift in shifts.items()}
    )


def _has_own_bias(graph: Graph, node, plan: QuantizationPlan) -> bool:  # type: ignore[no-untyped-def]
    if len(node.input) < 3 or node.input[2] not in graph.weights or len(graph.readers[node.input[2]]) > 1:
        return False
    return not {node.name, graph.label(node)} & plan.keep_float


def _mean(output: Tensor) -> Tensor:
    """By channel: the second axis of images, the last one of rows."""
    return output.mean(dim=(0, 2, 3)) if output.ndim == 4 else output.flatten(0, -2).mean(dim=0)
