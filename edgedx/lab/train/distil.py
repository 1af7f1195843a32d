"""Distillation: the student learns the teacher's answers on the very view that it sees itself."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgedx.core.settings.recipe_sections import Student
from edgedx.core.settings.recipe_sections import Task as TaskSpec
from edgedx.lab.network.backbone import classifier

from .contrast import Contrast
from .tasks import Classify


def method_for(task: TaskSpec, options: Student) -> tuple[str, str]:
    """The method that a task can be distilled with, and a sentence where it is not the one asked for.

    DKD's second term compares the classes other than the target among themselves. With two classes there is one of
    those, so the term is zero; with findings that occur together there is no target class.
    """
    if options.method == "dkd" and task.kind != "multiclass":
        why = "two classes" if task.kind == "binary" else "findings that occur together"
        return "kd", f"DKD needs one of three classes or more; this task has {why}, so plain KD was used"
    return options.method, ""


class Distil:
    """Knowledge distillation: Hinton et al. 2015, or decoupled (DKD, Zhao et al. 2022), with or without features.

    Teacher and student see the same augmented, mixed-up view, which is what makes many epochs pay (Beyer et al.
    2022). Images whose targets are all NaN have no label: they are learned from the teacher alone.

    Parameters
    ----------
    teacher : nn.Module
        In eval mode; never trained.
    labels : Classify
    temperature : float
        Of both softened distributions.
    weight : float
        Share of the teacher's loss; the rest is `labels`'.
    method : str
        ``kd`` or ``dkd``.
    alpha, beta : float
        DKD: weights of target class against the rest, and of the rest among themselves.
    warmup : int
        Steps over which DKD's loss rises to its weight: beta is large, and a pruned network is easily thrown off.
    contrast : Contrast, optional
        Loss on pooled features.
    contrast_weight : float
        Of that loss, added to the others.
    """

    def __init__(
        self,
        teacher: nn.Module,
        labels: Classify,
        *,
        temperature: float,
        weight: float,
        method: str = "kd",
        alpha: float = 1.0,
        beta: float = 8.0,
        warmup: int = 0,
        contrast: Contrast | None = None,
        contrast_weight: float = 0.5,
    ) -> None:
        if method == "dkd" and labels.multilabel:
            raise ValueError("DKD has no target class in a multilabel task; see method_for")
        self.teacher = teacher.eval().requires_grad_(False)
        self.labels = labels
        self.temperature, self.weight, self.method = temperature, weight, method
        self.alpha, self.beta, self.warmup = alpha, beta, warmup
        self.contrast_weight = contrast_weight
        self.auxiliary = _Auxiliary(contrast) if contrast is not None or (method == "dkd" and warmup) else None

    def to(self, device: torch.device) -> None:
        """Move the teacher, and what is trained beside the student."""
        self.teacher.to(device)
        self.labels.to(device)
        if self.auxiliary is not None:
            self.auxiliary.to(device)

    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor, *columns: Tensor) -> tuple[Tensor, Tensor]:
        """See `TrainingTask`."""
        contrast = self.auxiliary.contrast if self.auxiliary is not None else None
        if contrast is None:
            with torch.no_grad():
                guide = self.teacher(images, *columns).float()
            logits = model(images, *columns)
        else:
            with torch.no_grad():
                guide, taught = with_pooled(self.teacher, images, *columns)
                guide = guide.float()
            logits, features = with_pooled(model, images, *columns)
        student = logits.float()
        hint = self._hint(student, guide, targets) * self._rise(model.training)
        loss = self.weight * hint + (1 - self.weight) * self.labels.loss(student, targets)
        if contrast is not None:
            loss = loss + self.contrast_weight * contrast(features.float(), taught.float(), self._decisions(guide))
        return loss, logits

    def _hint(self, logits: Tensor, guide: Tensor, targets: Tensor) -> Tensor:
        if self.method == "dkd":
            unlabelled = torch.isnan(targets).all(dim=1, keepdim=True)
            # Of a mixed-up label the greater share is the target; without a label, the teacher's own answer.
            target = torch.where(unlabelled, guide, targets).argmax(dim=1)
            each = decoupled(logits, guide, target, self.temperature, self.alpha, self.beta)
            return self._mean(each, guide, targets)
        soft, hard = logits / self.temperature, guide / self.temperature
        if self.labels.multilabel:
            hint = F.binary_cross_entropy_with_logits(soft, torch.sigmoid(hard))
        else:
            hint = self._mean(_divergence(F.log_softmax(soft, 1), F.log_softmax(hard, 1)), guide, targets)
        return hint * self.temperature**2

    def _mean(self, each: Tensor, guide: Tensor, targets: Tensor) -> Tensor:
        """Mean over images, weighted by class as the labels' loss is: a rare class counts no less than there."""
        if self.labels.weights is None:
            return each.mean()
        unlabelled = torch.isnan(targets).all(dim=1, keepdim=True)
        classes = torch.where(unlabelled, torch.softmax(guide, dim=1), targets)
        weights = (classes * self.labels.weights).sum(dim=1)
        return (each * weights).sum() / weights.sum().clamp(min=1e-6)

    def _rise(self, training: bool) -> Tensor | float:
        if self.method != "dkd" or not self.warmup or self.auxiliary is None or not training:
            return 1.0
        self.auxiliary.steps += 1
        return (self.auxiliary.steps / self.warmup).clamp(max=1.0)

    def _decisions(self, guide: Tensor) -> Tensor:
        if self.labels.multilabel:
            return guide > 0
        return F.one_hot(guide.argmax(dim=1), guide.shape[1]).bool()


