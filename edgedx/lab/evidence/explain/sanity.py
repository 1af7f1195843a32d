"""Sanity check (Adebayo et al. 2018): a map that stays as it is with random weights says nothing of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgedx.core.preprocess import Canvas
from edgedx.core.stats.metrics import Interval
from edgedx.lab.evidence.parts import NOTHING_KEPT, Arrays, Parts
from edgedx.lab.network.torch_runner import TorchRunner

from .cut import STAGES
from .fidelity import alike, means
from .methods import METHODS, Advance, NoMap, heat_maps
from .models import Explainable

DRAWS = 2
"""Random networks: by chance alone one may look where the trained one does."""
LIMIT = 0.5
"""Rank correlation to the trained network's map that all weights random must stay below, with 95 % confidence."""


@dataclass(frozen=True)
class Sanity:
    """What became of one method's maps of one model.

    Attributes
    ----------
    stages : list of (str, dict of str to Interval)
        What was random, and ``spearman``, ``shared``, ``iou`` and ``ssim`` to the trained network's maps.
    """

    model: str
    method: str
    stages: list[tuple[str, dict[str, Interval]]]

    @property
    def passes(self) -> bool:
        """Whether the maps depend on what the network learned."""
        return self.stages[-1][1]["spearman"].high < LIMIT

    @property
    def sentence(self) -> str:
        """Plain words."""
        left = self.stages[-1][1]["spearman"]
        text = f"{METHODS[self.method].title} of {self.model}: with all weights random its maps keep a rank correlation"
        end = "passes: maps depend on what was learned" if self.passes else "fails: maps show the image, not the model"
        return f"{text} of {left} (limit {LIMIT}); {end}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        stages = [
            {"random": name, **{key: value.to_dict() for key, value in results.items()}}
            for name, results in self.stages
        ]
        return {"model": self.model, "method": self.method, "stages": stages, "passes": self.passes,
                "sentence": self.sentence}  # fmt: skip


def check(
    model: Explainable,
    methods: Sequence[str],
    canvases: Canvas,
    classes: np.ndarray,
    patients: Sequence[str],
    *,
    resamples: int,
    seed: int,
    advance: Advance,
    parts: Parts = NOTHING_KEPT,
) -> list[Sanity]:
    """Randomize a checkpoint from the head down, and compare each method's maps with those of the trained network."""
    import torch

    from .cut import cascade

    inputs = torch.from_numpy(model.inputs(canvases)).to(next(model.cut.parameters()).device)
    trained = {}
    for method in methods:
        try:
            trained[method] = heat_maps(model, method, canvases, classes, seed=seed, advance=advance)
        except NoMap:  # told where the maps themselves are made
            continue
    results: dict[tuple[str, str], list[dict[str, np.ndarray]]] = {}
    for number in range(DRAWS):
        for stage, cut in cascade(model.cut, inputs, seed + number):
            random = replace(model, cut=cut, runner=TorchRunner(cut, next(cut.parameters()).device))
            for method, maps in trained.items():

                def compare(model: Explainable = random, method: str = method, maps: np.ndarray = maps) -> Arrays:
                    other = heat_maps(model, method, canvases, classes, seed=seed, advance=advance)
                    return {**alike(maps, other), "ssim": ssim(maps, other)}

                kept = parts.arrays(f"sanity {model.name} {method} {number} {stage}", compare)
                results.setdefault((method, stage), []).append(kept)
    return [
        Sanity(
            model.name,
            method,
            [(stage, means(_over_draws(results[method, stage]), patients, resamples=resamples, seed=seed))
             for stage in STAGES],
        )
        for method in trained
    ]  # fmt: skip


def _over_draws(draws: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The mean of each image's figures over the random networks; NaN only where all are."""
    merged = {}
    for key in draws[0]:
        values = np.stack([one[key] for one in draws])
        known = np.isfinite(values).sum(axis=0)
        total = np.nansum(values, axis=0)
        merged[key] = np.divide(total, known, out=np.full(total.shape, np.nan), where=known > 0)
    return merged


def ssim(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Structural similarity (Wang et al. 2004) of maps as shown: positive parts, each against its strongest place.

    Both of shape (N, H, W), to (N,); 1 is the same picture.
    """
    from skimage.metrics import structural_similarity

    def shown(one: np.ndarray) -> np.ndarray:
        positive = np.clip(one, 0, None)
        return positive / max(float(positive.max()), 1e-12)

    return np.array(
        [structural_similarity(shown(a), shown(b), data_range=1.0) for a, b in zip(left, right, strict=True)]
    )
