"""Corruptions of an image as the network sees it, each at five strengths, in the manner of ImageNet-C.

After Hendrycks and Dietterich (ICLR 2019): what detectors, clinics and transfers do to an image, from hardly visible to
severe. They act on the canvas at network size, so blur is told as a share of the side, and noise is not averaged out by
making the image smaller, as noise of a detector partly is. Strength 0 is the image itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedx.core.preprocess import Canvas

Floats = NDArray[np.float32]
Change = Callable[[Floats, float, np.random.Generator], Floats]


@dataclass(frozen=True)
class Corruption:
    """One kind.

    Attributes
    ----------
    unit : str
        What a strength is told in.
    strengths : tuple of float
        The five.
    """

    unit: str
    strengths: tuple[float, float, float, float, float]
    change: Change


def corrupt(canvas: Canvas, name: str, strength: int, rng: np.random.Generator) -> Canvas:
    """A changed copy, of the same shape and dtype.

    Parameters
    ----------
    canvas : ndarray of shape (H, W) or (H, W, 3), uint8 or uint16
    name : str
        Key of `CORRUPTIONS`.
    strength : int
        0 to 5.
    """
    if strength == 0:
        return canvas.copy()
    kind = CORRUPTIONS[name]
    peak = np.iinfo(canvas.dtype).max
    unit = canvas.astype(np.float32) / np.float32(peak)
    changed = kind.change(unit, kind.strengths[strength - 1], rng)
    return np.rint(np.clip(changed, 0.0, 1.0) * peak).astype(canvas.dtype)


def _noise(unit: Floats, spread: float, rng: np.random.Generator) -> Floats:
    return unit + rng.normal(0.0, spread, unit.shape).astype(np.float32)


def _blur(unit: Floats, share: float, rng: np.random.Generator) -> Floats:
    return np.asarray(cv2.GaussianBlur(unit, (0, 0), share * min(unit.shape[:2])), np.float32)


def _over(unit: Floats, factor: float, rng: np.random.Generator) -> Floats:
    return np.asarray(unit * np.float32(factor))


def _under(unit: Floats, factor: float, rng: np.random.Generator) -> Floats:
    return np.asarray(unit / np.float32(factor))


def _jpeg(unit: Floats, quality: float, rng: np.random.Generator) -> Floats:
    # Of 8 bits, as an export to JPEG is. Channel order does not matter: what is read is what was written.
    written, data = cv2.imencode(".jpg", np.rint(unit * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    assert written
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.float32) / np.float32(255)


def _rotate(unit: Floats, degrees: float, rng: np.random.Generator) -> Floats:
    height, width = unit.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees * rng.choice((-1, 1)), 1.0)
    return np.asarray(cv2.warpAffine(unit, turn, (width, height), flags=cv2.INTER_LINEAR), np.float32)


CORRUPTIONS = {
    "noise": Corruption("standard deviation, share of the range", (0.02, 0.04, 0.08, 0.12, 0.18), _noise),
    "blur": Corruption("standard deviation, share of the shorter side", (0.01, 0.015, 0.02, 0.03, 0.045), _blur),
    "over-exposure": Corruption("factor", (1.1, 1.25, 1.5, 1.8, 2.2), _over),
    "under-exposure": Corruption("divisor", (1.1, 1.25, 1.5, 2.0, 3.0), _under),
    "jpeg": Corruption("quality", (60, 40, 25, 15, 8), _jpeg),
    "rotation": Corruption("degrees, to either side", (5, 10, 15, 25, 40), _rotate),
}
"""By name; what is outside of the turned image is black."""
