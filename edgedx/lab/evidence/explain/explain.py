"""`edgedx explain`: heat maps of several models on the same images, how alike they are, and what they are worth."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgedx import __version__
from edgedx.core.errors import UsageError
from edgedx.core.files import sha256_bytes
from edgedx.core.progress import progress
from edgedx.core.stats.metrics import Interval
from edgedx.core.stats.resample import RESAMPLES
from edgedx.lab.evidence.parts import NOTHING_KEPT, Parts, digest_of
from edgedx.lab.judge.subject import Subject

from .curves import Curves, curves, random_maps
from .cut import STAGES
from .fidelity import CHANCE, alike, means
from .images import ExplainedImages
from .methods import NoMap, heat_maps, places_of, require
from .models import Explainable, classes_to_explain, opened
from .pointing import border_cannot_tell, in_regions, on_border
from .regions import Regions
from .sanity import DRAWS, Sanity, check

CONTROL = "random"
MOST_CURVES, MOST_SANITY = 100, 16
"""Images of the curves and of the sanity check, which ask a model some hundred times about each."""

Key = tuple[str, str]
"""Model and method."""


@dataclass
class Explanation:
    """Everything found.

    Attributes
    ----------
    maps : dict of (model, method) to ndarray of shape (N, H, W)
    grids : dict of (model, method) to (int, int)
        Rows and columns of maps that are coarser than the image.
    missing : dict of (model, method) to reason
    alike : dict of (model, method) to dict of str to ndarray of shape (N,)
        Of all models but the first, against the first.
    others : dict of method to dict of str to ndarray of shape (N,)
        The first model's maps against its own maps of other images.
    border : dict of (model, method) to ndarray of shape (N,)
        Share of each map's weight on the border ring; of maps that could not tell there is none.
    regions : Regions or None
        Where the finding is, as far as that is known.
    pointing : dict of (model, method) to dict of str to ndarray of shape (N,)
        See `pointing.in_regions`; empty without regions.
    curves : dict of (model, method) to Curves
        Of the first images; each model has the control too.
    """

    images: ExplainedImages
    subjects: list[Subject]
    names: list[str]
    methods: list[str]
    wanted: str | None
    classes: np.ndarray
    probabilities: list[np.ndarray]
    places: list[tuple[int, int] | None]
    seed: int
    resamples: int
    maps: dict[Key, np.ndarray] = field(default_factory=dict)
    grids: dict[Key, tuple[int, int]] = field(default_factory=dict)
    missing: dict[Key, str] = field(default_factory=dict)
    alike: dict[Key, dict[str, np.ndarray]] = field(default_factory=dict)
    others: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    border: dict[Key, np.ndarray] = field(default_factory=dict)
    regions: Regions | None = None
    pointing: dict[Key, dict[str, np.ndarray]] = field(default_factory=dict)
    curves: dict[Key, Curves] = field(default_factory=dict)
    sanity: list[Sanity] = field(default_factory=list)
    seconds: float = 0.0

    def means(self, values: dict[str, np.ndarray]) -> dict[str, Interval]:
        """Means over the images that `values` is of, the first ones."""
        count = len(next(iter(values.values())))
        return means(values, self.images.patients[:count], resamples=self.resamples, seed=self.seed)

    def random_weights(self, method: str) -> dict[str, Interval] | None:
        """What the first model's maps have in common with those of the same network that learned nothing."""
        for one in self.sanity:
            if (one.model, one.method) == (self.names[0], method):
                return {name: value for name, value in one.stages[-1][1].items() if name in CHANCE}
        return None

    def above_others(self, key: Key) -> Interval | None:
        """By how much a map is more alike to the first model's than that one's own map of another image is.

        Rank correlations, paired; not above 0 means that nothing is shown, however high the correlation itself is.
        """
        if (others := self.others.get(key[1])) is None:
            return None
        return self.means({"above": self.alike[key]["spearman"] - others["spearman"]})["above"]

    def gains(self, key: Key) -> dict[str, Interval]:
        """By how much a method's curves are better than the control's on the same images; above 0 is better."""
        areas, blind = self.curves[key].areas(), self.curves[key[0], CONTROL].areas()
        return self.means(
            {
                "deletion_gain": blind["deletion"] - areas["deletion"],
                "insertion_gain": areas["insertion"] - blind["insertion"],
            }
        )


