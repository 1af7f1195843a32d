"""What a bundle is to know about its own limits: fitted at deployment, on the very models that ship."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from edgedx.core.bundle.doubt import Doubt
from edgedx.core.preprocess import normalise
from edgedx.core.progress import progress
from edgedx.core.settings.recipe import Recipe
from edgedx.core.stats.cases import calibrated_probabilities
from edgedx.core.stats.conformal import SetThresholds, calibrate, coverage
from edgedx.core.stats.ood import PASS_RATE, OodLimits, energy, fit_space, limit_for, pack_space, unpack_space
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.device.runtime.runner import Output
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.run.device_build import CompiledVariant

MOST_IMAGES = 5000
"""Of train and of val each, drawn by the recipe's seed: a covariance of some hundred features needs no more."""
_BATCH = 64
_BY_CHANCE = 1000
"""In one of so many bundles whose promise holds, it is taken for broken."""


@dataclass
class Fitted:
    """The ``doubt`` section of a manifest, and the parts that it names.

    Attributes
    ----------
    val : Dataset
        Held-out images that limits were fitted on.
    on_val : dict of str to Output
        What each variant answered to them.
    """

    doubt: Doubt
    parts: dict[str, bytes]
    val: Dataset
    on_val: dict[str, Output] = field(default_factory=dict)


def fit_doubt(
    recipe: Recipe,
    data: Dataset,
    models: Mapping[str, bytes],
    variants: Mapping[str, CompiledVariant],
    temperature: float,
) -> Fitted:
    """Fit what every variant needs to doubt itself on a device.

    Covariance on train, limits and thresholds on val, whose patients the model never learned from. Temperature was
    chosen on val too: one number, against hundreds of images.

    Parameters
    ----------
    models : mapping of variant to ONNX
        As they ship; they are run by the runner that serves. TensorRT's are computed on the CPU, in float as written.
    variants : mapping of name to CompiledVariant
    temperature : float
        That the bundle will divide logits by.
    """
    train, val = (_sample(data.subset(name), recipe.train.seed) for name in ("train", "val"))
    found: dict[str, dict[str, Any]] = {"ood": {}, "sets": {}, "cam": {}, "missing": {}}
    parts: dict[str, bytes] = {}
    answers: dict[str, Output] = {}
    with progress("fitting limits", len(models) * (len(train) + len(val))) as bar:
        for name, model in models.items():
            with OnnxRunner(model, fused=variants[name].fused) as runner:
                zeros = runner.infer(np.zeros((1, *recipe.preprocess.input_shape), np.float32), cam=True)
                on_train, on_val = (_ask(runner, part, recipe, bar.advance) for part in (train, val))
            answers[name] = on_val
            if zeros.cam is not None:
                found["cam"][name] = zeros.cam.shape[2:]
            else:
                why = variants[name].entry.get("no_cam", "compressed by an older edgedx; compress again")
                found["missing"]["cam"] = f"{name}: {why}"
            try:
                found["ood"][name], part = _limits(recipe, train, on_train, on_val, f"ood-{name}.npz")
                parts |= part
            except ValueError as error:
                found["missing"]["ood"] = f"{name}: {error}"
            try:
                found["sets"][name] = _sets(recipe, data, variants[name], temperature)
            except ValueError as error:
                found["missing"]["sets"] = f"{name}: {error}"
    return Fitted(Doubt.model_validate(found), parts, val, answers)


def describe(doubt: Doubt, variant: str, policy: str) -> list[str]:
    """What a bundle's variant can say against its own answers, in words."""
    lines = []
    if (limits := doubt.ood.get(variant)) is not None:
        does = {"refuse": "are refused", "flag": "are marked", "off": "are not looked for"}[policy]
        lines.append(
            f"images unlike those of the training {does}; of images such as the {limits.images} of val, "
            f"{limits.pass_rate:.0%} pass"
        )
    if (sets := doubt.sets.get(variant)) is not None:
        lines.append(f"sets of classes that hold the true one in {1 - sets.alpha:.0%} of images such as those of val")
    return lines


