"""Image to decision: the one path from pixels to a label, for scanner, gate and bench."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..core.bundle import Bundle, Manifest, OperatingPoint
from ..core.errors import UsageError
from ..core.image import Image
from ..core.points import label_at
from ..core.preprocess import Canvas, canvas, normalise
from ..core.result import Prediction
from .runner import Runner


@dataclass(frozen=True)
class Answer:
    """A prediction with its raw logits and times.

    Attributes
    ----------
    logits : ndarray of shape (classes,), float32
        Before temperature.
    preprocess_ms, infer_ms : float
        Milliseconds; inference is the batch's time divided by its size.
    """

    prediction: Prediction
    logits: NDArray[np.float32]
    preprocess_ms: float
    infer_ms: float


class Predictor:
    """Bundle and active runner, joined.

    Parameters
    ----------
    operating_point : str, optional
        A name in the manifest; its first point unless given.

    Raises
    ------
    UsageError
        No such operating point.
    """

    def __init__(self, bundle: Bundle, runner: Runner, *, operating_point: str | None = None) -> None:
        self.manifest = bundle.manifest
        self.runner = runner
        self.point = choose_point(bundle.manifest, operating_point)

    def predict(self, images: Sequence[Image]) -> list[Answer]:
        """Predict a batch of images."""
        start = time.perf_counter()
        canvases = np.stack([canvas(image, self.manifest.preprocess) for image in images])
        spent = 1e3 * (time.perf_counter() - start) / len(images)
        return [replace(answer, preprocess_ms=spent) for answer in self.predict_canvases(canvases)]

    def predict_canvases(self, canvases: Canvas) -> list[Answer]:
        """Predict canvases of shape (N, H, W) or (N, H, W, 3), as the decoder process returns them."""
        start = time.perf_counter()
        logits = self.runner.infer(normalise(canvases, self.manifest.preprocess)).logits
        spent = 1e3 * (time.perf_counter() - start) / len(logits)
        return [Answer(decide(self.manifest, self.point, row), row, 0.0, spent) for row in logits]


def choose_point(manifest: Manifest, name: str | None) -> OperatingPoint:
    """The operating point called `name`, or the manifest's first."""
    if name is None:
        return manifest.operating_points[0]
    for point in manifest.operating_points:
        if point.name == name:
            return point
    raise UsageError(
        f"no operating point {name!r}",
        next_step=f"choose one of {', '.join(point.name for point in manifest.operating_points)}",
    )


def probabilities(logits: NDArray[np.floating], task: str, temperature: float) -> NDArray[np.float64]:
    """Calibrated probabilities of shape (..., classes): softmax, or sigmoid for multilabel tasks."""
    scaled = np.asarray(logits, np.float64) / temperature
    if task == "multilabel":
        return 1.0 / (1.0 + np.exp(-np.clip(scaled, -60, 60)))
    scaled = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(scaled / scaled.sum(axis=-1, keepdims=True))


def decide(manifest: Manifest, point: OperatingPoint, logits: NDArray[np.float32]) -> Prediction:
    """Logits of shape (classes,) to a prediction at an operating point."""
    chances = probabilities(logits, manifest.task, manifest.temperature)
    if not np.isfinite(chances).all():
        raise FloatingPointError("the model returned a value that is not a number")
    by_class = dict(zip(manifest.classes, (float(chance) for chance in chances), strict=True))
    label = label_at(manifest.task, manifest.classes, manifest.positive, point.threshold, chances)
    return Prediction(label=label, probabilities=by_class, operating_point=point.name, threshold=point.threshold)
