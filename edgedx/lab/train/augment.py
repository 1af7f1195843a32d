"""Random changes of a canvas that leave its label as it is."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedx.core.preprocess import Canvas
from edgedx.core.settings.recipe_sections import Augment


def augment(canvas: Canvas, options: Augment, rng: np.random.Generator) -> NDArray[np.float32]:
    """One random view of `canvas`.

    Parameters
    ----------
    canvas : ndarray of shape (H, W) or (H, W, 3), uint8 or uint16
    rng : Generator
        Seeded by (seed, epoch, image), so that a view does not depend on the number of worker processes.

    Returns
    -------
    ndarray of the same shape, float32, on the same scale
    """
    peak = float(np.iinfo(canvas.dtype).max)
    view = _move(canvas.astype(np.float32), options, rng)
    if options.flip_horizontal and rng.random() < 0.5:
        view = view[:, ::-1]
    if options.flip_vertical and rng.random() < 0.5:
        view = view[::-1]
    if options.intensity:
        amount = options.intensity
        mean = float(view.mean())
        view = (view - mean) * np.float32(1 + rng.uniform(-amount, amount)) + np.float32(
            mean + peak * rng.uniform(-amount, amount) / 2
        )
        gamma = np.float32(np.exp(rng.uniform(-amount, amount)))
        view = cv2.pow(np.clip(view / np.float32(peak), 0.0, 1.0), float(gamma)) * np.float32(peak)
    return np.ascontiguousarray(view, np.float32)


def _move(view: NDArray[np.float32], options: Augment, rng: np.random.Generator) -> NDArray[np.float32]:
    if not (options.rotation or options.zoom or options.shift):
        return view
    height, width = view.shape[:2]
    matrix = cv2.getRotationMatrix2D(
        (width / 2, height / 2),
        rng.uniform(-options.rotation, options.rotation),
        1 + rng.uniform(-options.zoom, options.zoom),
    )
    matrix[:, 2] += rng.uniform(-options.shift, options.shift, 2) * (width, height)
    return np.asarray(
        cv2.warpAffine(view, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.float32
    )
