"""FP32 ONNX to INT8 ONNX in Q/DQ form, in the scheme of the device that will run it."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from ..core.errors import GateRefused
from ..core.preprocess import PreprocessSpec, normalise
from ..core.progress import progress
from ..core.recipe import Recipe
from .dataset import Dataset
from .evaluate import auc_of_logits
from .export import run_onnx

Scheme = Literal["u8s8", "s8s8", "trt"]
_WEIGHTED_OPERATORS = ["Conv", "Gemm", "MatMul"]
_FLOATING_OPERATORS = ["Add", "GlobalAveragePool", "AveragePool", "MaxPool"]
_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}


@dataclass(frozen=True)
class Candidate:
    """One quantized model, with how far it is from FP32.

    Attributes
    ----------
    noise : float
        Root mean square difference of val logits to the FP32 model's, over the spread of those; through the kernels
        that will serve (fused for a CPU, float-simulated for TensorRT).
    """

    model: bytes
    calibrator: str
    reduce_range: bool
    noise: float
    fused: np.ndarray
    simulated: np.ndarray

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        return {"calibrator": self.calibrator, "reduce_range": self.reduce_range, "noise": round(self.noise, 4)}


def quantize(
    exported: bytes, recipe: Recipe, train: Dataset, val: Dataset, scheme: Scheme, reduce_range: list[bool]
) -> tuple[Candidate, list[dict[str, Any]]]:
    """Try each calibrator (and range), keep the one whose val logits are nearest to FP32.

    AUC on val cannot choose: it is close to 1 on many sets while logits already drift.

    Parameters
    ----------
    train : Dataset
        Calibration images are drawn from it, never from anywhere else.
    reduce_range : list of bool
        Weights of 7 bits, of 8 bits, or both tried. On x86 without VNNI, 8-bit weights can saturate the 16-bit
        sums of the U8S8 kernels.

    Returns
    -------
    Candidate
        The best one.
    list of dict
        All that were tried.
    """
    spec, options = recipe.preprocess, recipe.quantize
    rng = np.random.default_rng(recipe.train.seed)
    count = min(options.calibration_images, len(train))
    calibration = train.take(np.sort(rng.choice(len(train), count, replace=False)))
    reference = run_onnx(exported, val, spec)
    tried: list[Candidate] = []
    choices = list(product(options.calibrators, reduce_range))
    with progress(f"calibrating {scheme}", len(choices)) as bar:
        for calibrator, reduced in choices:
            model = _quantize(exported, calibration, recipe, scheme, calibrator, reduced)
            fused, simulated = run_onnx(model, val, spec), run_onnx(model, val, spec, fused=False)
            serving = simulated if scheme == "trt" else fused
            noise = float(np.sqrt(np.mean((serving - reference) ** 2)) / max(float(reference.std()), 1e-9))
            tried.append(Candidate(model, calibrator, reduced, noise, fused, simulated))
            bar.advance(1)
    best = min(tried, key=lambda candidate: candidate.noise)
    return best, [candidate.describe() for candidate in tried]


def check_fused(best: Candidate, val: Dataset, recipe: Recipe, scheme: Scheme) -> dict[str, float]:
    """Compare the fused kernels of this CPU with the graph computed in float as written.

    Raises
    ------
    GateRefused
        Val AUC falls from simulated to fused: the integer kernels saturate.
    """
    fused, simulated = (auc_of_logits(recipe.task, logits, val.labels) for logits in (best.fused, best.simulated))
    if scheme != "trt" and simulated - fused > recipe.quantize.max_fused_difference:
        raise GateRefused(
            f"INT8 kernels of this CPU lose accuracy: val AUC {simulated:.4f} computed in float, {fused:.4f} by the "
            "fused kernels. A CPU without VNNI (avx512_vnni or avx_vnni) adds U8S8 products in 16 bits, which saturate",
            next_step="quantize for this CPU with 7-bit weights: --device x86-avx2; or ship FP32",
        )
    return {"val_auc_fused": fused, "val_auc_simulated": simulated}


def _quantize(
    exported: bytes, calibration: Dataset, recipe: Recipe, scheme: Scheme, calibrator: str, reduced: bool
) -> bytes:
    trt = scheme == "trt"
    graph = onnx.load_from_string(exported)
    weighted = [node.name for node in graph.graph.node if node.op_type in _WEIGHTED_OPERATORS]
    extra: dict[str, Any] = {
        "ActivationSymmetric": scheme != "u8s8",
        "WeightSymmetric": True,
        # TensorRT wants explicit Q/DQ on weights too, and computes biases in 32 bits itself.
        "AddQDQPairToWeight": trt,
        "QuantizeBias": not trt,
        # A symmetric range would waste the half of U8 that ReLU leaves empty.
        "CalibTensorRangeSymmetric": scheme != "u8s8",
        "CalibPercentile": recipe.quantize.percentile,
        "CalibStridedMinMax": 1,  # one batch at a time: otherwise all activations of all images are held
    }
    if calibrator != "percentile":
        extra.pop("CalibPercentile")
    operators = _WEIGHTED_OPERATORS if trt else [*_WEIGHTED_OPERATORS, *_FLOATING_OPERATORS]
    if trt:
        # NVIDIA's rule: Q/DQ where weighted operators read, not where they write. A pair between convolution and
        # activation keeps TensorRT from fusing them, and rounds once more: .13 instead of .19 noise on a Lite0 student.
        extra["OpTypesToExcludeOutputQuantization"] = _WEIGHTED_OPERATORS
    logging.getLogger().setLevel(logging.ERROR)  # the quantizer logs its advice to the root logger
    chatter = contextlib.redirect_stdout(io.StringIO())  # and prints to stdout, which belongs to --json
    with tempfile.TemporaryDirectory() as folder, chatter:
        target = Path(folder) / "int8.onnx"
        quantize_static(
            graph,
            str(target),
            _Reader(calibration, recipe.preprocess),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8 if scheme == "u8s8" else QuantType.QInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=reduced,
            calibrate_method=_METHODS[calibrator],
            nodes_to_exclude=[*weighted[: recipe.quantize.float_stem], *recipe.quantize.keep_float],
            op_types_to_quantize=operators,
            extra_options=extra,
        )
        return target.read_bytes()


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds calibration images in batches, in ranges, as the strided calibrator asks."""

    def __init__(self, data: Dataset, spec: PreprocessSpec, batch: int = 32) -> None:
        self.batches = list(data.batches(batch))
        self.spec = spec
        self.queue = iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Feed batches `start_index` to `end_index` next."""
        self.queue = iter(self.batches[start_index:end_index])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Next batch, or None."""
        canvases = next(self.queue, None)
        return None if canvases is None else {"image": normalise(canvases, self.spec)}
