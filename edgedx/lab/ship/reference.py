"""What a device compares its weeks with: taken at deployment from val, through the very models that ship."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgedx.core.bundle.reference import MOST_BYTES, Correction, Given, Numbers, Reference, pack_reference, part_name
from edgedx.core.bundle.streams import judged, probability_stream
from edgedx.core.image_statistics import FIGURES, FINGERPRINT, fingerprint, image_figures, repeated
from edgedx.core.settings.recipe import Recipe
from edgedx.core.stats.cases import calibrated_probabilities
from edgedx.core.stats.drift import quantile_grid
from edgedx.core.stats.metrics import expected_calibration_error
from edgedx.core.stats.ood import energy, unpack_space
from edgedx.core.stats.points import OperatingPoint, label_at
from edgedx.core.stats.prevalence import corrected
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.run.device_build import CompiledVariant

from .doubt import Fitted

_FINEST, _COARSEST = 201, 21
_BYTES_EACH = 12  # of a number as JSON, at most
_REDRAWN = 20
_TOGETHER = 200
"""Images among which near-identical ones are looked for, as in the least window of a device."""


def fit_references(
    recipe: Recipe,
    data: Dataset,
    variants: Mapping[str, CompiledVariant],
    fitted: Fitted,
    temperature: float,
    point: OperatingPoint,
) -> dict[str, bytes]:
    """The reference of each variant, packed, by name of its part.

    Parameters
    ----------
    fitted : Fitted
        What `doubt.fit_doubt` found: limits, and the answers to val that it was found by.
    point : OperatingPoint
        The first one, which is in force unless another is named.
    """
    val = fitted.val
    pictures: list[dict[str, float]] = []
    marks: list[bytes] = []
    for batch in val.batches(256):
        pictures += [image_figures(np.asarray(one)) for one in batch]
        marks += [fingerprint(np.asarray(one)) for one in batch]
    images = {name: np.array([one[name] for one in pictures]) for name in FIGURES}
    twins = _repeats(np.frombuffer(b"".join(marks), np.uint8).reshape(-1, FINGERPRINT), recipe.train.seed)
    return {
        part_name(name): pack_reference(
            _of_variant(recipe, data, name, variant, fitted, temperature, point, images, twins)
        )
        for name, variant in variants.items()
    }


def _of_variant(
    recipe: Recipe,
    data: Dataset,
    name: str,
    variant: CompiledVariant,
    fitted: Fitted,
    temperature: float,
    point: OperatingPoint,
    images: Mapping[str, NDArray[np.float64]],
    twins: float,
) -> Reference:
    task, classes, val = recipe.task, recipe.task.classes, fitted.val
    output = fitted.on_val[name]
    chances = calibrated_probabilities(output.logits, task.kind, temperature)
    watched = judged(task.kind, classes, task.positive)
    streams = {probability_stream(one): chances[:, classes.index(one)] for one in watched} | dict(images)
    unlike, answered = None, np.ones(len(val), bool)
    if (limits := fitted.doubt.ood.get(name)) is not None:
        streams["energy"] = energy(output.logits)
        scores, limit = streams["energy"], limits.energy
        if limits.file is not None and limits.distance is not None and output.features is not None:
            space = unpack_space(fitted.parts[limits.file], output.features.shape[1], limits.file)
            streams["distance"] = space.distance(output.features)
            scores, limit = streams["distance"], limits.distance
        unlike = float(np.mean(scores > limit))
        if recipe.accept.ood == "refuse":  # what is refused has no answer on a device either
            answered = scores <= limit
    points = _points(len(streams), len(watched))
    labels = [label_at(task.kind, classes, task.positive, point.threshold, row) for row in chances[answered]]
    test = data.subset("test")
    where: Literal["test", "val"] = "test" if len(test) else "val"
    truth, told = val.labels, chances
    if len(test):
        truth, told = test.labels, calibrated_probabilities(variant.logits("test")["test"], task.kind, temperature)
    # Both are of patients that the model never learned from; a correction of several numbers wants all there are.
    every = np.concatenate([val.labels, truth]) if len(test) else val.labels
    pooled = np.concatenate([chances, told]) if len(test) else chances
    told_of = {probability_stream(one) for one in watched}
    every_image = np.ones(len(val), bool)
    patients = [*val.patients, *test.patients] if len(test) else list(val.patients)
    shares = {one: float(np.nanmean(_is(every, k))) for k, one in enumerate(classes)}
    refused = int((~answered).sum())
    return Reference(
        images=len(val),
        numbers={
            key: _numbers(values, val.patients, answered if key in told_of else every_image, points)
            for key, values in streams.items()
        },
        refusals={"OUT_OF_DISTRIBUTION": refused} if refused else {},
        unlike=unlike,
        called={one: float(np.mean([one in label.split("|") for label in labels])) for one in classes},
        repeats=twins,
        built=shares,
        correction=fit_correction(every, pooled, classes, task.kind),
        redrawn=redraw_correction(every, pooled, patients, classes, task.kind, recipe.train.seed),
        given={one: _given(_is(truth, classes.index(one)), told[:, classes.index(one)], points) for one in watched},
        judged_on=where,
        ece=None if task.kind == "multilabel" else float(
            expected_calibration_error(told.argmax(axis=1) == np.asarray(truth), told.max(axis=1))
        ),
    )  # fmt: skip


def _numbers(values: NDArray[np.float64], patients: Sequence[str], kept: NDArray[np.bool_], points: int) -> Numbers:
    known = [patient for patient, one in zip(patients, kept, strict=True) if one]
    return Numbers(grid=_short(quantile_grid(values[kept], points)), worth=worth(values[kept], known))


def worth(values: ArrayLike, patients: Sequence[str]) -> int:
    """How many independent images a sample is worth, as images of one patient are alike (Kish's design effect).

    By ranks, so that a few extreme values do not decide.
    """
    ranks = np.argsort(np.argsort(np.asarray(values, np.float64))).astype(np.float64)
    apart = ranks - ranks.mean()
    _, group = np.unique(np.asarray(patients), return_inverse=True)
    of_group = np.bincount(group, weights=apart)
    effect = float((of_group**2).sum() / max((apart**2).sum(), 1e-12))
    return max(1, round(len(ranks) / max(1.0, effect)))


def fit_correction(labels: ArrayLike, chances: ArrayLike, classes: Sequence[str], task: str) -> Correction:
    """Scale and bias with the least negative log likelihood, and a faint pull towards none.

    Bias-corrected temperature scaling (Alexandari and others 2020): one scale for all classes; of a multilabel task
    Platt's scaling of each.
    """
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    values, truth, count = np.asarray(chances, np.float64), np.asarray(labels, np.float64), len(classes)

    def parts(found: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        slopes = np.exp(found[:-count])
        return (slopes if task == "multilabel" else np.full(count, slopes[0])), found[-count:]

    def loss(found: NDArray[np.float64]) -> float:
        told = np.clip(corrected(values, *parts(found), task), 1e-12, 1 - 1e-12)
        if task == "multilabel":
            known = ~np.isnan(truth)
            likely = np.where(truth == 1, told, 1 - told)[known]
        else:
            likely = told[np.arange(len(told)), truth.astype(int)]
        return float(-np.log(likely).mean() + 1e-3 * (found**2).mean())

    begin = np.zeros(2 * count if task == "multilabel" else count + 1)
    scale, bias = parts(minimize(loss, begin, method="L-BFGS-B").x)
    several = [{name: float(f"{value:.6g}") for name, value in zip(classes, row, strict=True)} for row in (scale, bias)]
    built = {name: float(np.nanmean(_is(truth, k))) for k, name in enumerate(classes)}
    return Correction(scale=several[0], bias=several[1], built=built)


def redraw_correction(
    labels: ArrayLike, chances: ArrayLike, patients: Sequence[str], classes: Sequence[str], task: str, seed: int
) -> list[Correction]:
    """`fit_correction` on resamples of whole patients, that have every class in them."""
    truth, values = np.asarray(labels, np.float64), np.asarray(chances, np.float64)
    rng, redrawn = np.random.default_rng(seed), []
    _, group = np.unique(np.asarray(patients), return_inverse=True)
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    for _ in range(_REDRAWN):
        rows = np.concatenate([members[one] for one in rng.integers(0, len(members), len(members))])
        if all(np.nansum(_is(truth[rows], k)) for k in range(len(classes))):
            redrawn.append(fit_correction(truth[rows], values[rows], classes, task))
    return redrawn


def _is(labels: NDArray[np.generic], index: int) -> NDArray[np.float64]:
    """Whether each image is of a class: 1, 0, or NaN where nobody knows."""
    values = np.asarray(labels, np.float64)
    return values[:, index] if values.ndim == 2 else (values == index).astype(np.float64)


def _given(present: NDArray[np.float64], chance: NDArray[np.float64], points: int) -> Given:
    there, not_there = chance[present == 1], chance[present == 0]
    grids = [_short(quantile_grid(one, points)) if len(one) else [] for one in (there, not_there)]
    return Given(present=grids[0], absent=grids[1], images_present=len(there), images_absent=len(not_there))


def _points(streams: int, classes: int) -> int:
    """Steps of a grid, so that all grids fit into `MOST_BYTES`."""
    room = int(0.9 * MOST_BYTES) // (_BYTES_EACH * (streams + 2 * classes))
    return max(_COARSEST, min(_FINEST, room))


def _short(grid: NDArray[np.float64]) -> list[float]:
    return [float(f"{value:.5g}") for value in grid]


def _repeats(marks: NDArray[np.uint8], seed: int) -> float:
    order = np.random.default_rng(seed).permutation(len(marks))
    found = [repeated(marks[order[start : start + _TOGETHER]]) for start in range(0, len(marks), _TOGETHER)]
    return float(np.concatenate(found).mean())