def explain(
    subjects: Sequence[Subject],
    images: ExplainedImages,
    methods: Sequence[str],
    *,
    wanted: str | None = None,
    regions: Regions | None = None,
    device: str = "cpu",
    seed: int = 0,
    resamples: int = RESAMPLES,
    parts: Parts = NOTHING_KEPT,
) -> Explanation:
    """Make all maps, compare them with the first model's, delete and insert by them, and randomize weights.

    Parameters
    ----------
    wanted : str, optional
        The class to explain; what the first model decides on each image unless given.
    regions : Regions, optional
        Of the same images, see `regions_of`: maps are judged by whether they point there.
    parts : Parts
        Where results are kept as they come; see `parts_of`.

    Raises
    ------
    UsageError
        No such class, or the models do not answer the same question.
    DependencyMissing
        A library is not installed.
    """
    require(methods)
    if wanted is not None and wanted not in subjects[0].classes:
        raise UsageError(f"no class {wanted!r}", next_step=f"the classes are {', '.join(subjects[0].classes)}")
    begun, few = time.perf_counter(), min(len(images), MOST_CURVES)
    sanity = min(len(images), MOST_SANITY)
    with opened(subjects, device) as models:
        probabilities = [model.probabilities(images.canvases) for model in models]
        explanation = Explanation(
            images=images,
            subjects=list(subjects),
            names=[model.name for model in models],
            methods=list(methods),
            wanted=wanted,
            classes=classes_to_explain(models[0], probabilities[0], wanted),
            probabilities=probabilities,
            places=[None if model.cut is None else model.cut.places for model in models],
            seed=seed,
            resamples=resamples,
            regions=regions,
        )
        networks = [model for model in models if model.cut is not None]
        steps = len(models) * (len(methods) * (len(images) + few) + few)
        steps += len(networks) * len(methods) * sanity * (1 + len(STAGES) * DRAWS)
        with progress("explaining", steps) as bar:
            _maps(explanation, models, parts, bar.advance)
            _compare(explanation)
            _delete_and_insert(explanation, models, few, parts, bar.advance)
            for model in networks:
                first = slice(0, sanity)
                explanation.sanity += check(
                    model,
                    methods,
                    images.canvases[first],
                    explanation.classes[first],
                    images.patients[first],
                    resamples=resamples,
                    seed=seed,
                    advance=bar.advance,
                    parts=parts,
                )
    explanation.seconds = time.perf_counter() - begun
    return explanation


def parts_of(
    folder: Path, subjects: Sequence[Subject], images: ExplainedImages, *, wanted: str | None, seed: int, device: str
) -> Parts:
    """Results of this very call that a stopped one left in `folder`.

    Methods and resamples are left out: further methods go on with what is there.
    """
    return Parts(
        folder,
        {
            "what": "explain",
            "edgedx": __version__,
            "models": [[one.name, digest_of(one.path)] for one in subjects],  # no path: a run may be moved meanwhile
            "images": sha256_bytes(np.ascontiguousarray(images.canvases).tobytes()),
            "class": wanted,
            "seed": seed,
            "device": device,
        },
    )


def _maps(explanation: Explanation, models: Sequence[Explainable], parts: Parts, advance: Any) -> None:
    for model in models:
        for method in explanation.methods:
            key = model.name, method
            try:
                explanation.maps[key] = parts.array(
                    f"maps {model.name} {method}",
                    partial(
                        heat_maps,
                        model, method, explanation.images.canvases, explanation.classes, seed=explanation.seed,
                        advance=advance,
                    ),
                )  # fmt: skip
            except NoMap as error:
                explanation.missing[key] = str(error)
                continue
            if (grid := places_of(model, method, explanation.images.canvases)) is not None:
                explanation.grids[key] = grid
    if not explanation.maps:
        raise UsageError(
            f"no map can be made: {next(iter(explanation.missing.values()))}",
            next_step="LIME works with every model: --methods lime; or explain the checkpoints (runs/NAME/teacher)",
        )


def _compare(explanation: Explanation) -> None:
    """With the first model, and the first model with itself on other images."""
    first = explanation.names[0]
    for (name, method), maps in explanation.maps.items():
        if name != first and (first, method) in explanation.maps:
            explanation.alike[name, method] = alike(explanation.maps[first, method], maps)
    other = _other_images(explanation)
    for key, maps in explanation.maps.items():
        if not border_cannot_tell(explanation.grids.get(key)):
            explanation.border[key] = on_border(maps)
        if explanation.regions is not None:
            explanation.pointing[key] = in_regions(maps, explanation.regions.masks, other)
    if len(other) > 1:
        alone = other == np.arange(len(other))
        for method in explanation.methods:
            if (own := explanation.maps.get((first, method))) is not None:
                likeness = alike(own, own[other])
                explanation.others[method] = {key: np.where(alone, np.nan, value) for key, value in likeness.items()}


def _other_images(explanation: Explanation) -> np.ndarray:
    """Another image for each one, (N,): of the same class, as an other class is looked for elsewhere; else itself."""
    other = np.arange(len(explanation.images))
    for one in np.unique(explanation.classes):
        rows = np.random.default_rng(explanation.seed).permutation(np.flatnonzero(explanation.classes == one))
        other[rows] = np.roll(rows, 1)
    return other


def _delete_and_insert(
    explanation: Explanation, models: Sequence[Explainable], few: int, parts: Parts, advance: Any
) -> None:
    canvases, classes = explanation.images.canvases[:few], explanation.classes[:few]
    blind = random_maps(few, canvases.shape[1:3], explanation.seed)
    for model in models:
        tried = {method: explanation.maps[model.name, method][:few] for method in explanation.methods
                 if (model.name, method) in explanation.maps}  # fmt: skip
        for method, maps in {**tried, CONTROL: blind}.items():
            kept = parts.arrays(
                f"curves {model.name} {method}",
                lambda model=model, maps=maps: vars(  # type: ignore[misc]
                    curves(model, canvases, maps, classes, seed=explanation.seed, advance=advance)
                ),
            )
            explanation.curves[model.name, method] = Curves(**kept)
