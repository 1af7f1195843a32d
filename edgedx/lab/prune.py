"""Structured pruning with torch-pruning, down to a budget of multiply-accumulates instead of a guessed ratio."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import UnsupportedModel
from ..core.preprocess import PreprocessSpec
from ..core.recipe import Student
from .columns import image_part
from .tasks import TrainingTask
from .teacher import classifier

_SUBSTEPS = 50  # how finely the pruner approaches a budget
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


def prune(
    model: nn.Module,
    spec: PreprocessSpec,
    options: Student,
    task: TrainingTask,
    batches: Callable[[int], Iterable[tuple[Tensor, ...]]],
    recover: Callable[[int], None],
) -> list[Any]:
    """Remove channels of `model` in place until it needs ``options.macs`` of its multiply-accumulates.

    Of a model with columns the image's path alone is pruned; gradients are those of the whole answer.
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
        Attention models, and others whose channels cannot be told apart; or the budget cannot be reached within
        ``max_layer_pruning``.
    """
    import torch_pruning as tp

    whole, model = model, image_part(model)
    _refuse_attention(model)
    before = count_macs(model, spec)
    model.requires_grad_(True)
    with _refusing(model):
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
            unwrapped_parameters=_loose_parameters(model),
            channel_groups={},
        )
    taken, spent = 0, before
    for step in range(options.steps):
        budget = before * options.macs ** ((step + 1) / options.steps)
        _gradients(whole, task, batches(step))
        while spent > budget:
            if taken == _SUBSTEPS:
                raise UnsupportedModel(
                    f"pruning stops at {spent / before:.0%} of the multiply-accumulates, "
                    f"the recipe asks for {options.macs:.0%}",
                    next_step="raise student.macs or student.max_layer_pruning, or lower student.round_to",
                )
            with _refusing(model):
                pruner.step()
                spent = count_macs(model, spec)  # a forward pass: channels that do not fit together fail here
            taken += 1
        whole.zero_grad()
        if step + 1 < options.steps:
            recover(step)
    return [[name, bool(out), [int(index) for index in indices]] for name, out, indices in pruner.pruning_history()]


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


@contextmanager
def _refusing(model: nn.Module) -> Iterator[None]:
    """Whatever torch-pruning trips over in a network that it does not understand is no bug of this program."""
    try:
        yield
    except (RuntimeError, AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise UnsupportedModel(
            f"{type(model).__name__} cannot be pruned: {type(error).__name__}: {reason}", next_step=_OTHER_WAY
        ) from error


def _gradients(model: nn.Module, task: TrainingTask, batches: Iterable[tuple[Tensor, ...]]) -> None:
    model.zero_grad()
    model.eval()  # batch statistics must not move while channels are ranked
    for images, targets, *columns in batches:
        loss, _ = task(model, images, targets, *columns)
        loss.backward()  # type: ignore[no-untyped-call]


def _refuse_attention(model: nn.Module) -> None:
    if any("attention" in type(module).__name__.lower() for module in model.modules()):
        raise UnsupportedModel(
            "attention models cannot be pruned",
            next_step=_OTHER_WAY,
        )
