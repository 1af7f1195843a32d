"""The estimate of GPU hours is published throughput times what the recipe asks for."""

from __future__ import annotations

import pytest

from edgedx.core.settings.cost import estimate
from edgedx.core.settings.recipe import load_recipe


def test_the_arithmetic_is_that_of_the_recipe() -> None:
    recipe = load_recipe("rsna-pneumonia", ["train.frozen_epochs=3", "train.epochs=9", "student.epochs=4"])
    cost = estimate(recipe)
    speed = 2134.89 * 224**2 / 256**2
    seconds = 18679 * ((9 + 3 / 3) / speed + 4 * (1 + 1 / 3) / speed)
    assert cost is not None and cost.gpu_hours == pytest.approx(seconds / 3600)
    assert cost.arithmetic.startswith("18,679 images x (10 epochs / 1,635 images/s + 4 epochs")


def test_a_student_of_another_backbone_has_its_own_speed() -> None:
    recipe = load_recipe("nih-chestxray14", ["train.frozen_epochs=0"])
    cost = estimate(recipe)
    teacher, student = 12 / 913.65, 12 * (1 / 2134.89 + 1 / 3 / 913.65)
    assert cost is not None and cost.gpu_hours == pytest.approx(71218 * (teacher + student) / 3600)


def test_a_small_image_is_not_taken_to_be_faster_than_published() -> None:
    small, large = (estimate(load_recipe("luna16", [f"preprocess.size=[{side}, {side}]"])) for side in (32, 224))
    assert small is not None and large is not None and small.gpu_hours == large.gpu_hours


@pytest.mark.parametrize("change", ["origin.train_images=null", "model.backbone=vgg16"])
def test_without_published_figures_nothing_is_estimated(change: str) -> None:
    assert estimate(load_recipe("luna16", [change])) is None
