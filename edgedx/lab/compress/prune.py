"""Structured pruning with torch-pruning, down to a budget of multiply-accumulates instead of a guessed ratio."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from edgedx.core.errors import UnsupportedModel
from edgedx.core.preprocess import PreprocessSpec
from edgedx.core.settings.recipe_sections import Student
from edgedx.lab.network.backbone import classifier
from edgedx.lab.network.column_head import image_part
from edgedx.lab.network.pruned import _OTHER_WAY, _loose_parameters, count_macs
from edgedx.lab.train.tasks import TrainingTask

_SUBSTEPS = 50  # how finely the pruner approaches a budget


def prune(
    model: nn.Module,
    spec: PreprocessSpec,
    options: Student,
    task: TrainingTask,
    batches: Callable[[int], Iterable[tuple[Tensor, ...]]],
    recover: Callable[[int], None],
    *,
    bf16: bool = False,
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
    bf16 : bool
        Compute the gradients as a training in bf16 does.

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
            torch.zeros(2, *spec.input_shape, device=next(model.parameters()).device),
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
        _gradients(whole, task, batches(step), bf16)
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


def _gradients(model: nn.Module, task: TrainingTask, batches: Iterable[tuple[Tensor, ...]], bf16: bool) -> None:
    model.zero_grad()
    model.eval()  # batch statistics must not move while channels are ranked
    for images, targets, *columns in batches:
        # In the precision of a training: a GPU has planned its convolutions for that, and to plan others takes longer
        # than to rank.
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16, cache_enabled=False):
            loss, _ = task(model, images, targets, *columns)
        loss.backward()  # type: ignore[no-untyped-call]


def _refuse_attention(model: nn.Module) -> None:
    if any("attention" in type(module).__name__.lower() for module in model.modules()):
        raise UnsupportedModel(
            "attention models cannot be pruned",
            next_step=_OTHER_WAY,
        )
