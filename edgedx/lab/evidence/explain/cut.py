"""A timm model cut at its last feature map, and the same with random weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from edgedx.lab.network.backbone import classifier

STAGES = ("head", "last 25 %", "last 50 %", "last 75 %", "all")
"""What is random at each stage of the cascade, counted in layers from the answer down."""


class Cut(nn.Module):
    """Images (N, C, H, W) to margins (N, K), by way of a layer `maps` that passes the last feature map on.

    timm calls that map the output of ``forward_features``; it is no module, and libraries want one to hook.

    Attributes
    ----------
    places : tuple of (int, int)
        Height and width of the last feature map; (1, 1) where there is none of two dimensions.
    """

    def __init__(self, model: nn.Module, task: str, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.model, self.task, self.maps = model, task, nn.Identity()
        with torch.no_grad():
            features = self.features(torch.zeros(1, *input_shape, device=next(model.parameters()).device))
        in_space = features.ndim == 4 and "NHWC" not in str(getattr(model, "output_fmt", ""))
        self.places = (features.shape[2], features.shape[3]) if in_space else (1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, less their mean over the classes where softmax would not see it."""
        return self.head(self.maps(self.features(images)))

    def features(self, images: Tensor) -> Tensor:
        """The last feature map, (N, D, h, w)."""
        found: Tensor = self.model.forward_features(images)  # type: ignore[operator]
        return found

    def head(self, maps: Tensor) -> Tensor:
        """From the feature map to margins."""
        logits: Tensor = self.model.forward_head(maps)  # type: ignore[operator]
        return logits if self.task == "multilabel" else logits - logits.mean(dim=1, keepdim=True)


def cascade(cut: Cut, images: Tensor, seed: int) -> Iterator[tuple[str, Cut]]:
    """Copies whose layers lose what they learned, from the head down (Adebayo et al. 2018, cascading randomization).

    Layers get the initial values of their kind. Batch normalisation gets its statistics from `images` again: those of
    the trained network would drive random activations out of range, and maps would change for that reason alone.
    Parameters that belong to no layer of their own (layer scale, tokens) stay.
    """
    copied = copy.deepcopy(cut)
    head = classifier(copied.model)
    below = [layer for layer in copied.model.modules() if layer is not head and _has_weights(layer)][::-1]
    done = 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for stage, name in enumerate(STAGES):
            upto = round(len(below) * stage / (len(STAGES) - 1))
            for layer in [head, *below[:upto]] if stage == 0 else below[done:upto]:
                layer.reset_parameters()  # type: ignore[operator]
            done = upto
            if stage:
                _measure_again(copied, images)
            yield name, copied


def _has_weights(layer: nn.Module) -> bool:
    return hasattr(layer, "reset_parameters") and any(True for _ in layer.parameters(recurse=False))


def _measure_again(cut: Cut, images: Tensor) -> None:
    norms = [layer for layer in cut.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # the plain mean of all batches
        layer.train()
    if norms:
        with torch.no_grad():
            cut(images)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()
