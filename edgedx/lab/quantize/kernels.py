"""Whether the integer kernels of this CPU compute what the graph says, or saturate."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgedx.core.errors import GateRefused
from edgedx.core.settings.profile import VNNI
from edgedx.core.settings.recipe import Recipe
from edgedx.core.stats.metrics import Interval
from edgedx.core.stats.resample import draw
from edgedx.device.machine.hardware import read_hardware
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.data.predict import predict
from edgedx.lab.train.short_figures import area_of_logits, auc_of_logits

from .qdq import Scheme
from .workbench import QuantizedModel, noise_of


def check_fused(
    best: QuantizedModel,
    val: Dataset,
    recipe: Recipe,
    scheme: Scheme,
    *,
    here: bool = True,
    column_logits: np.ndarray | float = 0.0,
) -> dict[str, Any]:
    """Compare the fused kernels of this CPU with the graph computed in float as written.

    Raises
    ------
    GateRefused
        The kernels lose more AUC than ``quantize.max_fused_difference``, and more than chance among so few images of
        val explains (95 % interval over patients).
    """
    logits = predict(OnnxRunner(best.model, fused=False), val, recipe.preprocess) + column_logits
    simulated = auc_of_logits(recipe.task, logits, val.labels)
    if scheme == "trt" or not here:
        return {"val_auc_simulated": simulated, "kernels": "not of this machine; the device proves its own on install"}
    figures: dict[str, Any] = {"val_auc_fused": best.auc, "val_auc_simulated": simulated}
    if simulated - best.auc <= recipe.quantize.max_fused_difference:
        return figures
    pair = {"simulated": logits, "fused": best.logits}
    areas = draw({name: area_of_logits(recipe.task, one, val.labels) for name, one in pair.items()}, val.patients)
    loss = areas["simulated"].minus(areas["fused"]).interval()
    if loss.low > 0:
        raise _refusal(simulated, best.auc, loss)
    noise = noise_of(best.logits, logits)
    told = (
        f"lose {loss} AUC against the same graph in float, which {len(val)} images of val do not tell from chance; "
        f"logits differ by {noise:.3f} of their spread"
    )
    return figures | {"kernels": told}


def _refusal(simulated: float, fused: float, loss: Interval) -> GateRefused:
    """The cause that this CPU has, and what to do about it."""
    if VNNI & set(read_hardware().cpu.features):
        cause = "This CPU has VNNI, so saturated sums are not the reason"
        remedy = "use FP32 (--no-int8), and report it with the backbone and the version of ONNX Runtime"
    else:
        cause = "This CPU has no VNNI (avx512_vnni or avx_vnni): it adds U8S8 products in 16 bits, which saturate"
        remedy = "quantize for this CPU with 7-bit weights: --device x86-avx2; or use FP32 (--no-int8)"
    return GateRefused(
        f"INT8 kernels of this CPU lose accuracy: val AUC {simulated:.4f} computed in float, {fused:.4f} by the fused "
        f"kernels, a loss of {loss}. {cause}",
        next_step=remedy,
    )
