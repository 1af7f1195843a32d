"""The student before distillation: the teacher's copy, or another backbone, pruned; kept as a checkpoint.

Distillation, its temperature trials and its control without a teacher all begin at this one checkpoint.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgedx.core.settings.recipe import Recipe
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.feed.feed import Feed
from edgedx.lab.network.backbone import build_model
from edgedx.lab.network.checkpoint import Checkpoint, load_checkpoint, load_state, save_checkpoint, save_state
from edgedx.lab.network.column_head import with_columns
from edgedx.lab.network.inputs import best_device
from edgedx.lab.network.weights import load_weights
from edgedx.lab.run.card import CARD, ModelCard
from edgedx.lab.train.loop import fit
from edgedx.lab.train.phase import Phase, Training
from edgedx.lab.train.processes import is_main
from edgedx.lab.train.step import uses_bf16
from edgedx.lab.train.tasks import TrainingTask

from .prune import prune
from .time_left import RemainingSteps


def make_start(
    recipe: Recipe,
    teacher: Checkpoint,
    task: TrainingTask,
    train: Dataset,
    val: Dataset,
    folder: Path,
    work: Path,
    plan: RemainingSteps,
) -> None:
    """Build and prune the student into `folder`, unless it is there.

    Parameters
    ----------
    task : TrainingTask
        Whose gradients rank the channels, and which the recovery trains.
    work : Path
        Folder for what a killed run continues from.
    plan : RemainingSteps
        With `recovery_phases` in it.
    """
    if (folder / CARD).is_file():
        return
    model, origin = _build(recipe, teacher)
    history = _prune(recipe, model, task, train, val, work, plan) if recipe.student.macs < 1 else []
    card = ModelCard(
        backbone=student_backbone(recipe, teacher),
        task=recipe.task,
        preprocess=recipe.preprocess,
        role="student, pruned, not yet distilled",
        weights_from=origin,
        pruning=history,
        columns=teacher.card.columns,
        synthetic=recipe.synthetic,
    )
    if is_main():
        save_checkpoint(folder, model, card)


def open_start(recipe: Recipe, folder: Path) -> tuple[nn.Module, ModelCard]:
    """The checkpoint that `make_start` wrote, ready to be trained on.

    Always from the file, also in the process that wrote it: a run that was killed in between starts from the same
    tensors, in the same memory layout.
    """
    checkpoint = load_checkpoint(folder, dropout=recipe.model.dropout)
    return checkpoint.model, checkpoint.card


def student_backbone(recipe: Recipe, teacher: Checkpoint) -> str:
    """timm name of the student."""
    return teacher.card.backbone if recipe.student.backbone == "same" else recipe.student.backbone


def recovery_phases(recipe: Recipe) -> list[Phase]:
    """Training between pruning steps."""
    options = recipe.student
    if options.macs >= 1 or not options.recovery_epochs:
        return []
    return [
        Phase(f"recover {step + 1} of {options.steps - 1}", options.recovery_epochs, options.learning_rate / 2)
        for step in range(options.steps - 1)
    ]


def _build(recipe: Recipe, teacher: Checkpoint) -> tuple[nn.Module, str]:
    options = recipe.student
    torch.manual_seed(recipe.train.seed)
    model = build_model(
        student_backbone(recipe, teacher), len(recipe.task.classes), recipe.preprocess, dropout=recipe.model.dropout
    )
    from_backbone = options.backbone != "same" or options.weights != "teacher"
    origin = load_weights(model, student_backbone(recipe, teacher), options.weights) if from_backbone else "teacher"
    model = with_columns(model, teacher.card.columns, len(recipe.task.classes))
    if not from_backbone:
        model.load_state_dict(teacher.model.state_dict())
    return model, origin


def _prune(
    recipe: Recipe,
    model: nn.Module,
    task: TrainingTask,
    train: Dataset,
    val: Dataset,
    work: Path,
    plan: RemainingSteps,
) -> list[Any]:
    options, recoveries = recipe.student, recovery_phases(recipe)
    device = best_device()
    feed = Feed(
        train,
        recipe.task,
        recipe.preprocess,
        recipe.augment,
        batch_size=recipe.train.batch_size,
        sampler=False,
        seed=1,
        device=device,
        absent=recipe.columns.absent,
    )
    model.to(device)
    task.to(device)

    def batches(step: int) -> Iterable[tuple[Tensor, ...]]:
        first = step * options.importance_batches
        return feed.batches(first, first + options.importance_batches)

    def recover(step: int) -> None:
        if not recoveries:
            return
        # Ranking and pruning take seconds and are repeated after a kill; this training is kept.
        done = work / f"recovered-{step + 1}.safetensors"
        if done.is_file():
            tensors, _ = load_state(done)
            model.load_state_dict(tensors)
        else:
            # A copy is trained: the pruner holds on to gradients of the original, which belong to no captured step.
            trained = copy.deepcopy(model)
            fit(
                Training(
                    trained,
                    task,
                    train,
                    val,
                    recipe,
                    [recoveries[step]],
                    title="pruning",
                    ahead=plan.ahead(recoveries[step]),
                ),
                state=work / f"recovering-{step + 1}.safetensors",
                resume=True,
                keep_state=True,
            )
            model.load_state_dict(trained.state_dict())
            if is_main():
                save_state(done, model.state_dict(), {})
        _lay_out(model)

    history = prune(model, recipe.preprocess, options, task, batches, recover, bf16=uses_bf16(recipe, device))
    model.to("cpu")
    task.to(torch.device("cpu"))
    return history


def _lay_out(model: nn.Module) -> None:
    """Give every tensor the plain memory layout: kernels, and so the last bits of gradients, depend on it."""
    for tensor in [*model.parameters(), *model.buffers()]:
        tensor.data = torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device).copy_(tensor.data)
