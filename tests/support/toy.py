"""Models small enough to know where their answers come from, as `edgedx explain` opens them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgedx.core.preprocess import Canvas, PreprocessSpec
from edgedx.core.settings.accept import Accept
from edgedx.core.stats.points import OperatingPoint
from edgedx.device.runtime.runner import Output
from edgedx.lab.evidence.explain.cut import Cut
from edgedx.lab.evidence.explain.models import Explainable
from edgedx.lab.judge.subject import Subject
from edgedx.lab.network.torch_runner import TorchRunner

SPEC = PreprocessSpec(size=(32, 32), window="none", bits=8)
QUADRANT = (slice(0, 16), slice(16, 32))
"""Rows and columns that alone decide for `planted`."""


class Box:
    """A runner around a function of canvases, (N, H, W) or (N, H, W, 3) on the scale of 8 bits, to logits (N, K)."""

    provider = "a test"

    def __init__(self, infer: Callable[[Canvas], np.ndarray]) -> None:
        self.answer = infer

    def infer(self, batch: np.ndarray, columns: np.ndarray | None = None, *, cam: bool = False) -> Output:
        canvases = (batch * SPEC.std[0] + SPEC.mean[0]) * 255
        canvases = canvases[:, 0] if canvases.shape[1] == 1 else np.moveaxis(canvases, 1, -1)
        return Output(np.asarray(self.answer(canvases)))

    def __enter__(self) -> Box:
        return self

    def __exit__(self, *_: object) -> None: ...


def subject(infer: Callable[[Canvas], np.ndarray], task: str = "binary", classes: int = 2) -> Subject:
    """A subject without files."""
    return Subject(
        name="toy",
        ran="a test",
        path=Path("nowhere"),
        task=task,
        classes=[f"c{index}" for index in range(classes)],
        positive="c1" if task == "binary" else None,
        preprocess=SPEC,
        temperature=1.0,
        points=[OperatingPoint(name="argmax", threshold={})],
        accept=Accept(),
        synthetic=True,
        runner=Box(infer),
    )


def planted() -> Explainable:
    """A black box: class 1 is how bright the upper right quadrant is, against what it was made for."""

    def infer(canvases: Canvas) -> np.ndarray:
        light = canvases.astype(np.float64)[:, QUADRANT[0], QUADRANT[1]].mean(axis=(1, 2)) / 255
        return np.stack([-10 * (light - 0.5), 10 * (light - 0.5)], axis=1)

    return Explainable("planted", subject(infer), Box(infer))


def spotted(count: int, seed: int = 0) -> Canvas:
    """Dark noise with a bright spot in the quadrant: shape (count, 32, 32), uint8."""
    canvases = np.random.default_rng(seed).integers(20, 60, (count, 32, 32)).astype(np.uint8)
    canvases[:, 4:10, 20:27] += 180
    return canvases


def of_torch(model: nn.Module, task: str = "binary", classes: int = 2) -> Explainable:
    """A network as an opened checkpoint."""
    cut = Cut(model, task, SPEC.input_shape).eval()
    runner = TorchRunner(model)
    return Explainable("net", replace(subject(len, task, classes), runner=runner), runner, cut)  # type: ignore[arg-type]


class Net(nn.Module):
    """Two convolutions, and a head of pooling and one layer, with the names that timm gives them."""

    def __init__(self, classes: int = 2, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first, self.norm = nn.Conv2d(1, 8, 5, stride=2, padding=2), nn.BatchNorm2d(8)
            self.second, self.fc = nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.Linear(12, classes)

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 1, 32, 32) to (N, 12, 8, 8)."""
        return torch.relu(self.second(torch.relu(self.norm(self.first(images)))))

    def forward_head(self, maps: torch.Tensor) -> torch.Tensor:
        """(N, 12, h, w) to (N, K)."""
        return self.fc(maps.mean(dim=(2, 3)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 1, 32, 32) to (N, K)."""
        return self.forward_head(self.forward_features(images))

    def get_classifier(self) -> nn.Module:
        """The last layer."""
        return self.fc
