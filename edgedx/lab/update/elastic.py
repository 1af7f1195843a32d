"""Elastic weight consolidation (Kirkpatrick et al., PNAS 2017): weights that old answers hang on may move less."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgedx.core.preprocess import PreprocessSpec
from edgedx.core.settings.recipe_sections import Task
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.feed.targets import targets_of
from edgedx.lab.network.inputs import Normaliser, as_tensor, best_device, widen
from edgedx.lab.train.tasks import Classify

IMAGES = 256
"""Old training images that the Fisher information is estimated on."""


class Elastic:
    """The labels' loss, and half of `weight` times the squared distance from the old weights, each by its information.

    Parameters
    ----------
    anchor, information : dict of str to Tensor
        Old parameters by name, and the diagonal of their Fisher information (see `fisher`).
    """

    def __init__(
        self, labels: Classify, anchor: dict[str, Tensor], information: dict[str, Tensor], weight: float
    ) -> None:
        self.labels, self.anchor, self.information, self.weight = labels, anchor, information, weight

    def to(self, device: torch.device) -> None:
        """Move what is compared with."""
        self.labels.to(device)
        for kept in (self.anchor, self.information):
            kept.update({name: value.to(device) for name, value in kept.items()})

    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor, *columns: Tensor) -> tuple[Tensor, Tensor]:
        """See `TrainingTask`."""
        loss, logits = self.labels(model, images, targets, *columns)
        inner = getattr(model, "module", model)  # itself, or wrapped for several processes
        moved = [
            (self.information[name] * (value - self.anchor[name]) ** 2).sum()
            for name, value in inner.named_parameters()
        ]
        return loss + self.weight / 2 * torch.stack(moved).sum(), logits


def anchor_of(model: nn.Module) -> dict[str, Tensor]:
    """The parameters as they are, by name."""
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def fisher(model: nn.Module, data: Dataset, task: Task, spec: PreprocessSpec, seed: int) -> dict[str, Tensor]:
    """Diagonal of the empirical Fisher information: mean squared gradient of the log likelihood of single labels.

    Parameters
    ----------
    model : nn.Module
        In eval mode: statistics of a batch of one image mean nothing.
    data : Dataset
        What it was trained with; `IMAGES` of it are drawn.
    """
    device = best_device()
    model.to(device).eval()
    normalise = Normaliser(spec, device)
    drawn = np.random.default_rng(seed).permutation(len(data))[:IMAGES]
    part = data.take(np.sort(drawn))
    targets = torch.from_numpy(targets_of(part.labels, task)).to(device)
    sums = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    for row, (canvas, columns) in enumerate(part.inputs(1)):
        image = normalise(widen(as_tensor(np.ascontiguousarray(canvas)).to(device)))
        beside = [] if columns is None else [torch.from_numpy(columns).to(device)]
        logits = model(image, *beside).float()
        if task.kind == "multilabel":
            known = ~torch.isnan(targets[row : row + 1])
            each = F.binary_cross_entropy_with_logits(
                logits, torch.nan_to_num(targets[row : row + 1]), reduction="none"
            )
            loss = (each * known).sum()
        else:
            loss = F.cross_entropy(logits, targets[row : row + 1])
        model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for name, value in model.named_parameters():
            if value.grad is not None:
                sums[name] += value.grad**2
    model.zero_grad()
    return {name: value / len(part) for name, value in sums.items()}