def describe_missing(doubt: Doubt) -> list[str]:
    """What it cannot say, and why."""
    words = {"ood": "no image is refused for being unlike the training images", "sets": "no prediction sets",
             "cam": "no heat maps"}  # fmt: skip
    return [f"{words[name]} ({why})" for name, why in doubt.missing.items()]


def _sample(data: Dataset, seed: int) -> Dataset:
    if len(data) <= MOST_IMAGES:
        return data
    return data.take(np.sort(np.random.default_rng(seed).choice(len(data), MOST_IMAGES, replace=False)))


def _ask(runner: OnnxRunner, data: Dataset, recipe: Recipe, advance: Any) -> Output:
    logits, features = [], []
    for batch, columns in data.inputs(_BATCH):
        output = runner.infer(normalise(batch, recipe.preprocess), columns)
        logits.append(output.logits)
        features.append(output.features)
        advance(len(batch))
    known = [part for part in features if part is not None]
    return Output(np.concatenate(logits), np.concatenate(known) if len(known) == len(features) else None)


def _limits(
    recipe: Recipe, train: Dataset, on_train: Output, on_val: Output, file: str
) -> tuple[OodLimits, dict[str, bytes]]:
    """Limits of a variant, and the part that holds its covariance."""
    images = len(on_val.logits)
    of_energy = limit_for(energy(on_val.logits))
    if of_energy is None:
        needed = round(1 / (1 - PASS_RATE)) - 1
        raise ValueError(f"{images} images in val; {needed} are needed to promise that {PASS_RATE:.0%} pass")
    if on_train.features is None or on_val.features is None:
        return OodLimits(pass_rate=PASS_RATE, images=images, energy=of_energy), {}
    labels = None if recipe.task.kind == "multilabel" else train.labels
    packed = pack_space(fit_space(on_train.features, labels))
    # As a device will read it, rounded to what is stored.
    space = unpack_space(packed, on_val.features.shape[1], file)
    limit = limit_for(space.distance(on_val.features))
    limits = OodLimits(file=file, pass_rate=PASS_RATE, images=images, energy=of_energy, distance=limit)
    return limits, {file: packed}


def _sets(recipe: Recipe, data: Dataset, variant: CompiledVariant, temperature: float) -> SetThresholds:
    """Thresholds from val, which test must not show to be a promise that is broken.

    Raises
    ------
    ValueError
        Too few images of a class, or on test the sets miss more of a class than chance would let them.
    """
    classes, test = recipe.task.classes, data.subset("test")
    logits = variant.logits("val", *(["test"] if len(test) else []))
    chances = {part: calibrated_probabilities(one, recipe.task.kind, temperature) for part, one in logits.items()}
    sets = calibrate(classes, data.subset("val").labels, chances["val"])
    if len(test) and (broken := broken_promises(sets, classes, test.labels, chances["test"])):
        raise ValueError(
            f"on test the sets hold the true class of {'; '.join(broken)}, where {1 - sets.alpha:.0%} were promised: "
            "the images of test are not such as those of val"
        )
    return sets


def broken_promises(sets: SetThresholds, classes: Sequence[str], labels: ArrayLike, chances: ArrayLike) -> list[str]:
    """Classes whose sets hold fewer images of a test than chance allows, in words: ``normal 62% of 234``.

    Calibrated on n images, a set holds a new image of its class with a probability that is itself drawn, from a beta
    distribution (Vovk 2012); so the count on a test is beta-binomial. Told is what would happen by chance once in
    `_BY_CHANCE` bundles whose promise holds, all classes together.
    """
    from scipy.stats import betabinom  # type: ignore[import-untyped]

    broken = []
    for name, share in coverage(sets, classes, labels, chances).items():
        of_class = np.asarray(labels) == classes.index(name) if np.ndim(labels) == 1 else None
        images = int(np.sum(np.asarray(labels)[:, classes.index(name)] == 1 if of_class is None else of_class))
        missed = math.floor((sets.cases[name] + 1) * sets.alpha + 1e-9)
        if not images:
            continue
        held = round(share * images)
        by_chance = betabinom.cdf(held, images, sets.cases[name] + 1 - missed, missed)
        if by_chance < 1 / (_BY_CHANCE * len(classes)):
            broken.append(f"{name} {share:.0%} of {images}")
    return broken
