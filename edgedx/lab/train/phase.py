"""One phase of training, and what a training gave."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


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
    """

    name: str
    epochs: float
    learning_rate: float
    frozen: bool = False
    steps: int = 0

    def length(self, steps_per_epoch: int) -> int:
        """Steps of this phase."""
        return self.steps or (max(1, math.ceil(self.epochs * steps_per_epoch)) if self.epochs else 0)


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
