"""Canvases to network inputs where the network is: `core.preprocess.normalise` in torch, the same numbers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from edgedx.core.preprocess import Canvas, PreprocessSpec, mean_and_scale


def best_device() -> torch.device:
    """Where networks run: this process's GPU, or the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def as_tensor(canvases: Canvas) -> Tensor:
    """Canvases as a tensor that shares their memory: uint8, or int16 with the bits of uint16."""
    return torch.from_numpy(canvases.view(np.int16) if canvases.dtype == np.uint16 else canvases)


def widen(canvases: Tensor) -> Tensor:
    """Canvases of `as_tensor`, (N, H, W) or (N, H, W, 3), to float32 (N, C, H, W) on their own scale."""
    if canvases.dtype == torch.int16:  # torch indexes and computes little with uint16
        canvases = canvases.to(torch.int32).bitwise_and(0xFFFF)
    values = canvases.to(torch.float32)
    return values.unsqueeze(1) if values.ndim == 3 else values.permute(0, 3, 1, 2)


class Normaliser:
    """Values (N, C, H, W) on the integer scale to network inputs."""

    def __init__(self, spec: PreprocessSpec, device: torch.device) -> None:
        self.mean, self.scale = (torch.from_numpy(one).view(1, -1, 1, 1).to(device) for one in mean_and_scale(spec))

    def __call__(self, values: Tensor) -> Tensor:
        """Same shape, float32, channels last."""
        return ((values - self.mean) * self.scale).contiguous(memory_format=torch.channels_last)
