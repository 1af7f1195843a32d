"""Structured pruning with torch-pruning, down to a budget of multiply-accumulates instead of a guessed ratio."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import UnsupportedModel
from ..core.preprocess import PreprocessSpec
from ..core.recipe import Student
from .tasks import TrainingTask
from .teacher import classifier

_SUBSTEPS = 50  # how finely the pruner approaches a budget


def count_macs(model: nn.Module, spec: PreprocessSpec) -> int:
    """Multiply-accumulates of one image."""
    import torch_pruning as tp

    device = next(model.parameters()).device
    macs, _ = tp.utils.count_ops_and_params(model, torch.zeros(1, *spec.input_shape, device=device))
    return int(macs)


def prune(
    model: nn.Module,
    spec: PreprocessSpec,
    options: Student,
    task: TrainingTask,
    batches: Callable[[int], Iterable[tuple[Tensor, Tensor]]],
    recover: Callable[[int], None],
) -> list[Any]:
    """Remove channels of `model` in place until it needs ``options.macs`` of its multiply-accumulates.

    Channels are ranked by a first-order Taylor expansion of the loss (Molchanov et al. 2019), globally but compared
    only within groups of the same structure (isomorphic pruning, Fang et al. 2024).

    Parameters
    ----------
    batches : callable
        Step number to batches whose gradients rank the channels.
    recover : callable
        Called with the step number after every step but the last, to train the model a little.

    Returns
    -------
    list
        The pruning history as JSON, for `replay`.

    Raises
    ------
    UnsupportedModel
        Attention models; or the budget cannot be reached within ``max_layer_pruning``.
    """
    import torch_pruning as tp

    _refuse_attention(model)
    before = count_macs(model, spec)
    model.requires_grad_(True)
    pruner = tp.pruner.BasePruner(
        model,
        torch.zeros(2, *spec.input_shape),
        importance=tp.importance.GroupTaylorImportance(),
        global_pruning=True,
        isomorphic=True,
        pruning_ratio=0.95,
        max_pruning_ratio=options.max_layer_pruning,
        iterative_steps=_SUBSTEPS,
        ignored_layers=[classifier(model)],
        round_to=options.round_to,
        # torch-pruning's defaults are shared between pruners: a fresh one for each
        in_channel_groups={},
        out_channel_groups={},
        num_heads={},
        unwrapped_parameters=None,
        channel_groups={},
    )
    taken = 0
    for step in range(options.steps):
        budget = before * options.macs ** ((step + 1) / options.steps)
        _gradients(model, task, batches(step))
        while count_macs(model, spec) > budget:
            if taken == _SUBSTEPS:
                raise UnsupportedModel(
                    f"pruning stops at {count_macs(model, spec) / before:.0%} of the multiply-accumulates, "
                    f"the recipe asks for {options.macs:.0%}",
                    next_step="raise student.macs or student.max_layer_pruning, or lower student.round_to",
                )
            pruner.step()
            taken += 1
        model.zero_grad()
        if step + 1 < options.steps:
            recover(step)
    return [[name, bool(out), [int(index) for index in indices]] for name, out, indices in pruner.pruning_history()]


def replay(model: nn.Module, history: list[Any], spec: PreprocessSpec) -> None:
    """Prune a freshly built model as `history` tells; the structure comes out the same to the bit."""
    import torch_pruning as tp

    model.requires_grad_(True)
    graph = tp.DependencyGraph().build_dependency(model, example_inputs=torch.zeros(2, *spec.input_shape))
    graph.load_pruning_history(copy.deepcopy(history))


def _gradients(model: nn.Module, task: TrainingTask, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    model.zero_grad()
    model.eval()  # batch statistics must not move while channels are ranked
    for images, targets in batches:
        loss, _ = task(model, images, targets)
        loss.backward()  # type: ignore[no-untyped-call]


def _refuse_attention(model: nn.Module) -> None:
    if any("attention" in type(module).__name__.lower() for module in model.modules()):
        raise UnsupportedModel(
            "attention models cannot be pruned",
            next_step="distil into a convolutional student: --set student.backbone=tf_efficientnet_lite0 "
            "--set student.weights=auto --set student.macs=1",
        )
