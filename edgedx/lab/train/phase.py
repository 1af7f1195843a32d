"""A training: what is trained on what, phase by phase, and what it gave."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import nn

from edgedx.core.settings.recipe import Recipe
from edgedx.lab.data.dataset import Dataset

if TYPE_CHECKING:
    from .tasks import TrainingTask


@dataclass(frozen=True)
class Phase:
    """A stretch of training with its own optimizer and schedule.

    Attributes
    ----------
    epochs : float
        May be a fraction.
    frozen : bool
        Train the classifier alone, with the base in eval mode (its batch statistics too).
    steps : int
        Where set, the length in steps instead of epochs: a control trains as long as what it is compared with.
    part : tuple of float
        Where the phase lies in a schedule that is longer than itself, from which share of it to which: the rounds of a
        federation are parts of one.
    fixed_statistics : bool
        Batch norm normalizes by its running statistics as they are, and leaves them so.
    """

    name: str
    epochs: float
    learning_rate: float
    frozen: bool = False
    steps: int = 0
    part: tuple[float, float] = (0.0, 1.0)
    fixed_statistics: bool = False

    def length(self, steps_per_epoch: int) -> int:
        """Steps of this phase."""
        return self.steps or (max(1, math.ceil(self.epochs * steps_per_epoch)) if self.epochs else 0)


@dataclass(frozen=True)
class Training:
    """What `loop.fit` is asked to do.

    Attributes
    ----------
    model : nn.Module
        Trained in place.
    task : TrainingTask
        Turns a batch into a loss.
    train, val : Dataset
        Learned from, and looked at after each epoch.
    recipe : Recipe
        Its sections train, augment, preprocess and columns decide.
    extra : Dataset, optional
        Images without labels, mixed into each epoch; only for a task that can do without labels.
    title : str
        What the progress bar calls it.
    ahead : int
        Steps of later trainings, for the time left that is shown.
    alone : bool
        By this process alone, where there are several.
    watch : callable, optional
        Is given each line of the history as soon as it is there; what it raises ends the training.
    """

    model: nn.Module
    task: TrainingTask
    train: Dataset
    val: Dataset
    recipe: Recipe
    phases: Sequence[Phase]
    extra: Dataset | None = None
    title: str = "training"
    ahead: int = 0
    alone: bool = False
    watch: Callable[[dict[str, Any]], object] | None = None


@dataclass
class Outcome:
    """What training leaves beside the weights.

    Attributes
    ----------
    history : list of dict
        One line per epoch: phase, epoch, loss, val_auc, learning_rate, seconds.
    data_share : float
        Share of the time that steps waited for data, 0 to 1.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    data_share: float = 0.0
    images_per_s: float = 0.0
