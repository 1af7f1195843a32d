"""FP32 ONNX to INT8 ONNX after training: calibrators compared, biases corrected, each judged by the serving kernels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch

from edgedx.core.errors import UnsupportedModel
from edgedx.core.progress import progress
from edgedx.core.settings.recipe import Recipe
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.data.predict import predict
from edgedx.lab.network.torch_runner import TorchRunner
from edgedx.lab.train.short_figures import auc_of_logits

from .bias_correction import correct_biases
from .calibrate import Observed, observe
from .graph_torch import GraphModule
from .onnx_graph import Graph
from .qdq import QuantizationPlan, Scheme, write_qdq


@dataclass(frozen=True)
class QuantizedModel:
    """One quantized model, with how far it is from FP32.

    Attributes
    ----------
    model : bytes
        Q/DQ ONNX.
    base : bytes
        The FP32 network it was written from, biases corrected or weights trained.
    logits : ndarray of shape (N, K)
        Of val, through the kernels that will serve, as far as this machine has them.
    noise : float
        Root mean square difference of `logits` to the FP32 model's, over the spread of those.
    step : str
        What made it: calibration, bias correction, exclusion, training.
    """

    model: bytes
    base: bytes
    plan: QuantizationPlan
    calibrator: str
    logits: np.ndarray
    noise: float
    auc: float
    step: str = "calibration"

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "calibrator": self.calibrator,
            "reduce_range": self.plan.reduced,
            "noise": round(self.noise, 4),
            "val_auc": round(self.auc, 5),
            "bytes": len(self.model),
        }


class Workbench:
    """What every candidate of one network is made from and judged by.

    Parameters
    ----------
    train : Dataset
        Calibration images are drawn from it, never from anywhere else.
    here : bool
        Whether this CPU's kernels are those of the device. If not, logits come from the graph computed in float as
        written: kernels that saturate here say nothing about a device whose kernels do not.
    column_logits : ndarray of shape (N, K)
        What val's columns add to the image's logits (see `lab.columns`); no rounding touches it.
    """

    def __init__(
        self,
        exported: bytes,
        recipe: Recipe,
        train: Dataset,
        val: Dataset,
        scheme: Scheme,
        *,
        here: bool = True,
        column_logits: np.ndarray | float = 0.0,
    ) -> None:
        self.exported, self.recipe, self.scheme, self.val, self.column_logits = (
            exported,
            recipe,
            scheme,
            val,
            column_logits,
        )
        self.fused = here and scheme != "trt"
        rng = np.random.default_rng(recipe.train.seed)
        count = min(recipe.quantize.calibration_images, len(train))
        self.calibration = train.take(np.sort(rng.choice(len(train), count, replace=False)))
        self.reference = predict(OnnxRunner(exported), val, recipe.preprocess) + column_logits
        self.reference_auc = auc_of_logits(recipe.task, self.reference, val.labels)
        self.graph = Graph(exported)
        self.observed: Observed = observe(exported, self.calibration, recipe.preprocess)

    def kept(self) -> frozenset[str]:
        """Layers that stay in float from the start.

        The classifier is among them: nobody waits for its few products, and behind the pooled features, which are
        float, its conversions would cost more than it wins.
        """
        options, weighted = self.recipe.quantize, self.graph.weighted()
        last = [node for node in weighted if node.output[0] == self.graph.outputs[0]]
        stem = [node for node in weighted if node.op_type == "Conv"][: options.float_stem]
        return frozenset([*options.keep_float, *(self.graph.label(node) for node in [*stem, *last])])

    def candidate(
        self, plan: QuantizationPlan, calibrator: str, step: str, base: bytes | None = None
    ) -> QuantizedModel:
        """Write and judge."""
        model = write_qdq(base or self.exported, plan)
        logits = self.ask(model, base or self.exported, plan, self.val) + self.column_logits
        noise = noise_of(logits, self.reference)
        area = auc_of_logits(self.recipe.task, logits, self.val.labels)
        return QuantizedModel(model, base or self.exported, plan, calibrator, logits, noise, area, step)

    def ask(self, model: bytes, base: bytes, plan: QuantizationPlan, data: Dataset) -> np.ndarray:
        """Logits (N, K) of a quantized graph: by the kernels that serve where they are here, else computed in float."""
        simulated = None if self.fused else self.simulate(base, plan, data)
        return (
            predict(OnnxRunner(model, fused=self.fused), data, self.recipe.preprocess)
            if simulated is None
            else simulated
        )

    def simulate(self, base: bytes, plan: QuantizationPlan, data: Dataset) -> np.ndarray | None:
        """The same, computed in float on a GPU, where there is one that can: as good as on the CPU, and faster."""
        if not torch.cuda.is_available():
            return None
        try:
            return predict(TorchRunner(GraphModule(base, plan)), data, self.recipe.preprocess)
        except UnsupportedModel:  # an operator that only ONNX Runtime knows
            return None

    def calibrate(self, reduce_range: Iterable[bool]) -> list[QuantizedModel]:
        """One candidate for each calibrator and range of weights, best first."""
        options = self.recipe.quantize
        choices = list(product(options.calibrators, reduce_range))
        found = []
        with progress(f"calibrating {self.scheme}", len(choices)) as bar:
            for calibrator, reduced in choices:
                ranges = self.observed.ranges(calibrator, options.percentile, symmetric=self.scheme == "trt")
                plan = QuantizationPlan(self.scheme, ranges, reduced, self.kept())
                found.append(self.candidate(plan, calibrator, "calibration"))
                bar.advance(1)
        return sorted(found, key=lambda candidate: candidate.noise)

    def corrected(self, candidate: QuantizedModel) -> tuple[QuantizedModel, dict[str, Any]]:
        """The candidate with its biases corrected, if that brings it nearer to FP32; and what was found."""
        try:
            base = correct_biases(self.exported, candidate.plan, self.calibration, self.recipe.preprocess)
        except UnsupportedModel as error:
            return candidate, {"kept": False, "reason": str(error)}
        other = self.candidate(candidate.plan, candidate.calibrator, candidate.step, base)
        better = other.noise < candidate.noise
        record = {"kept": better, "noise_before": round(candidate.noise, 4), "noise_after": round(other.noise, 4)}
        return (other if better else candidate), record


def noise_of(logits: np.ndarray, reference: np.ndarray) -> float:
    """Root mean square difference over the spread of the reference between images; 0.1 is a ratio of 20 dB."""
    spread = float(np.sqrt(np.mean(np.var(reference, axis=0))))
    return float(np.sqrt(np.mean((logits - reference) ** 2)) / max(spread, 1e-9))


def quantize(
    exported: bytes, recipe: Recipe, train: Dataset, val: Dataset, scheme: Scheme, reduce_range: list[bool]
) -> tuple[QuantizedModel, list[dict[str, Any]]]:
    """Try each calibrator (and range), keep the one whose val logits are nearest to FP32.

    AUC on val cannot choose: it is close to 1 on many sets while logits already drift.

    Parameters
    ----------
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
    workbench = Workbench(exported, recipe, train, val, scheme).calibrate(reduce_range)
    return workbench[0], [candidate.describe() for candidate in workbench]
