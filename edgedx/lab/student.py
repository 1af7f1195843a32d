"""Teacher to student: prune, then distil."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..core.recipe import Recipe
from .checkpoint import CARD, Checkpoint, ModelCard, load_checkpoint, save_checkpoint
from .dataset import Dataset
from .feed import Feed
from .finetune import finish
from .loop import Phase, fit
from .prune import count_macs, prune
from .stage import Stage
from .tasks import Classify, Distil, class_weights
from .teacher import build_model
from .weights import load_weights


def make_student(
    recipe: Recipe, run: Path, teacher: Checkpoint, data: Dataset, *, resume: bool = False, overwrite: bool = False
) -> dict[str, Any]:
    """Train the student into ``run/student`` and return the stage's record."""
    include = {"task", "preprocess", "augment", "train", "student", "model", "gate"}
    stage = Stage(
        run / "student",
        recipe.model_dump(mode="json", include=include),
        {"data": data.digest, "teacher": teacher.card.sha256},
    )
    return stage.run(
        lambda: _train_student(recipe, teacher, data, stage.folder, resume), overwrite=overwrite, resume=resume
    )


def _train_student(recipe: Recipe, teacher: Checkpoint, data: Dataset, folder: Path, resume: bool) -> dict[str, Any]:
    train, val = data.subset("train"), data.subset("val")
    weights = class_weights(train, recipe.task) if recipe.train.imbalance == "loss" else None
    options = recipe.student
    task = Distil(
        teacher.model,
        Classify(recipe.task, weights, recipe.train.label_smoothing),
        temperature=options.temperature,
        weight=options.distill_weight,
    )
    pruned, state = folder / "pruned", folder / "state.safetensors"
    if not resume:
        state.unlink(missing_ok=True)
        (pruned / CARD).unlink(missing_ok=True)
    if (pruned / CARD).is_file():
        model, history = _reopen(pruned)
    else:
        model = _start(recipe, teacher)
        history = _prune(recipe, model, task, train, val) if options.macs < 1 else []
        save_checkpoint(pruned, model, _card(recipe, teacher, history))
    macs = {"macs": count_macs(model, recipe.preprocess), "teacher_macs": count_macs(teacher.model, recipe.preprocess)}
    phases = [Phase("distil", options.epochs, options.learning_rate)]
    outcome = fit(model, task, train, val, recipe, phases, state=state, resume=resume, title="student")
    return macs | finish(
        model, recipe, data, folder, outcome, role="student", weights_from="teacher, distilled", pruning=history
    )


def _start(recipe: Recipe, teacher: Checkpoint) -> nn.Module:
    options = recipe.student
    same = options.backbone == "same"
    torch.manual_seed(recipe.train.seed)
    model = build_model(
        teacher.card.backbone if same else options.backbone,
        len(recipe.task.classes),
        recipe.preprocess,
        dropout=recipe.model.dropout,
    )
    if same and options.weights == "teacher":
        model.load_state_dict(teacher.model.state_dict())
    else:
        load_weights(model, options.backbone, options.weights)
    return model


def _reopen(pruned: Path) -> tuple[nn.Module, list[Any]]:
    found = load_checkpoint(pruned)
    return found.model, found.card.pruning


def _card(recipe: Recipe, teacher: Checkpoint, history: list[Any]) -> ModelCard:
    same = recipe.student.backbone == "same"
    return ModelCard(
        backbone=teacher.card.backbone if same else recipe.student.backbone,
        task=recipe.task,
        preprocess=recipe.preprocess,
        role="student, pruned, not yet distilled",
        weights_from="teacher",
        pruning=history,
        synthetic=recipe.synthetic,
    )


def _prune(recipe: Recipe, model: nn.Module, task: Distil, train: Dataset, val: Dataset) -> list[Any]:
    options = recipe.student
    feed = Feed(
        train, recipe.task, recipe.preprocess, recipe.augment, batch_size=recipe.train.batch_size, sampler=False, seed=1
    )

    def batches(step: int) -> Iterable[tuple[Tensor, Tensor]]:
        first = step * options.importance_batches
        return feed.batches(first, first + options.importance_batches)

    def recover(step: int) -> None:
        if options.recovery_epochs:
            phase = Phase(
                f"recover {step + 1} of {options.steps - 1}", options.recovery_epochs, options.learning_rate / 2
            )
            fit(model, task, train, val, recipe, [phase], title="pruning")
            model.to("cpu")
            task.to(torch.device("cpu"))

    return prune(model, recipe.preprocess, options, task, batches, recover)
