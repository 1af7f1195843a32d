"""Fake quantization: values are rounded as 8 bits would round them, gradients pass as if they were not."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from .qdq import SMALLEST, EightBit

_MOMENTUM = 0.02


class FakeQuantActivation(nn.Module):
    """Rounds a tensor to 8 bits, one scale for all of it.

    While training, the range follows the activations for `follow` steps and then stands still, so that the weights
    settle on the very numbers that ship. It follows the extremes of a batch, scaled as the calibration had scaled
    those of its images, and within what a merged activation lets through: this range is all that there is of a ReLU6.

    Parameters
    ----------
    tensor : EightBit
        Calibrated range, the start; and limits.
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
        tensor: EightBit,
        extremes: tuple[float, float],
        kind: type[np.uint8] | type[np.int8],
        symmetric: bool,
        follow: int = 0,
    ) -> None:
        super().__init__()
        self.kind, self.symmetric, self.follow, self.limits = kind, symmetric, follow, tensor.limits
        self.shares = [end / extreme if extreme else 1.0 for end, extreme in zip(tensor.ends, extremes, strict=True)]
        self.register_buffer("low", torch.tensor(tensor.ends[0], dtype=torch.float64))
        self.register_buffer("high", torch.tensor(tensor.ends[1], dtype=torch.float64))
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
        scale, zero = self._step()
        least, most = int(np.iinfo(self.kind).min), int(np.iinfo(self.kind).max)
        if self.training:
            return cast(Tensor, torch.fake_quantize_per_tensor_affine(values, scale, zero.int(), least, most))
        # torch multiplies by 1/scale, ONNX divides by scale: halves fall differently, and images are full of halves.
        return cast(Tensor, ((values / scale).round() + zero).clamp(least, most).sub(zero) * scale)

    def _step(self) -> tuple[Tensor, Tensor]:
        """`qdq.step_of` where the range is, so that nobody waits for it: scale and zero point, float32."""
        low, high = self.low.clamp(max=0.0), self.high.clamp(min=0.0)
        if self.symmetric:
            return (torch.maximum(-low, high).clamp(min=SMALLEST) / 127).float(), torch.zeros_like(low).float()
        scale = ((high - low).clamp(min=SMALLEST) / 255).float()
        least = int(np.iinfo(self.kind).min)
        return scale, (least - low / scale.double()).round().clamp(least, least + 255).float()

    def _watch(self, values: Tensor) -> None:
        """Move the range while it still follows; by arithmetic instead of a question, see `_step`."""
        follows = self.steps < self.follow
        now = torch.stack(torch.aminmax(values)).clamp(*self.limits).to(self.seen)
        self.seen += follows * _MOMENTUM * (now - self.seen)
        self.low.copy_(torch.where(follows, self.seen[0] * self.shares[0], self.low))
        self.high.copy_(torch.where(follows, self.seen[1] * self.shares[1], self.high))
        self.steps += follows


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
