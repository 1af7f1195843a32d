"""What classical baselines see of an image: its pixels, its edges (HOG), or the features of a pretrained network."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedx.core.preprocess import Canvas, normalise
from edgedx.core.progress import track
from edgedx.core.settings.recipe import Recipe
from edgedx.lab.data.dataset import Dataset

Floats = NDArray[np.float32]
SIDE = 64
"""Longer images are reduced to this, pixels: classical methods were made for small ones."""
CELL, BINS = 8, 9
_BATCH = 64


def grey(canvases: Canvas, bits: int) -> Floats:
    """Canvases of shape (N, H, W) or (N, H, W, 3) to grey images of shape (N, h, w), 0 to 1, 16 to 64 pixels a side."""
    images = np.asarray(canvases, np.float32) / float((1 << bits) - 1)
    if images.ndim == 4:
        images = images.mean(axis=3)
    height, width = images.shape[1:]
    share = min(1.0, SIDE / max(height, width))
    size = (max(2 * CELL, round(width * share)), max(2 * CELL, round(height * share)))
    if size == (width, height):
        return images
    return np.stack([cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images])


def hog(images: Floats) -> Floats:
    """Histograms of oriented gradients (Dalal & Triggs 2005): 9 unsigned orientations, cells of 8 x 8 pixels, blocks of
    2 x 2 cells, L2-Hys. In numpy, because OpenCV 5 has no HOGDescriptor any more.

    Parameters
    ----------
    images : ndarray of shape (N, H, W)
        At least 16 x 16 pixels; what is over a multiple of 8 is not seen.

    Returns
    -------
    ndarray of shape (N, (H / 8 - 1) * (W / 8 - 1) * 36)
    """
    down, across = np.zeros_like(images), np.zeros_like(images)
    down[:, 1:-1] = images[:, 2:] - images[:, :-2]
    across[:, :, 1:-1] = images[:, :, 2:] - images[:, :, :-2]
    strength = np.hypot(across, down)
    position = np.arctan2(down, across) % np.pi * (BINS / np.pi) - 0.5  # of the nearest two bins the share by distance
    lower = np.floor(position)
    upper_share = (position - lower).astype(np.float32)
    count, height, width = images.shape
    rows, columns = height // CELL, width // CELL
    cells = np.zeros((count, rows, columns, BINS), np.float32)
    for shift, share in ((0, 1 - upper_share), (1, upper_share)):
        votes, which = strength * share, (lower.astype(np.int64) + shift) % BINS
        for number in range(BINS):
            selected = np.where(which == number, votes, 0)[:, : rows * CELL, : columns * CELL]
            cells[..., number] += selected.reshape(count, rows, CELL, columns, CELL).sum(axis=(2, 4))
    corners = (cells[:, :-1, :-1], cells[:, :-1, 1:], cells[:, 1:, :-1], cells[:, 1:, 1:])
    blocks = np.concatenate(corners, axis=3)
    blocks = np.minimum(_unit(blocks), 0.2)  # Hys: no single edge may speak for a block
    return _unit(blocks).reshape(count, -1)


def _unit(blocks: Floats) -> Floats:
    return np.asarray(blocks / np.sqrt((blocks**2).sum(axis=-1, keepdims=True) + 1e-6))


def pixel_features(data: Dataset, bits: int) -> Floats:
    """Grey values of shape (N, pixels)."""
    return np.concatenate([grey(batch, bits).reshape(len(batch), -1) for batch in data.batches(_BATCH)])


def hog_features(data: Dataset, bits: int) -> Floats:
    """See `hog`."""
    return np.concatenate([hog(grey(batch, bits)) for batch in data.batches(_BATCH)])


def frozen_features(data: Dataset, recipe: Recipe) -> Floats:
    """Pooled features of the recipe's backbone as it was pretrained, of shape (N, D); it never saw these images."""
    import torch

    from edgedx.lab.network.backbone import WithFeatures, build_model
    from edgedx.lab.network.weights import load_weights

    model = build_model(recipe.model.backbone, len(recipe.task.classes), recipe.preprocess)
    load_weights(model, recipe.model.backbone, recipe.model.weights)
    network, features = WithFeatures(model.eval()), []
    with torch.inference_mode():
        for batch in track(data.batches(_BATCH), "frozen features", -(-len(data) // _BATCH)):
            features.append(network(torch.from_numpy(normalise(batch, recipe.preprocess)))[1].numpy())
    return np.concatenate(features)
