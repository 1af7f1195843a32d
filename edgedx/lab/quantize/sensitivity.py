"""Which layers do not bear 8 bits: one at a time back in float, then the best bargains until the budget holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgedx.core.progress import progress
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.lab.data.predict import predict

from .qdq import QuantizationPlan, write_qdq
from .workbench import QuantizedModel, Workbench, noise_of

_IMAGES = 128  # of val, for one layer at a time; the set that is chosen is judged on all of val
_SMALLEST_COST = 1e-3  # conversions around a layer cost something, however few products it has


@dataclass(frozen=True)
class Bargain:
    """One layer, back in float.

    Attributes
    ----------
    gain : float
        Noise power that goes, as a share of all there was; negative where noise grows.
    cost : float
        Its share of all multiply-accumulates.
    """

    layer: str
    gain: float
    cost: float

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        return {"layer": self.layer, "gain": round(self.gain, 4), "cost": round(self.cost, 5)}

    def sentence(self) -> str:
        """For people."""
        return f"kept in float: {self.layer} (noise power {-self.gain:+.0%}, {self.cost:.1%} of multiply-accumulates)"


def by_value(bargains: list[Bargain]) -> list[Bargain]:
    """Those that gain anything, the most gain for its cost first."""
    worth = [bargain for bargain in bargains if bargain.gain > 0]
    return sorted(worth, key=lambda bargain: -bargain.gain / max(bargain.cost, _SMALLEST_COST))


def sensitivities(bench: Workbench, candidate: QuantizedModel) -> list[Bargain]:
    """Drop one at a time: each quantized layer of `candidate` back in float, all others as they are.

    Drop-one measures a layer among its neighbours' rounding, as it will run; a layer alone in 8 bits would be blamed
    for errors that others hide.
    """
    some = bench.val.take(np.linspace(0, len(bench.val) - 1, min(_IMAGES, len(bench.val))).astype(int))
    spec, graph, kept = bench.recipe.preprocess, bench.graph, candidate.plan.keep_float
    reference = predict(OnnxRunner(bench.exported), some, spec)
    layers = [node for node in graph.weighted() if not {node.name, graph.label(node)} & kept]
    macs = {graph.label(node): graph.macs(node, bench.observed.shapes) for node in graph.weighted()}
    total = max(sum(macs.values()), 1)

    def power(plan: QuantizationPlan) -> float:
        logits = bench.simulate(bench.exported, plan, some)  # the order of bargains is the same
        if logits is None:
            logits = predict(OnnxRunner(write_qdq(bench.exported, plan), fused=bench.fused), some, spec)
        return noise_of(logits, reference) ** 2

    # From uncorrected biases: a layer back in float must not keep a bias that was meant to undo its rounding.
    before = power(candidate.plan)
    found = []
    with progress("sensitivity of layers", len(layers)) as bar:
        for node in layers:
            label = graph.label(node)
            after = power(candidate.plan.keeping([label]))
            found.append(Bargain(label, (before - after) / max(before, 1e-12), macs[label] / total))
            bar.advance(1)
    return found


def exclude(
    bench: Workbench, candidate: QuantizedModel, holds: Callable[[QuantizedModel], bool]
) -> tuple[QuantizedModel, dict[str, Any]]:
    """Layers back to float, best bargains first, until `holds`, or until ``max_float_share`` is spent.

    Returns
    -------
    Candidate
        The first that holds; else the one nearest to FP32.
    dict
        Every layer's gain and cost, what was chosen, and sentences for people.
    """
    found = sensitivities(bench, candidate)
    limit = bench.recipe.quantize.max_float_share
    chosen: list[Bargain] = []
    best, kept = candidate, 0
    for bargain in by_value(found):
        if sum(one.cost for one in chosen) + bargain.cost > limit:
            continue
        chosen.append(bargain)
        # Biases were corrected for the rounding of all layers: with fewer rounded, both ways are tried.
        plan = candidate.plan.keeping([one.layer for one in chosen])
        trial = bench.candidate(plan, candidate.calibrator, "exclusion")
        if bench.recipe.quantize.bias_correction:
            trial, _ = bench.corrected(trial)
        if trial.noise < best.noise:
            best, kept = trial, len(chosen)
        if holds(best):
            break
    record = {
        "layers": [bargain.describe() for bargain in found],
        "kept_in_float": [bargain.describe() for bargain in chosen[:kept]],
        "said": [bargain.sentence() for bargain in chosen[:kept]],
        "noise_before": round(candidate.noise, 4),
        "noise_after": round(best.noise, 4),
        "float_share": round(sum(bargain.cost for bargain in chosen[:kept]), 4),
    }
    return best, record
