"""Optimizers with layer-wise learning rates, whose schedule a captured step can follow."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from edgedx.core.settings.recipe_training import Train
from edgedx.lab.network.backbone import classifier
from edgedx.lab.network.column_head import head_of, image_part

from .phase import Phase

COLUMN_RATE = 10.0
"""Learning rate of the head of columns against the classifier's: a few weights that begin at zero, and no feature below
them to harm. At the same rate a small data set ends before they have learned what the columns say."""


def make_optimizer(
    model: nn.Module, options: Train, phase: Phase, auxiliary: nn.Module | None, device: torch.device
) -> torch.optim.Optimizer:
    """An optimizer over what `phase` trains; one fused update for each learning rate and decay.

    Parameters
    ----------
    auxiliary : nn.Module, optional
        Heads that are trained along and then dropped.
    """
    groups = _groups(model, options, phase, auxiliary)
    on_gpu = device.type == "cuda"
    if options.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, nesterov=True, weight_decay=options.weight_decay, fused=True)
    if options.optimizer == "rmsprop":
        return torch.optim.RMSprop(
            groups, alpha=0.9, momentum=0.9, eps=1e-3, weight_decay=options.weight_decay, capturable=on_gpu
        )
    return torch.optim.AdamW(groups, weight_decay=options.weight_decay, fused=True, capturable=on_gpu)


class Rates:
    """The learning rate of every group: its own, times a factor that changes with the step.

    On a GPU they are one tensor that the groups look into, because a captured step reads the memory it was captured
    with; on the CPU they are numbers.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
        self.groups = optimizer.param_groups
        self.own = [float(group["lr"]) for group in self.groups]
        self.tensor: Tensor | None = None
        if device.type == "cuda":
            self.base = torch.tensor(self.own, device=device)
            self.tensor = self.base.clone()
        self.attach(optimizer)

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the groups look into the tensor, also after a state was loaded."""
        self.groups = optimizer.param_groups
        if self.tensor is not None:
            for group, rate in zip(self.groups, self.tensor, strict=True):
                group["lr"] = rate

    def set(self, factor: Tensor) -> None:
        """Set all of them; `factor` is a scalar on the device."""
        if self.tensor is not None:
            torch.mul(self.base, factor, out=self.tensor)
            return
        for group, rate in zip(self.groups, self.own, strict=True):
            group["lr"] = rate * float(factor)


def schedule(steps: int, warmup: float, part: tuple[float, float] = (0.0, 1.0)) -> list[float]:
    """Factor of each step: a linear rise over `warmup` steps, then half a cosine to zero.

    Parameters
    ----------
    part : tuple of float
        From which share of the rise and the cosine to which these steps lead: 0 to 1 is all of it.
    """
    begin, end = part
    whole = steps / (end - begin)
    warmup = min(warmup, whole / 4)
    return [_factor(begin * whole + step, whole, warmup) for step in range(steps)]


def _factor(step: float, steps: float, warmup: float) -> float:
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, steps - warmup)))


def _groups(model: nn.Module, options: Train, phase: Phase, auxiliary: nn.Module | None) -> list[dict[str, Any]]:
    """Parameters by learning rate and decay: those of a backbone's stages, which timm numbers, merged where alike."""
    from timm.optim import param_groups_layer_decay

    groups: Any = (
        [{"params": list(classifier(model).parameters())}]
        if phase.frozen
        else param_groups_layer_decay(image_part(model), options.weight_decay, layer_decay=options.layer_decay)
    )
    if (columns := head_of(model)) is not None and (parameters := list(columns.parameters())):
        groups.insert(0, {"params": parameters, "lr_scale": COLUMN_RATE})
    if auxiliary is not None and (heads := list(auxiliary.parameters())):
        groups.append({"params": heads})
    merged: dict[tuple[float, float], dict[str, Any]] = {}
    for group in groups:
        scale, decay = group.get("lr_scale", 1.0), group.get("weight_decay", options.weight_decay)
        alike = merged.setdefault(
            (scale, decay), {"params": [], "lr": phase.learning_rate * scale, "weight_decay": decay}
        )
        alike["params"] += group["params"]
    return list(merged.values())
