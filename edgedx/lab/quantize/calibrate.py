"""Ranges of a network's activations on calibration images: each tensor's histogram once, and several readings of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx

from edgedx.core.preprocess import PreprocessSpec, normalise
from edgedx.lab.data.dataset import Dataset

from .onnx_graph import Graph

Calibrator = Literal["minmax", "percentile", "mse"]
Ranges = Mapping[str, tuple[float, float]]
"""Least and greatest value of each tensor that 8 bits are to hold."""

_BINS = 2048
_SAMPLES = 1 << 15  # values of one tensor that one image gives to its histogram: enough, and bounded for large images


@dataclass(frozen=True)
class Histogram:
    """Values of one tensor over all calibration images: `counts` of even bins from `low` to `high`."""

    low: float
    high: float
    counts: np.ndarray

    @property
    def centres(self) -> np.ndarray:
        """Middle of each bin."""
        width = (self.high - self.low) / len(self.counts)
        return self.low + width * (np.arange(len(self.counts)) + 0.5)


@dataclass(frozen=True)
class Observed:
    """What a network does on calibration images.

    Attributes
    ----------
    histograms : dict of str to Histogram
        By tensor: the input, and every float tensor that a node writes.
    shapes : dict of str to tuple of int
        Of one image, without the batch.
    """

    histograms: dict[str, Histogram]
    shapes: dict[str, tuple[int, ...]]

    def ranges(self, calibrator: Calibrator, percentile: float, *, symmetric: bool) -> dict[str, tuple[float, float]]:
        """Ranges by one calibrator; `symmetric` where 8 bits will be spread evenly around zero."""
        return {name: _range(found, calibrator, percentile, symmetric) for name, found in self.histograms.items()}


def observe(exported: bytes, data: Dataset, spec: PreprocessSpec, batch: int = 32) -> Observed:
    """Run the FP32 network over `data`, twice: for the ends of each tensor's values, then for their histogram."""
    graph = Graph(exported)
    ends: dict[str, tuple[float, float]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for values in _activations(graph, data, spec, batch):
        for name, array in values.items():
            low, high = ends.get(name, (np.inf, -np.inf))
            ends[name] = min(low, float(array.min())), max(high, float(array.max()))
            shapes[name] = array.shape[1:]
    counts = {name: np.zeros(_BINS, np.int64) for name in ends}
    for values in _activations(graph, data, spec, batch):
        for name, array in values.items():
            low, high = ends[name]
            flat = array.reshape(-1)
            # An odd step never falls into step with rows of even length.
            flat = flat[:: max(1, flat.size // (_SAMPLES * len(array))) | 1]
            places = ((flat - low) * (_BINS / max(high - low, 1e-30))).astype(np.int64)
            counts[name] += np.bincount(places.clip(0, _BINS - 1), minlength=_BINS)
    return Observed({name: Histogram(*ends[name], counts[name]) for name in ends}, shapes)


def _activations(graph: Graph, data: Dataset, spec: PreprocessSpec, batch: int) -> Iterator[dict[str, np.ndarray]]:
    import onnxruntime as ort

    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    names = [name for node in graph.nodes for name in node.output if name]
    known = {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    asked = [output.name for output in session.get_outputs() if output.type == "tensor(float)"]
    for canvases in data.batches(batch):
        image = normalise(canvases, spec)
        values = dict(zip(asked, session.run(asked, {graph.inputs[0]: image}), strict=True))
        yield {name: array for name, array in values.items() if array.ndim and len(array) == len(image)} | {
            graph.inputs[0]: image
        }


def _range(histogram: Histogram, calibrator: Calibrator, percentile: float, symmetric: bool) -> tuple[float, float]:
    if calibrator == "minmax" or not histogram.low < histogram.high:
        return histogram.low, histogram.high
    if calibrator == "percentile":
        return _percentile(histogram, percentile)
    return _least_error(histogram, symmetric)


def _percentile(histogram: Histogram, percentile: float) -> tuple[float, float]:
    """Leave out the same share at either end, but never zero and never an end that is exact, such as that of a ReLU."""
    share = np.cumsum(histogram.counts) / histogram.counts.sum()
    cut = (100.0 - percentile) / 200.0
    edges = np.linspace(histogram.low, histogram.high, len(share) + 1)
    low = edges[int(np.searchsorted(share, cut, side="right"))]
    high = edges[min(int(np.searchsorted(share, 1.0 - cut)) + 1, len(share))]
    return float(low), float(high)


def _least_error(histogram: Histogram, symmetric: bool) -> tuple[float, float]:
    """The ends whose 256 levels have the least mean square error: fine levels against what is cut off."""
    shares = np.linspace(1.0, 0.3, 29)
    lows = [0.0] if histogram.low >= 0 else [histogram.low * share for share in shares]
    highs = [0.0] if histogram.high <= 0 else [histogram.high * share for share in shares]
    if symmetric:
        peak = max(abs(histogram.low), abs(histogram.high))
        pairs = [(-peak * share, peak * share) for share in shares]
    else:
        pairs = [(low, high) for low in lows for high in highs]
    errors = [_error(histogram, low, high, 254 if symmetric else 255) for low, high in pairs]
    low, high = pairs[int(np.argmin(errors))]
    return max(low, histogram.low), min(high, histogram.high)


def _error(histogram: Histogram, low: float, high: float, steps: int) -> float:
    step = max(high - low, 1e-30) / steps
    values = histogram.centres
    rounded = np.round((values.clip(low, high) - low) / step) * step + low
    return float(histogram.counts @ (values - rounded) ** 2)
