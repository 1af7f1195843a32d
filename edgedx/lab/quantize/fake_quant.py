"""Fake quantization: values are rounded as 8 bits would round them, gradients pass as if they were not."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from .qdq import step_of

_MOMENTUM = 0.02


class FakeQuantActivation(nn.Module):
    """Rounds a tensor to 8 bits, one scale for all of it.

    While training, the range follows the activations for `follow` steps and then stands still, so that the weights
    settle on the very numbers that ship. It follows the extremes of a batch, scaled as the calibration had scaled
    those of its images.

    Parameters
    ----------
    ends : (float, float)
        Calibrated range, the start.
    extremes : (float, float)
        Least and greatest value that calibration saw.
    kind : type
        numpy's uint8 or int8.
    symmetric : bool
        Evenly around zero, as TensorRT wants it.
    follow : int
        Steps; 0: the range never moves.
    """

    low: Tensor
    high: Tensor
    seen: Tensor
    steps: Tensor

    def __init__(
        self,
        ends: tuple[float, float],
        extremes: tuple[float, float],
        kind: type[np.uint8] | type[np.int8],
        symmetric: bool,
        follow: int = 0,
    ) -> None:
        super().__init__()
        self.kind, self.symmetric, self.follow = kind, symmetric, follow
        self.shares = [end / extreme if extreme else 1.0 for end, extreme in zip(ends, extremes, strict=True)]
        self.register_buffer("low", torch.tensor(ends[0], dtype=torch.float64))
        self.register_buffer("high", torch.tensor(ends[1], dtype=torch.float64))
        self.register_buffer("seen", torch.tensor(extremes, dtype=torch.float64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @property
    def ends(self) -> tuple[float, float]:
        """The range as it is now."""
        return float(self.low), float(self.high)

    def forward(self, values: Tensor) -> Tensor:
        """Same shape, float32."""
        if self.training and self.follow:
            self._watch(values.detach())
        step, zero = step_of(self.ends, self.symmetric, self.kind)
        scale, least, most = float(step), int(np.iinfo(self.kind).min), int(np.iinfo(self.kind).max)
        if self.training:
            return cast(Tensor, torch.fake_quantize_per_tensor_affine(values, scale, zero, least, most))
        # torch multiplies by 1/scale, ONNX divides by scale: halves fall differently, and images are full of halves.
        return ((values / scale).round() + zero).clamp(least, most).sub(zero) * scale

    def _watch(self, values: Tensor) -> None:
        if int(self.steps) >= self.follow:
            return
        self.steps += 1
        now = torch.stack(torch.aminmax(values)).to(self.seen)
        self.seen += _MOMENTUM * (now - self.seen)
        self.low.copy_(self.seen[0] * self.shares[0])
        self.high.copy_(self.seen[1] * self.shares[1])


class FakeQuantWeight(nn.Module):
    """Rounds a weight to 8 (7) bits, one scale for each output channel, from the weight as it is now.

    Parameters
    ----------
    axis : int
        Of output channels.
    peak : int
        127, or 63 for 7 bits.
    """

    def __init__(self, axis: int, peak: int) -> None:
        super().__init__()
        self.axis, self.peak = axis, peak

    def forward(self, weight: Tensor) -> Tensor:
        """Same shape, float32."""
        others = [place for place in range(weight.ndim) if place != self.axis]
        scales = (weight.detach().abs().amax(dim=others) / self.peak).clamp(min=1e-12)
        if not self.training:
            shape = [-1 if place == self.axis else 1 for place in range(weight.ndim)]
            spread = scales.view(shape)
            return (weight / spread).round().clamp(-self.peak, self.peak) * spread
        zeros = torch.zeros_like(scales, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scales, zeros, self.axis, -self.peak, self.peak)
