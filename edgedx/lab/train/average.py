"""The running mean of a model's weights, which is what training keeps."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Average:
    """Exponential moving average (Polyak and Juditsky 1992) of parameters and running statistics.

    All tensors of a model are moved by a few operations on lists, and the weight is a tensor: a captured step takes
    another one each time.
    """

    def __init__(self, model: nn.Module) -> None:
        self.module = copy.deepcopy(model).eval().requires_grad_(False)
        mine, theirs = list(self.module.state_dict().values()), list(model.state_dict().values())
        moving = [value.is_floating_point() for value in mine]
        self.mine, self.theirs = ([v for v, m in zip(vs, moving, strict=True) if m] for vs in (mine, theirs))
        self.counts = [pair for pair, moves in zip(zip(mine, theirs, strict=True), moving, strict=True) if not moves]

    @torch.no_grad()
    def update(self, weight: Tensor) -> None:
        """Move by `weight` (scalar, 0 to 1) of the way to the model's weights as they are."""
        if weight.device.type == "cpu":
            torch._foreach_lerp_(self.mine, self.theirs, float(weight))
        else:  # a captured step cannot ask what the weight is
            way = torch._foreach_sub(self.theirs, self.mine)
            torch._foreach_mul_(way, weight)
            torch._foreach_add_(self.mine, way)
        for mine, theirs in self.counts:
            mine.copy_(theirs)


def weight_at(step: int, most: float) -> float:
    """How much of the newest weights counts at a step: much at first, then no less than 1 - `most` (as timm's EMA)."""
    decay = min(1 - step ** (-2 / 3), most) if step > 1 else 0.0
    return 1 - decay
