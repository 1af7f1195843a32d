"""Several teachers of one student: the mean of their calibrated probabilities."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import student_runs
import tiny
import torch

from edgedx.core.errors import AlreadyExists, RecipeError, UsageError
from edgedx.core.settings.recipe_sections import Task
from edgedx.core.settings.recipe_training import Augment
from edgedx.lab.compress.committee import Committee, Mirrored, open_teachers
from edgedx.lab.compress.student import make_student
from edgedx.lab.data.prepare import open_data
from edgedx.lab.network.backbone import build_model
from edgedx.lab.network.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgedx.lab.run.card import ModelCard
from edgedx.lab.train.distil import with_pooled


def _teacher(seed: int, kind: str = "binary", temperature: float = 1.0) -> Checkpoint:
    task = Task(**(tiny.FINDINGS if kind == "multilabel" else tiny.RECIPE["task"]))
    recipe = tiny.recipe()
    torch.manual_seed(seed)
    model = build_model("test_efficientnet", 2, recipe.preprocess)
    torch.nn.init.normal_(model.get_classifier().weight)
    card = ModelCard(
        backbone="test_efficientnet",
        task=task,
        preprocess=recipe.preprocess,
        role="teacher",
        weights_from="none",
        temperature=temperature,
        sha256=str(seed),
    )
    return Checkpoint(model.eval(), card)


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
def test_a_committee_answers_the_mean_of_calibrated_probabilities(kind: str) -> None:
    members = [_teacher(0, kind), _teacher(1, kind, temperature=2.0)]
    images = torch.randn(5, *members[0].card.preprocess.input_shape)
    with torch.no_grad():
        said = Committee(members)(images)
        soft = [torch.sigmoid, lambda x: torch.softmax(x, dim=1)][kind == "binary"]
        expected = (soft(members[0].model(images)) + soft(members[1].model(images) / 2)) / 2
        torch.testing.assert_close(soft(said), expected)
        _, features = with_pooled(Committee(members), images)
        torch.testing.assert_close(features, with_pooled(members[0].model, images)[1])


def test_a_mirrored_teacher_answers_for_the_view_and_its_mirror_images() -> None:
    teacher = _teacher(0).model
    images = torch.randn(5, 1, 32, 32)
    options = Augment(laterality_matters=False, flip_horizontal=True, flip_vertical=True)
    with torch.no_grad():
        said = Mirrored(teacher, options)(images)
        expected = (teacher(images) + teacher(images.flip(3)) + teacher(images.flip(2))) / 3
        torch.testing.assert_close(said, expected)
        torch.testing.assert_close(
            Mirrored(teacher, options)(images.flip(3)),
            (teacher(images.flip(3)) + teacher(images) + teacher(images.flip(3).flip(2))) / 3,
        )
        _, features = with_pooled(Mirrored(teacher, options), images)
        torch.testing.assert_close(features, with_pooled(teacher, images)[1])
    with pytest.raises(RecipeError, match="teacher_flips"):
        tiny.recipe(student={"teacher_flips": True})


def test_a_teacher_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    own = _teacher(0)
    save_checkpoint(tmp_path / "own", own.model, own.card)
    own = load_checkpoint(tmp_path / "own")
    turned = _teacher(1).card.model_copy(update={"task": Task(kind="binary", classes=["a", "b"], positive="a")})
    save_checkpoint(tmp_path / "classes", own.model, turned)
    larger = own.card.preprocess.model_copy(update={"size": (48, 48)})
    save_checkpoint(tmp_path / "size", own.model, own.card.model_copy(update={"preprocess": larger}))
    for name, told in (("classes", "answers a, b"), ("size", "preprocessing"), ("own", "already")):
        with pytest.raises(UsageError, match=told) as caught:
            open_teachers([tmp_path / name], own)
        assert caught.value.next_step


def test_a_student_of_two_teachers_asks_both_and_a_finished_one_is_not_repeated(tmp_path: Path) -> None:
    student_runs.prepare(tmp_path)
    recipe = student_runs.recipe(tmp_path, temperatures=[], epochs=1, steps=1, macs=1.0)
    run = tmp_path / "run"
    own, data = load_checkpoint(run / "teacher"), open_data(recipe, run)
    second = replace(_teacher(1), card=_teacher(1).card.model_copy(update={"preprocess": own.card.preprocess}))
    asked: list[int] = []
    second.model.register_forward_hook(lambda module, inputs, output: asked.append(len(output)))
    record = make_student(recipe, own, data, tmp_path / "two", more_teachers=[second])
    assert record["metrics"]["distillation"]["teachers"] == 2 and sum(asked) >= len(data.subset("train"))
    kept = json.loads((tmp_path / "two" / "stage.json").read_text())
    assert kept["inputs"]["more_teachers"] == second.card.sha256
    assert make_student(recipe, own, data, tmp_path / "two", more_teachers=[second])["reused"]
    with pytest.raises(AlreadyExists):  # of one teacher it would be another student
        make_student(recipe, own, data, tmp_path / "two")
