"""A task turns a batch into a loss and logits; one loop trains them all."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgedx.core.settings.recipe import Recipe
from edgedx.core.settings.recipe_sections import Task as TaskSpec
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.feed.targets import class_shares, class_weights


class TrainingTask(Protocol):
    """What the loop trains.

    A task with tensors of its own (heads trained along, counters) holds them in a module ``auxiliary``: the loop
    trains its parameters with the model's and keeps all of it in the training state.
    """

    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor, *columns: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss (scalar) and the logits (N, K) for images (N, C, H, W) and soft targets (N, K).

        Where the data set has columns, one more tensor (N, T) is given, and handed on to every model that is asked.
        """
        ...

    def to(self, device: torch.device) -> None:
        """Move what the task holds."""
        ...


class Classify:
    """Cross-entropy on labels: softmax, or a sigmoid per finding with unknown labels left out.

    Parameters
    ----------
    weights : ndarray of shape (K,), optional
        From `class_weights`.
    smoothing : float
        Share of the target that is spread over all classes.
    prior : ndarray of shape (K,), optional
        Share of each class in training, for balanced softmax (Ren et al. 2020).
    focal : float
        Gamma of the focal loss (Lin et al. 2017); 0 is off.
    """

    def __init__(
        self,
        task: TaskSpec,
        weights: np.ndarray | None = None,
        smoothing: float = 0.0,
        *,
        prior: np.ndarray | None = None,
        focal: float = 0.0,
    ) -> None:
        self.multilabel = task.kind == "multilabel"
        self.weights = None if weights is None else torch.from_numpy(weights)
        self.shift = None if prior is None else torch.from_numpy(np.log(prior).astype(np.float32))
        self.smoothing, self.focal = smoothing, focal

    @classmethod
    def of(cls, recipe: Recipe, train: Dataset) -> Classify:
        """As a recipe wants its labels learned."""
        options = recipe.train
        weights = class_weights(train, recipe.task) if options.imbalance == "loss" else None
        prior = class_shares(train, recipe.task) if options.imbalance == "balanced-softmax" else None
        return cls(recipe.task, weights, options.label_smoothing, prior=prior, focal=options.focal)

    def to(self, device: torch.device) -> None:
        """Move what belongs to the classes."""
        self.weights = None if self.weights is None else self.weights.to(device)
        self.shift = None if self.shift is None else self.shift.to(device)

    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor, *columns: Tensor) -> tuple[Tensor, Tensor]:
        """See `TrainingTask`."""
        logits = model(images, *columns)
        return self.loss(logits.float(), targets), logits

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean loss over the batch, weighted where weights are set; a row of targets that is all NaN does not count."""
        if self.multilabel:
            known = ~torch.isnan(targets)
            smooth = torch.nan_to_num(targets) * (1 - self.smoothing) + self.smoothing / 2
            each = F.binary_cross_entropy_with_logits(logits, smooth, pos_weight=self.weights, reduction="none")
            if self.focal:
                missed = (torch.sigmoid(logits) - torch.nan_to_num(targets)).abs()
                each = each * missed.pow(self.focal)
            return (each * known).sum() / known.sum().clamp(min=1)
        # By masks, not by picking rows: how many rows there are would have to be asked of the device.
        labelled = ~torch.isnan(targets[:, :1])
        targets = torch.nan_to_num(targets)
        weighted = targets if self.weights is None else targets * self.weights
        smooth = (targets * (1 - self.smoothing) + self.smoothing / targets.shape[1]) * labelled
        smooth = smooth if self.weights is None else smooth * self.weights
        logs = F.log_softmax(logits if self.shift is None else logits + self.shift, dim=1)
        if self.focal:
            logs = logs * (1 - logs.exp()).clamp(min=0).pow(self.focal)
        return -(smooth * logs).sum() / weighted.sum().clamp(min=1e-6)
