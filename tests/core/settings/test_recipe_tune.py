"""What may be tuned, and which values a key has."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from edgedx.core.errors import RecipeError
from edgedx.core.settings.recipe import Recipe, load_recipe
from edgedx.core.settings.recipe_tune import Parameter, Tune


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ({"choices": [0.1, "a", True]}, [0.1, "a", True]),
        ({"low": 2, "high": 5}, [2, 3, 4, 5]),
        ({"low": 8, "high": 32, "step": 8}, [8, 16, 24, 32]),
        ({"low": 0.0, "high": 0.3, "step": 0.1}, [0.0, 0.1, 0.2, 0.3]),
        ({"low": 0.0, "high": 0.3}, None),
        ({"low": 1, "high": 100, "log": True}, None),
    ],
)
def test_values_of_a_grid(given: dict[str, Any], values: list[Any] | None) -> None:
    found = Parameter(**given).grid()
    assert found == (values and pytest.approx(values)) if given.get("step") == 0.1 else found == values
    assert found is None or [type(value) for value in found] == [type(value) for value in values or []]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"low": 1},
        {"low": 2, "high": 1},
        {"choices": [1], "low": 0, "high": 2},
        {"choices": [1, 1]},
        {"low": 0, "high": 1, "log": True},
        {"low": 0.1, "high": 1.0, "log": True, "step": 0.1},
        {"low": 0, "high": 1, "step": 0},
        {"low": 0.0, "high": 1.0, "step": 0.3},
    ],
)
def test_a_parameter_that_means_nothing_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Parameter(**given)


def test_a_value_is_inside_or_not() -> None:
    assert Parameter(low=0.0, high=1.0).holds(0.5) and not Parameter(low=0.0, high=1.0).holds(1.5)
    assert Parameter(choices=["a"]).holds("a") and not Parameter(choices=["a"]).holds("b")
    assert Parameter(low=8, high=32, step=8).holds(16) and not Parameter(low=8, high=32, step=8).holds(12)


@pytest.mark.parametrize("key", ["data.seed", "preprocess.size", "student.macs", "name", "train.seed"])
def test_what_would_need_other_data_or_another_stage_cannot_be_tuned(key: str) -> None:
    with pytest.raises(ValidationError, match="cannot be tuned"):
        Tune(space={key: Parameter(choices=[1, 2])})


def _load(space: str) -> Recipe:
    return load_recipe("phantom", [f"tune.space={space}"])


def test_a_range_has_the_kind_of_number_of_its_key() -> None:
    """However it is written: YAML reads 0 as whole, and 1e-4 as text."""
    space = _load(
        "{train.weight_decay: {low: 0, high: 1}, train.learning_rate: {low: 1e-4, high: 1e-2, log: true}}"
    ).tune.space
    assert not space["train.weight_decay"].whole and space["train.weight_decay"].grid() is None
    assert space["train.learning_rate"].low == 1e-4
    assert _load("{train.epochs: {low: 1, high: 3}}").tune.space["train.epochs"].grid() == [1, 2, 3]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("{train.learnig_rate: {low: 1.0, high: 2.0}}", "did you mean 'train.learning_rate'"),
        ("{train.optimizer: {choices: [adamw, lion]}}", "optimizer"),
        ("{train.ema: {low: 0.5, high: 2.0}}", "train.ema"),
        ("{train.epochs: {low: 1.0, high: 3.5}}", "train.epochs"),
        ("{train.epochs: {low: 1.0, high: 3.0}}", "train.epochs is a whole number"),
        ("{augment.flip_vertical: {low: 0, high: 1}}", "give choices"),
        ("{train.epochs.more: {low: 1, high: 3}}", "epochs is not a section"),
    ],
)
def test_a_space_that_the_recipe_cannot_have_is_refused_when_it_is_read(space: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        _load(space)


def test_a_recipe_with_a_space_is_read_back_as_it_was_written() -> None:
    recipe = _load("{train.weight_decay: {low: 0, high: 1}}")
    from edgedx.core.settings.recipe import parse_recipe

    assert parse_recipe(recipe.model_dump(mode="json")) == recipe
