"""A recipe and images so small that the whole flow takes seconds."""

from __future__ import annotations

import numpy as np

RECIPE = """
name: tiny
title: a tiny task
task: {kind: binary, classes: [dark, bright], positive: bright}
data: {source: medmnist, path: tiny.npz, patient_column: null}
preprocess: {size: [32, 32], window: none, bits: 8}
model: {backbone: resnet18, weights: none, dropout: 0.0, stochastic_depth: 0.0}
train: {frozen_epochs: 0, epochs: 6, batch_size: 32, learning_rate: 0.001, ema: 0.9}
student: {macs: 0.7, epochs: 3, steps: 1, round_to: 4}
quantize: {calibration_images: 64, calibrators: [minmax]}
gate: {max_auc_drop: 0.2, golden_images: 4}
"""


def make_images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = rng.normal(100, 20, (count, 32, 32))
    images[labels == 1, 8:20, 8:20] += 60
    return images.clip(0, 255).astype(np.uint8), labels[:, None]
