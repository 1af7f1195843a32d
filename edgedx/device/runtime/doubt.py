"""What speaks against an answer: the image is unlike those of the training, or several classes fit it."""

from __future__ import annotations

import math

from edgedx.core.bundle.manifest import Bundle
from edgedx.core.result import Prediction, PredictionSet, Reason, Unlikeness
from edgedx.core.stats.conformal import in_words, members
from edgedx.core.stats.ood import energy, unpack_space

from .runner import Output


class Doubts:
    """A variant's own thresholds, ready to be asked.

    Parameters
    ----------
    variant : str
        Whose answers will be judged; nothing is said where the bundle has no thresholds for it.

    Raises
    ------
    BundleError
        The part with the features' covariance is malformed.
    """

    def __init__(self, bundle: Bundle, variant: str) -> None:
        manifest = bundle.manifest
        self._task = manifest.task
        self._limits = manifest.doubt.ood.get(variant) if manifest.accept.ood != "off" else None
        self._sets = manifest.doubt.sets.get(variant)
        self._space = None
        if self._limits is not None and self._limits.file is not None:
            name = self._limits.file
            self._space = unpack_space(bundle.read(name), manifest.features or 0, f"{bundle.path}: part {name}")

    def unlikeness(self, output: Output) -> list[Unlikeness | None]:
        """How unlike the training images each image of a batch is.

        Raises
        ------
        FloatingPointError
            A score is not a number.
        """
        limits = self._limits
        if limits is None:
            return [None] * len(output.logits)
        energies = energy(output.logits)
        distances = [None] * len(energies)
        if self._space is not None and output.features is not None:
            distances = self._space.distance(output.features).tolist()
        found: list[Unlikeness | None] = []
        for one, distance in zip(energies.tolist(), distances, strict=True):
            score, limit = (one, limits.energy) if distance is None else (distance, limits.distance)
            if limit is None or not (math.isfinite(one) and math.isfinite(score)):
                raise FloatingPointError("the model returned a value that is not a number")
            found.append(
                Unlikeness(
                    out_of_distribution=score > limit,
                    distance=None if distance is None else round(distance, 4),
                    distance_limit=None if distance is None else limits.distance,
                    energy=round(one, 4),
                    energy_limit=limits.energy,
                    pass_rate=limits.pass_rate,
                )
            )
        return found

    def prediction_set(self, prediction: Prediction) -> PredictionSet | None:
        """The classes that fit an image."""
        if self._sets is None:
            return None
        names, alpha = members(self._sets, prediction.probabilities), self._sets.alpha
        meaning = in_words(names, alpha, multilabel=self._task == "multilabel")
        return PredictionSet(classes=names, coverage=round(1 - alpha, 6), meaning=meaning)


def refusal(unlikeness: Unlikeness) -> Reason:
    """Why an image that is out of distribution has no answer."""
    score = (
        f"energy {unlikeness.energy:.2f}, limit {unlikeness.energy_limit:.2f}"
        if unlikeness.distance is None or unlikeness.distance_limit is None
        else f"distance {unlikeness.distance:.2f}, limit {unlikeness.distance_limit:.2f}"
    )
    return Reason(
        code="OUT_OF_DISTRIBUTION", message=f"the image is unlike those that the model learned from ({score})"
    )
