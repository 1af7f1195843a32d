"""The teacher goes on learning, by one of four methods, in the one training loop."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgedx.core.settings.recipe import Recipe
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.feed.targets import class_weights
from edgedx.lab.network.checkpoint import Checkpoint, load_checkpoint
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import Stage, stage_settings
from edgedx.lab.train.distil import Distil
from edgedx.lab.train.finetune import STATE
from edgedx.lab.train.finish import finish
from edgedx.lab.train.loop import fit
from edgedx.lab.train.phase import Outcome, Phase, Training
from edgedx.lab.train.tasks import Classify, TrainingTask

from .elastic import Elastic, anchor_of, fisher

MOST_REPEATS = 10
"""Times that rehearsal shows a new image in an epoch, at most: a few images seen more often are learned by heart."""


def update_teacher(
    recipe: Recipe, before: Run, old_train: Dataset | None, after: Run, data: Dataset, new: np.ndarray, origin: str
) -> dict[str, Any]:
    """Train the teacher of `after` from that of `before`; return the stage's record.

    Parameters
    ----------
    old_train : Dataset, optional
        What the old teacher was trained with, for EWC's information.
    data : Dataset
        Of the update; its train holds what the method may show.
    new : ndarray of shape (len(data),), bool
        Which of its images are new.
    origin : str
        Where the weights began, in words, for the card.
    """
    start = load_checkpoint(before.teacher.path, dropout=recipe.model.dropout)
    folder = after.teacher.path
    settings = stage_settings(recipe, "task", "preprocess", "augment", "train", "update")
    stage = Stage(folder, settings, {"data": data.digest, "start": start.card.sha256})

    def work() -> dict[str, Any]:
        model, outcome = learn(recipe, start, old_train, data, new, state=folder / STATE)
        return finish(model, recipe, data, folder, outcome, role="teacher", weights_from=origin)

    record = stage.run(work, resume=True)
    (folder / STATE).unlink(missing_ok=True)  # only now: until the record stands, it can be resumed
    return record


def learn(
    recipe: Recipe,
    start: Checkpoint,
    old_train: Dataset | None,
    data: Dataset,
    new: np.ndarray,
    *,
    state: Path | None = None,
) -> tuple[nn.Module, Outcome]:
    """Train on from a checkpoint (see `update_teacher`); what is trained is `start`'s own model."""
    torch.manual_seed(recipe.train.seed)
    options, model = recipe.update, start.model
    chosen = np.flatnonzero([split == "train" for split in data.splits])
    both = options.method == "rehearsal"
    train = data.take(rehearsed(chosen, new[chosen], options.new_share) if both else chosen[new[chosen]])
    outcome = fit(
        Training(
            model,
            _task(recipe, model, old_train, train),
            train,
            data.subset("val"),
            recipe,
            [Phase("update", options.epochs, options.learning_rate)],
            title=f"teacher by {options.method}",
        ),
        state=state,
        resume=True,
        keep_state=True,
    )
    return model, outcome


def rehearsed(chosen: np.ndarray, new: np.ndarray, share: float) -> np.ndarray:
    """Positions of an epoch: every old image once, and new ones as often as makes them about `share` of all."""
    old, fresh = chosen[~new], chosen[new]
    if not len(old) or not len(fresh):
        return chosen
    times = round(share / (1 - share) * len(old) / len(fresh))
    return np.sort(np.concatenate([old, np.tile(fresh, min(max(times, 1), MOST_REPEATS))]))


def _task(recipe: Recipe, model: nn.Module, old_train: Dataset | None, train: Dataset) -> TrainingTask:
    options = recipe.update
    weights = _weights(train, recipe) if recipe.train.imbalance == "loss" else None
    labels = Classify(recipe.task, weights, recipe.train.label_smoothing)
    if options.method == "distil":
        teacher = copy.deepcopy(model)
        return Distil(teacher, labels, temperature=options.temperature, weight=options.distill_weight)
    if options.method == "ewc":
        assert old_train is not None, "EWC needs the old training images; checked before"
        information = fisher(copy.deepcopy(model), old_train, recipe.task, recipe.preprocess, recipe.train.seed)
        return Elastic(labels, anchor_of(model), information, options.ewc_weight)
    return labels


def _weights(train: Dataset, recipe: Recipe) -> np.ndarray:
    """Class weights; a class that no new image is of has no say, where `class_weights` would let one image of it."""
    return np.asarray(np.minimum(class_weights(train, recipe.task), 20.0), np.float32)
