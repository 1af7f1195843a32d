"""The structure of a pruned network: replayed from its history, and counted in multiply-accumulates."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from edgedx.core.errors import UnsupportedModel
from edgedx.core.preprocess import PreprocessSpec

from .column_head import image_part

_OTHER_WAY = (
    "distil into a convolutional student: --set student.backbone=tf_efficientnet_lite0 "
    "--set student.weights=auto --set student.macs=1"
)


def count_macs(model: nn.Module, spec: PreprocessSpec) -> int:
    """Multiply-accumulates of one image, without those of a head of columns."""
    import torch_pruning as tp

    model = image_part(model)
    device = next(model.parameters()).device
    macs, _ = tp.utils.count_ops_and_params(model, torch.zeros(1, *spec.input_shape, device=device))
    return int(macs)


def replay(model: nn.Module, history: list[Any], spec: PreprocessSpec) -> None:
    """Prune a freshly built model as `history` tells; the structure comes out the same to the bit."""
    import torch_pruning as tp

    model.requires_grad_(True)
    graph = tp.DependencyGraph().build_dependency(
        model, example_inputs=torch.zeros(2, *spec.input_shape), unwrapped_parameters=_loose_parameters(model)
    )
    graph.load_pruning_history(copy.deepcopy(history))


def _loose_parameters(model: nn.Module) -> list[tuple[nn.Parameter, int]]:
    """Parameters that belong to no layer which torch-pruning knows, each with the dimension that is its channels.

    ConvNeXt scales each residual branch by a vector ``gamma`` of the block itself. Left to itself, torch-pruning
    guesses the dimension and warns; a vector leaves nothing to guess, and of anything else we do not know.
    """
    import torch_pruning as tp

    known = tp.DependencyGraph().REGISTERED_PRUNERS
    loose: list[tuple[nn.Parameter, int]] = []
    for path, module in model.named_modules():
        kind = tp.ops.module2type(module)
        if kind in known and kind != tp.ops.OPTYPE.ELEMENTWISE:
            continue
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.squeeze().ndim > 1:
                raise UnsupportedModel(
                    f"{path}.{name} of shape {tuple(parameter.shape)} belongs to no layer that can be pruned",
                    next_step=_OTHER_WAY,
                )
            if parameter.numel() > 1:
                loose.append((parameter, max(range(parameter.ndim), key=lambda axis: parameter.shape[axis])))
    return loose
