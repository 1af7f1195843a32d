"""Several models as one: the mean of calibrated probabilities, with operating points of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_run import VARIANTS, write_run

from edgedx.core.errors import UsageError
from edgedx.core.stats.cases import calibrated_probabilities
from edgedx.lab.judge.ensemble import mean_logits, mean_of
from edgedx.lab.judge.evaluation import ask_split, evaluate
from edgedx.lab.judge.subject import Subject, open_subject


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[Subject]:
    """Two variants of one run, the second of another temperature."""
    folder = tmp_path_factory.mktemp("ensemble")
    write_run(folder)
    found = [open_subject(folder / VARIANTS / name) for name in ("fp32.onnx", "int8-u8s8.onnx")]
    return [found[0], replace(found[1], temperature=3.0)]


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_probabilities_are_averaged_after_each_ones_own_temperature(task: str) -> None:
    rng = np.random.default_rng(0)
    answers = [(rng.normal(0, 20, (50, 2)), temperature) for temperature in (0.5, 3.0)]
    found = calibrated_probabilities(mean_logits(answers, task), task, 1.0)
    expected = np.mean([calibrated_probabilities(logits, task, own) for logits, own in answers], axis=0)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_an_ensemble_is_judged_like_a_single_model(members: list[Subject]) -> None:
    whole = mean_of(members)
    found = evaluate(whole, resamples=100)
    asked = [ask_split(one, "test") for one in members]
    expected = np.mean(
        [calibrated_probabilities(own.logits, "binary", t) for own, t in zip(asked, (1.0, 3.0), strict=True)], axis=0
    )
    np.testing.assert_allclose(found.answers.probabilities, expected, atol=1e-9)
    assert found.subject.name == "mean of 2" and found.figures.images == 84
    youden = [point for point in whole.points if point.name == "youden"]  # chosen on val for the mean itself
    assert youden and youden[0].threshold != members[0].points[0].threshold and found.answers.point == "youden"


def test_members_must_answer_and_see_the_same(members: list[Subject]) -> None:
    one, two = members
    with pytest.raises(UsageError, match="two members"):
        mean_of([one])
    with pytest.raises(UsageError, match="answers light, heavy") as caught:
        mean_of([one, replace(two, classes=["light", "heavy"], positive="heavy")])
    assert caught.value.next_step
    larger = two.preprocess.model_copy(update={"size": (24, 24)})
    with pytest.raises(UsageError, match="sees images otherwise"):
        mean_of([one, replace(two, preprocess=larger)])
    brighter = two.preprocess.model_copy(update={"mean": (0.4,)})  # each normalises for itself
    assert mean_of([one, replace(two, preprocess=brighter)]).points


def test_models_of_different_splits_are_asked_outside_data_alone(members: list[Subject], tmp_path: Path) -> None:
    write_run(tmp_path, train={"seed": 1})
    recipe = tmp_path / "run" / "data" / "dataset.json"
    recipe.write_text(recipe.read_text().replace('"digest": "', '"digest": "0'))
    whole = mean_of([members[0], open_subject(tmp_path / VARIANTS / "fp32.onnx")])
    assert [point.name for point in whole.points] == ["argmax"]
    with pytest.raises(UsageError, match="lies in no run"):
        evaluate(whole, resamples=100)
    assert evaluate(whole, data=tmp_path / "set" / "labels.csv", resamples=100).figures.images == 140
