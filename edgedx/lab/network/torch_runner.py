"""torch as a `Runner`: a trained model answers in the way that ONNX Runtime and TensorRT do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgedx.core.preprocess import Canvas, PreprocessSpec
from edgedx.device.runtime.runner import Output, Runner

from .backbone import WithFeatures
from .column_head import head_of, image_part
from .inputs import Normaliser, as_tensor, best_device, widen


class TorchRunner(Runner):
    """Runs a classifier in eval mode; afterwards it trains on where it was.

    Parameters
    ----------
    model : nn.Module
        Images (N, C, H, W), and encoded columns (N, T) where it has a head for them, to logits (N, K).
    device : torch.device or str, optional
        Where it runs, and stays; a GPU where there is one.
    features : bool
        Give the pooled features too, by timm's ``forward_features`` and ``forward_head``.
    bf16 : bool
        Compute as a training in bf16 does: for looks at val between its epochs.
    """

    def __init__(
        self,
        model: nn.Module,
        device: torch.device | str | None = None,
        *,
        features: bool = False,
        bf16: bool = False,
    ) -> None:
        self.model, self.features, self.bf16 = model, features, bf16
        self.largest = 0
        self.device = best_device() if device is None else torch.device(device)
        self.provider = f"PyTorch on {self.device.type}"
        self._was_training = model.training

    def activate(self) -> None:
        """Put the model onto its device, in eval mode."""
        self._was_training = self.model.training
        self.model.to(self.device).eval()

    @torch.inference_mode()
    def infer(
        self, batch: NDArray[np.float32], columns: NDArray[np.float32] | None = None, *, cam: bool = False
    ) -> Output:
        """Run a batch of shape (N, C, H, W), float32 (see `Runner.infer`); it has no class activation maps to give."""
        return self._ask(torch.from_numpy(batch).to(self.device, memory_format=torch.channels_last), columns)

    @torch.inference_mode()
    def infer_canvases(
        self, canvases: Canvas, spec: PreprocessSpec, columns: NDArray[np.float32] | None = None
    ) -> Output:
        """`infer` of normalised canvases; they travel as they are, and are normalised on the device."""
        values = widen(as_tensor(np.ascontiguousarray(canvases)).to(self.device))
        return self._ask(Normaliser(spec, self.device)(values), columns)

    def _ask(self, images: torch.Tensor, columns: NDArray[np.float32] | None) -> Output:
        head = head_of(self.model)  # a model that takes no columns never learned from any
        beside = None if head is None or columns is None else torch.from_numpy(columns).to(self.device)
        count, self.largest = len(images), max(self.largest, len(images))
        if self.device.type == "cuda" and count < self.largest:
            # cuDNN plans every convolution anew for another batch, which takes longer than a few images more.
            images = torch.cat([images, images.new_zeros(self.largest - count, *images.shape[1:])])
            if beside is not None:
                beside = torch.cat([beside, beside.new_zeros(self.largest - count, beside.shape[1])])
        with self._precision():
            if not self.features:
                logits = self.model(images) if beside is None else self.model(images, beside)
                return Output(logits.float()[:count].cpu().numpy())
            logits, features = WithFeatures(image_part(self.model))(images)
            if head is not None:
                logits = logits + head(images.new_zeros(len(images), head.inputs) if beside is None else beside)
        return Output(logits.float()[:count].cpu().numpy(), features.float()[:count].cpu().numpy())

    @contextmanager
    def _precision(self) -> Iterator[None]:
        """Full precision unless told: an answer is compared with that of other kernels to a few millionths.

        In bf16 nothing else differs from a training, for whose convolutions cuDNN has its plans.
        """
        if self.bf16:
            with torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False):
                yield
        else:
            with torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False):
                yield

    def deactivate(self) -> None:
        """Give the model its mode back."""
        self.model.train(self._was_training)
