"""Logits of a torch model over a data set."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from edgedx.core.preprocess import PreprocessSpec, normalise
from edgedx.lab.data.dataset import Dataset

from .column_head import head_of


@torch.inference_mode()
def predict(
    model: nn.Module, data: Dataset, spec: PreprocessSpec, device: torch.device | str = "cpu", batch: int = 128
) -> np.ndarray:
    """Logits of shape (N, K), float32, for a data set in order, without augmentation."""
    was_training = model.training
    model.eval()
    logits = []
    for canvases, columns in data.inputs(batch):
        images = torch.from_numpy(normalise(canvases, spec)).to(device, memory_format=torch.channels_last)
        # A model that takes no columns never learned from any.
        told = [] if columns is None or head_of(model) is None else [torch.from_numpy(columns).to(device)]
        logits.append(model(images, *told).float().cpu())
    model.train(was_training)
    return torch.cat(logits).numpy()
