"""What training a recipe would cost: an estimate from published throughput, told with its arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

from .recipe import Recipe

GPU = "RTX 3090"
"""The GPU that all of it is told for."""
SOURCE = "timm, results/benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv"
_PUBLISHED = {  # backbone: (training images/s in mixed precision, side of the image)
    "tf_efficientnet_lite0": (2134.89, 224),
    "tf_efficientnet_lite1": (1443.47, 240),
    "tf_efficientnet_lite2": (1121.02, 260),
    "densenet121": (913.65, 224),
    "resnet50": (1218.01, 224),
    "convnext_tiny": (819.24, 224),
    "inception_v3": (782.35, 299),
    "mobilenetv2_100": (2313.10, 224),
}
_FORWARD = 1 / 3
"""Share of a training step that the forward pass is; the backward pass is twice as much."""


@dataclass(frozen=True)
class Cost:
    """An estimate; nothing of it was measured by edgedx.

    Attributes
    ----------
    gpu_hours : float
        Teacher and student, on one `GPU`, by the throughput of `SOURCE`.
    arithmetic : str
        How it came about, in a line.
    """

    gpu_hours: float
    arithmetic: str


def estimate(recipe: Recipe) -> Cost | None:
    """Hours on one GPU to train teacher and student, where the size of the set and the speeds are published.

    Time grows with the number of pixels (a smaller image than the published one is taken to cost as much, because a GPU
    then waits for other things); the frozen epochs and the teacher's part in distillation are forward passes;
    the student is taken as unpruned. Reading the data set (once), recovery while pruning, quantization and a GPU that
    waits for its data come on top.
    """
    images, student = recipe.origin.train_images, _student(recipe)
    if images is None or recipe.model.backbone not in _PUBLISHED or student not in _PUBLISHED:
        return None
    train = recipe.train
    teacher_speed, student_speed = _speed(recipe.model.backbone, recipe), _speed(student, recipe)
    teacher_epochs = train.epochs + train.frozen_epochs * _FORWARD
    seconds = images * (teacher_epochs / teacher_speed)
    seconds += images * recipe.student.epochs * (1 / student_speed + _FORWARD / teacher_speed)
    height, width = recipe.preprocess.size
    arithmetic = (
        f"{images:,} images x ({teacher_epochs:.3g} epochs / {teacher_speed:,.0f} images/s + {recipe.student.epochs} "
        f"epochs x (1 / {student_speed:,.0f} + 1/3 / {teacher_speed:,.0f})) at {height} x {width} pixels"
    )
    return Cost(seconds / 3600, arithmetic)


def _student(recipe: Recipe) -> str:
    return recipe.model.backbone if recipe.student.backbone == "same" else recipe.student.backbone


def _speed(backbone: str, recipe: Recipe) -> float:
    """Training images/s at the recipe's size."""
    published, side = _PUBLISHED[backbone]
    height, width = recipe.preprocess.size
    return published * min(1.0, side * side / (height * width))
