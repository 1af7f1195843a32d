"""Image to decision: the one path from pixels to a label, for scanner, gate and bench."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgedx.core.bundle.local_point import point_of
from edgedx.core.bundle.manifest import Bundle, Manifest
from edgedx.core.heatmap import evidence
from edgedx.core.image import Image
from edgedx.core.preprocess import Canvas, canvas, normalise
from edgedx.core.result import ColumnsUsed, Prediction, PredictionSet, Unlikeness
from edgedx.core.settings.columns import FittedColumn, encode_rows, gather, present
from edgedx.core.stats.cases import calibrated_probabilities
from edgedx.core.stats.frames import shown_class
from edgedx.core.stats.points import OperatingPoint, label_at, origin_of

from .doubt import Doubts
from .runner import Runner


@dataclass(frozen=True)
class ImageAnswer:
    """A prediction with its raw logits and times.

    Attributes
    ----------
    logits : ndarray of shape (classes,), float32
        Before temperature.
    preprocess_ms, infer_ms : float
        Milliseconds; inference is the batch's time divided by its size.
    prediction_set, unlikeness : optional
        What speaks against the prediction, where the bundle has thresholds for the variant.
    shown : ClassEvidence, optional
        Where the model looked, on request.
    told : ColumnsUsed, optional
        What it was told beside the image, where it takes more.
    """

    prediction: Prediction
    logits: NDArray[np.float32]
    preprocess_ms: float
    infer_ms: float
    prediction_set: PredictionSet | None = None
    unlikeness: Unlikeness | None = None
    shown: ClassEvidence | None = None
    told: ColumnsUsed | None = None


@dataclass(frozen=True)
class ClassEvidence:
    """Where in the image something speaks for a class.

    Attributes
    ----------
    name : str
        The class decided for; of several findings, or none, the most probable one.
    evidence : ndarray of shape (h, w), float32
        For `core.heatmap.overlay`.
    """

    name: str
    evidence: NDArray[np.float32]


class Predictor:
    """Bundle and active runner, joined.

    Parameters
    ----------
    operating_point : str, optional
        A name; the point in force unless given (`core.bundle.local_point.point_of`).
    variant : str, optional
        What `runner` runs; the manifest's default variant unless given.
    show : bool
        Answer with class activation maps, where the variant has them.

    Attributes
    ----------
    shows : bool
        Whether it was asked to, and can.

    Raises
    ------
    UsageError
        No such operating point.
    BundleError
        See `Doubts`.
    """

    def __init__(
        self,
        bundle: Bundle,
        runner: Runner,
        *,
        operating_point: str | None = None,
        variant: str | None = None,
        show: bool = False,
    ) -> None:
        self.manifest = bundle.manifest
        self.runner = runner
        self.point = point_of(bundle, operating_point)
        name = variant or bundle.manifest.default_variant
        self.doubts = Doubts(bundle, name)
        self.shows = show and name in bundle.manifest.doubt.cam

    def predict(self, images: Sequence[Image]) -> list[ImageAnswer]:
        """Predict a batch of images."""
        start = time.perf_counter()
        canvases = np.stack([canvas(image, self.manifest.preprocess) for image in images])
        spent = 1e3 * (time.perf_counter() - start) / len(images)
        return [
            replace(answer, preprocess_ms=spent)
            for answer in self.predict_canvases(canvases, [image.meta for image in images])
        ]

    def predict_canvases(self, canvases: Canvas, facts: Sequence[Mapping[str, str]] = ()) -> list[ImageAnswer]:
        """Predict canvases of shape (N, H, W) or (N, H, W, 3), as the decoder process returns them.

        Parameters
        ----------
        facts : sequence of mapping
            Of each image's header, for a model that is told more than the image; all absent unless given.
        """
        start = time.perf_counter()
        batch = normalise(canvases, self.manifest.preprocess)
        taken = self.manifest.columns
        columns = columns_of(taken, facts or [{}] * len(batch)) if taken else None
        more = () if columns is None else (columns,)
        output = self.runner.infer(batch, *more, cam=True) if self.shows else self.runner.infer(batch, *more)
        spent = 1e3 * (time.perf_counter() - start) / len(batch)
        predictions = [decide(self.manifest, self.point, row) for row in output.logits]
        unlike = self.doubts.unlikeness(output)
        return [
            ImageAnswer(
                prediction,
                output.logits[index],
                0.0,
                spent,
                self.doubts.prediction_set(prediction),
                unlike[index],
                None if output.cam is None else _shown(self.manifest, prediction, output.cam[index]),
                None if columns is None else _told(taken, columns[index : index + 1]),
            )
            for index, prediction in enumerate(predictions)
        ]


def columns_of(columns: Sequence[FittedColumn], facts: Sequence[Mapping[str, str]]) -> NDArray[np.float32]:
    """What a device knows beside each image, from facts of its header: (N, T), as a runner takes it."""
    return encode_rows(columns, [gather(columns, {}, one) for one in facts])


def _told(columns: Sequence[FittedColumn], encoded: NDArray[np.float32]) -> ColumnsUsed:
    there = dict(zip([column.name for column in columns], present(columns, encoded)[0], strict=True))
    return ColumnsUsed(used=[name for name in there if there[name]], absent=[name for name in there if not there[name]])


def _shown(manifest: Manifest, prediction: Prediction, cam: NDArray[np.float32]) -> ClassEvidence:
    values = [prediction.probabilities[name] for name in manifest.classes]
    index = shown_class(manifest.classes, prediction.label, values)
    return ClassEvidence(manifest.classes[index], evidence(cam, index, manifest.task))


def decide(manifest: Manifest, point: OperatingPoint, logits: NDArray[np.float32]) -> Prediction:
    """Logits of shape (classes,) to a prediction at an operating point."""
    probabilities = calibrated_probabilities(logits, manifest.task, manifest.temperature)
    if not np.isfinite(probabilities).all():
        raise FloatingPointError("the model returned a value that is not a number")
    by_class = dict(zip(manifest.classes, (float(chance) for chance in probabilities), strict=True))
    label = label_at(manifest.task, manifest.classes, manifest.positive, point.threshold, probabilities)
    return prediction_at(point, label, by_class)


def prediction_at(point: OperatingPoint, label: str, probabilities: dict[str, float]) -> Prediction:
    """A label with the point that it was decided at."""
    return Prediction(
        label=label,
        probabilities=probabilities,
        operating_point=point.name,
        origin=origin_of(point),
        threshold=point.threshold,
    )
