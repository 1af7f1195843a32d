"""How much a backbone must be pruned to be fast enough: latency of the bare structure, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgedx.core.errors import UnsupportedModel
from edgedx.core.progress import progress
from edgedx.core.settings.profile import DeviceProfile
from edgedx.core.settings.recipe import Recipe
from edgedx.core.timing import interleave
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.feed.feed import Feed
from edgedx.lab.network.backbone import build_model
from edgedx.lab.network.checkpoint import Checkpoint
from edgedx.lab.network.column_head import with_columns
from edgedx.lab.quantize.calibrate import observe
from edgedx.lab.quantize.qdq import QuantizationPlan, Scheme, write_qdq
from edgedx.lab.quantize.to_onnx import export_onnx
from edgedx.lab.train.tasks import Classify

from .prune import prune
from .start import student_backbone

_AIM = 0.93  # of the budget: the trained student's channels fall a little differently, and timing is noisy
_PROBES = 6
_CLOSE = 1.08  # bounds this near each other are as good as one


@dataclass(frozen=True)
class Probe:
    """Latency of one structure.

    Attributes
    ----------
    share : float
        Of the backbone's own multiply-accumulates.
    latency_ms : float
        P50 of one image on one thread of this machine; of the fastest variant.
    """

    share: float
    latency_ms: float


def time_models(models: Mapping[str, bytes], shape: tuple[int, ...], seconds: float) -> dict[str, float]:
    """P50 in milliseconds of one image on one thread, of several ONNX models timed by turns, `seconds` for each."""
    image = np.zeros((1, *shape), np.float32)
    with ExitStack() as stack:
        calls: dict[str, Callable[[], Any]] = {}
        for name, model in models.items():
            runner = stack.enter_context(OnnxRunner(model, threads=1))
            calls[name] = lambda runner=runner: runner.infer(image)  # type: ignore[misc]
        records = interleave(calls, min_seconds=seconds * len(models), repeats=60, threads=1)
    return {name: record.p50_ms for name, record in records.items()}


def probe(
    recipe: Recipe, teacher: Checkpoint, train: Dataset, share: float, to_int8: Callable[[bytes], bytes] | None
) -> Probe:
    """Prune the recipe's student to `share` in one step, without training, and time it.

    Parameters
    ----------
    to_int8 : callable, optional
        FP32 ONNX to INT8; the faster of both counts.

    Raises
    ------
    UnsupportedModel
        So much cannot be pruned.
    """
    spec = recipe.preprocess
    torch.manual_seed(recipe.train.seed)
    model = build_model(student_backbone(recipe, teacher), len(recipe.task.classes), spec)
    model = with_columns(model, teacher.card.columns, len(recipe.task.classes))
    if recipe.student.weights == "teacher":
        model.load_state_dict(teacher.model.state_dict())
    if share < 1:
        feed = Feed(train, recipe.task, spec, recipe.augment, batch_size=recipe.train.batch_size, sampler=False, seed=1)

        def batches(step: int) -> Iterable[tuple[Tensor, ...]]:
            return feed.batches(0, 2)

        options = recipe.student.model_copy(update={"macs": share, "steps": 1})
        prune(model, spec, options, Classify(recipe.task), batches, lambda step: None)
    exported = export_onnx(model.eval(), spec)
    models = {"fp32": exported} | ({"int8": to_int8(exported)} if to_int8 else {})
    return Probe(share, min(time_models(models, spec.input_shape, 0.7).values()))


def quick_int8(train: Dataset, recipe: Recipe, profile: DeviceProfile) -> Callable[[bytes], bytes]:
    """FP32 ONNX to INT8 by ranges of a few images: as fast as the real one, and good for nothing else."""
    few = train.take(np.arange(min(8, len(train))))
    scheme: Scheme = profile.quantization.scheme  # type: ignore[assignment]  # float is refused before

    def convert(exported: bytes) -> bytes:
        ranges = observe(exported, few, recipe.preprocess).ranges("minmax", 100.0, symmetric=scheme != "u8s8")
        return write_qdq(
            exported, QuantizationPlan(scheme, ranges, reduced=profile.quantization.reduce_range == "measure")
        )

    return convert


def share_for_latency(
    measure: Callable[[float], Probe], budget_ms: float, least: float, most: float = 1.0
) -> tuple[float | None, list[Probe]]:
    """The greatest share of multiply-accumulates whose latency is within the budget, by bisection.

    Returns
    -------
    float or None
        None where even `least` is too slow, or cannot be pruned to.
    list of Probe
        All that were measured.
    """
    aim = budget_ms * _AIM
    probes: list[Probe] = []
    good = None
    with progress("probing latency", _PROBES) as bar:
        low, high, share = least, most, most
        for _ in range(_PROBES):
            try:
                probes.append(measure(share))
            except UnsupportedModel:
                low = share
            else:
                if probes[-1].latency_ms <= aim:
                    good = low = share
                elif share == least:
                    break  # the smallest is too slow
                else:
                    high = share
            bar.advance(1)
            if high / low <= _CLOSE:
                break
            # After the whole backbone its smallest part: a budget that nothing can hold is then soon known.
            share = least if len(probes) == 1 and share == most else (low * high) ** 0.5
    return good, probes
