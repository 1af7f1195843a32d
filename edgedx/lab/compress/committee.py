"""Several teachers as one: the student learns the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from edgedx.core.errors import UsageError
from edgedx.core.settings.recipe_training import Augment
from edgedx.lab.network.backbone import classifier
from edgedx.lab.network.checkpoint import Checkpoint, load_checkpoint


class Committee(nn.Module):
    """Teachers whose probabilities, each calibrated by its own temperature, are averaged; it answers their logits.

    Where features are distilled too (CRD), they are those of the first member, the run's own teacher.
    """

    def __init__(self, members: Sequence[Checkpoint]) -> None:
        super().__init__()
        self.members = nn.ModuleList(one.model for one in members)
        self.temperatures = [one.card.temperature for one in members]
        self.multilabel = members[0].card.task.kind == "multilabel"

    def forward(self, images: Tensor, *columns: Tensor) -> Tensor:
        """Map (N, C, H, W), and columns (N, T) where the members take them, to logits (N, K), float32.

        They are log probabilities, or log odds of findings.
        """
        pairs = zip(self.members, self.temperatures, strict=True)
        said = [model(images, *columns).float() / temperature for model, temperature in pairs]
        logits = torch.stack(said)
        if self.multilabel:
            return _log_mean(nn.functional.logsigmoid(logits)) - _log_mean(nn.functional.logsigmoid(-logits))
        return _log_mean(torch.log_softmax(logits, dim=2))

    def get_classifier(self) -> nn.Module:
        """As of a timm model."""
        return classifier(self.members[0])


class Mirrored(nn.Module):
    """A teacher that answers for a view and its mirror images, as far as training mirrors: the mean of its logits."""

    def __init__(self, teacher: nn.Module, options: Augment) -> None:
        super().__init__()
        self.teacher = teacher
        self.axes = [axis for axis, wanted in ((3, options.flip_horizontal), (2, options.flip_vertical)) if wanted]

    def forward(self, images: Tensor, *columns: Tensor) -> Tensor:
        """Map (N, C, H, W), and columns (N, T) where the teacher takes them, to logits (N, K), float32.

        The view itself comes first: what is taken of the teacher's features (CRD) is of it.
        """
        views = [images, *(images.flip(axis) for axis in self.axes)]
        return torch.stack([self.teacher(view, *columns).float() for view in views]).mean(dim=0)

    def get_classifier(self) -> nn.Module:
        """As of a timm model."""
        return classifier(self.teacher)


def _log_mean(logs: Tensor) -> Tensor:
    """Logarithm of the mean over the first axis; the constant that is lacking to a mean cancels in both uses."""
    return torch.logsumexp(logs, dim=0)


def open_teachers(folders: Sequence[Path], teacher: Checkpoint) -> list[Checkpoint]:
    """Further teachers beside the run's own.

    Raises
    ------
    CheckpointError
        One is no checkpoint.
    UsageError
        One has other classes or columns, sees images otherwise, or is the run's own.
    """
    found: list[Checkpoint] = []
    for folder in folders:
        one = load_checkpoint(folder)
        if one.card.task != teacher.card.task:
            raise UsageError(
                f"{folder} answers {', '.join(one.card.task.classes)}, the run's teacher "
                f"{', '.join(teacher.card.task.classes)}",
                next_step="give teachers of the same task",
            )
        if one.card.preprocess != teacher.card.preprocess:
            raise UsageError(
                f"{folder} was trained with another preprocessing than the run's teacher",
                next_step="give teachers of the same preprocessing: they see the very view that the student sees",
            )
        if one.card.columns != teacher.card.columns:
            raise UsageError(
                f"{folder} takes other columns beside the image than the run's teacher, or encodes them otherwise",
                next_step="give teachers of the same columns, trained on the same data set",
            )
        if one.card.sha256 in {teacher.card.sha256, *(other.card.sha256 for other in found)}:
            raise UsageError(f"{folder} is a teacher already", next_step="name each once; the run's own is always one")
        found.append(one)
    return found