class _Auxiliary(nn.Module):
    """What changes beside the student while it trains; the loop keeps it in the training state."""

    def __init__(self, contrast: Contrast | None) -> None:
        super().__init__()
        self.contrast = contrast
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))


def decoupled(logits: Tensor, guide: Tensor, target: Tensor, temperature: float, alpha: float, beta: float) -> Tensor:
    """DKD (Zhao et al. 2022): KD split into target against the rest, and the rest among themselves.

    KD weighs the second term by what the teacher leaves for the rest, so that it vanishes on easy images; here its
    weight is `beta`.

    Parameters
    ----------
    logits, guide : Tensor of shape (N, K), float32
        Student's and teacher's, K >= 3.
    target : Tensor of shape (N,), int64

    Returns
    -------
    Tensor of shape (N,)
        Loss of each image.
    """
    both = [values / temperature for values in (logits, guide)]
    first, second = (torch.stack(_against_rest(values, target), dim=1) for values in both)
    is_target = F.one_hot(target, logits.shape[1]).bool()
    # The target's own place holds 0 in both: it adds nothing to the divergence of the rest.
    rest, taught = (
        F.log_softmax(values.masked_fill(is_target, -torch.inf), dim=1).masked_fill(is_target, 0.0) for values in both
    )
    return (alpha * _divergence(first, second) + beta * _divergence(rest, taught)) * temperature**2


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL divergence of each image, (N,), of the student's log probabilities (N, K) from the teacher's."""
    return F.kl_div(student, teacher, log_target=True, reduction="none").sum(dim=1)


def _against_rest(values: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Log probability of the target, and of all other classes together; each (N,)."""
    probabilities = F.log_softmax(values, dim=1)
    is_target = F.one_hot(target, values.shape[1]).bool()
    return probabilities.gather(1, target[:, None])[:, 0], probabilities.masked_fill(is_target, -torch.inf).logsumexp(
        dim=1
    )


def with_pooled(model: nn.Module, images: Tensor, *columns: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and what went into the classification layer: the pooled features (N, D), after dropout in training."""
    kept: list[Tensor] = []
    layer = classifier(getattr(model, "module", model))  # the model itself, or wrapped for several processes
    # Only for this call: a hook that stayed would be copied, teacher and all, into the running mean of weights.
    handle = layer.register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0]))
    try:
        logits = model(images, *columns)
    finally:
        handle.remove()
    return logits, kept[0].flatten(1)


def contrast_for(student: nn.Module, teacher: nn.Module, classes: int, memory: int, seed: int) -> Contrast:
    """Heads for these two networks, the same for the same seed."""
    torch.manual_seed(seed)
    widths = [int(classifier(model).weight.shape[1]) for model in (student, teacher)]  # type: ignore[index, union-attr]
    return Contrast(*widths, classes, memory)
