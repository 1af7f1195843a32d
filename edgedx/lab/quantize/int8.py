"""FP32 student to the INT8 model that may ship: calibration, bias correction, layers back to float, training; each
step only where the ones before it miss the budget, and kept only where it brings the model nearer to what it copies.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgedx.core.errors import UnsupportedModel
from edgedx.core.settings.recipe import Recipe
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.data.predict import predict
from edgedx.lab.network.checkpoint import Checkpoint
from edgedx.lab.network.column_head import ColumnHead, head_logits
from edgedx.lab.network.torch_runner import TorchRunner
from edgedx.lab.train.short_figures import auc_of_logits

from .kernels import check_fused
from .qat import train_aware
from .qdq import Scheme
from .sensitivity import exclude
from .workbench import QuantizedModel, Workbench, noise_of


@dataclass(frozen=True)
class NoiseBudget:
    """What must hold on val.

    Attributes
    ----------
    auc : float
        Least AUC: that of the FP32 student or of the teacher, whichever is higher, less ``gate.max_auc_drop``.
    noise : float
        Greatest noise against the FP32 student. AUC on val hides what a shifted test set shows.
    """

    auc: float
    noise: float

    def holds(self, candidate: QuantizedModel) -> bool:
        """Whether a candidate keeps to it."""
        return candidate.auc >= self.auc and candidate.noise <= self.noise

    def missed(self, candidate: QuantizedModel) -> str:
        """By how much a candidate misses it, in words; empty where it holds."""
        said = []
        if candidate.auc < self.auc:
            said.append(f"val AUC {candidate.auc:.4f} is below {self.auc:.4f}")
        if candidate.noise > self.noise:
            said.append(f"noise {candidate.noise:.3f} is above {self.noise:g}")
        return " and ".join(said)


def make_int8(
    exported: bytes,
    recipe: Recipe,
    teacher: Checkpoint,
    train: Dataset,
    val: Dataset,
    scheme: Scheme,
    reduce_range: list[bool],
    state: Path,
    *,
    here: bool = True,
    head: ColumnHead | None = None,
) -> tuple[QuantizedModel, dict[str, Any]]:
    """Quantize an exported student as its recipe says.

    Parameters
    ----------
    exported : bytes
        FP32 ONNX from `export_onnx`.
    reduce_range : list of bool
        See `quantize`.
    state : Path
        Where training keeps what a killed run continues from; the caller removes it when the result stands.
    here : bool
        Whether this CPU's kernels are those of the device.
    head : ColumnHead, optional
        Of a student with columns. It stays as it is, in float: candidates are image graphs, judged with what it adds.

    Returns
    -------
    Candidate
        The one to keep.
    dict
        What was tried, step by step, with the budget and by how much it is missed, if it is.

    Raises
    ------
    GateRefused
        The kernels of this CPU saturate.
    """
    options = recipe.quantize
    column_logits = head_logits(head, val.columns)
    bench = Workbench(exported, recipe, train, val, scheme, here=here, column_logits=column_logits)
    guide = predict(TorchRunner(teacher.model), val, recipe.preprocess)
    guide_auc = auc_of_logits(recipe.task, guide, val.labels)
    budget = NoiseBudget(max(bench.reference_auc, guide_auc) - recipe.gate.max_auc_drop, options.max_noise)
    tried = bench.calibrate(reduce_range)
    best = tried[0]
    record: dict[str, Any] = {
        "scheme": scheme,
        "tried": [candidate.describe() for candidate in tried],
        "budget": {"val_auc": round(budget.auc, 5), "noise": budget.noise},
        "kept_in_float": sorted(bench.kept()),
    }
    if options.bias_correction:
        best, record["bias_correction"] = bench.corrected(best)
    if not budget.holds(best) and options.max_float_share:
        best, record["exclusion"] = exclude(bench, best, budget.holds)
    if options.qat == "always" or (options.qat == "auto" and not budget.holds(best)):
        best, record["qat"] = _train(bench, best, teacher, guide, train, state, head)
    record["kept_in_float"] = sorted(best.plan.keep_float)
    trained = best.step == "training"
    # A trained network has weights of its own: noise against the FP32 student no longer tells rounding from learning.
    missed = NoiseBudget(budget.auc, float("inf") if trained else budget.noise).missed(best)
    record |= {"chosen": best.describe() | {"step": best.step}, "missed": missed}
    return best, record | check_fused(best, val, recipe, scheme, here=here, column_logits=column_logits)


def _train(
    bench: Workbench,
    start: QuantizedModel,
    teacher: Checkpoint,
    guide: np.ndarray,
    train: Dataset,
    state: Path,
    head: ColumnHead | None,
) -> tuple[QuantizedModel, dict[str, Any]]:
    """Train on, and keep it where it is nearer to the teacher without ranking val any worse."""
    try:
        trained, outcome = train_aware(bench, start, teacher, train, state, head)
    except UnsupportedModel as error:
        return start, {"kept": False, "reason": str(error)}
    before, after = noise_of(start.logits, guide), noise_of(trained.logits, guide)
    kept = after < before and trained.auc >= start.auc - 0.001
    record = {
        "kept": kept,
        "distance_to_teacher_before": round(before, 4),
        "distance_to_teacher_after": round(after, 4),
        "val_auc_before": round(start.auc, 5),
        "val_auc_after": round(trained.auc, 5),
        "epochs": bench.recipe.quantize.qat_epochs,
        "history": outcome.history,
    }
    return (trained if kept else start), record
