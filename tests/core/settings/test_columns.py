"""Texts of strangers become a few bounded numbers; what is absent, unknown or no number is all zeros."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from edgedx.core.errors import DataError, RecipeError
from edgedx.core.settings.columns import (
    CLIP,
    Column,
    Columns,
    FittedColumn,
    clean,
    encode,
    encode_rows,
    fit_columns,
    gather,
    make_absent,
    make_up,
    present,
    spans,
    width,
)
from edgedx.core.settings.recipe import list_recipes, load_recipe

AGE: dict[str, Any] = {"name": "age", "kind": "number", "header": "PatientAgeYears"}
SEX: dict[str, Any] = {"name": "sex", "kind": "category", "categories": ["F", "M"], "header": "PatientSex"}
FITTED = [FittedColumn(**AGE, mean=50.0, spread=10.0), FittedColumn(**SEX)]


def test_a_number_is_its_distance_from_the_mean_and_a_flag_and_a_category_has_a_place() -> None:
    assert width(FITTED) == 4 and spans(FITTED) == [(0, 2), (2, 4)]
    assert encode(FITTED, {"age": "65", "sex": "M"}).tolist() == [1.5, 1.0, 0.0, 1.0]
    assert encode(FITTED, {"age": "65", "sex": "M"}).dtype == np.float32


def test_the_mean_itself_is_not_the_same_as_absent() -> None:
    assert encode(FITTED, {"age": "50"}).tolist() == [0.0, 1.0, 0.0, 0.0]
    assert encode(FITTED, {}).tolist() == [0.0] * 4
    there = present(FITTED, encode_rows(FITTED, [{"age": "50"}, {"sex": "f"}, {}]))
    assert there.tolist() == [[True, False], [False, True], [False, False]]


@pytest.mark.parametrize(
    ("text", "kept"), [("63,5", "63.5"), ("7,0", "7.0"), ("1,234", ""), ("1,2,3", ""), ("63.5", "63.5")]
)
def test_a_table_may_have_decimal_commas_where_they_are_no_thousands(text: str, kept: str) -> None:
    assert gather(FITTED, {"age": text}, {})["age"] == kept


HOSTILE = ["", " ", "nan", "NaN", "inf", "-inf", "1e999", "1e10", "-9" * 20, "0x10", "1_000", "1,5", "٣٤", "½", "072Y",
           "65 years", "9" * 5000, "\x00", "Müller^Hans", "1\n2", "--1", "1e", ".", "e5"]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_header_is_absent(text: str) -> None:
    assert encode(FITTED, {"age": text, "sex": text}).tolist() == [0.0] * 4


@pytest.mark.parametrize("value", [None, 65, 1.5, b"65", ["65"]])
def test_what_is_no_text_is_absent(value: object) -> None:
    assert encode(FITTED, {"age": value}).tolist() == [0.0] * 4  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1000000", CLIP), ("-999", -CLIP), ("1e3", CLIP), ("+60", 1.0), ("6.0e1", 1.0), (" 40 ", -1.0), ("50.", 0.0),
     (".5", -CLIP)],
)  # fmt: skip
def test_numbers_end_where_no_patient_is(text: str, value: float) -> None:
    assert encode(FITTED, {"age": text}).tolist()[:2] == [value, 1.0]


def test_the_table_comes_before_the_header_and_only_declared_facts_are_read() -> None:
    columns = [Column(**AGE), Column(**SEX), Column(name="site", kind="category", categories=["north"])]
    header = {"PatientAgeYears": "70", "PatientSex": "F", "PatientName": "Doe", "site": "north"}
    assert gather(columns, {"age": "40", "sex": ""}, header) == {"age": "40", "sex": "F", "site": ""}
    assert gather(columns, {"age": "old", "sex": "female"}, {}) == {"age": "", "sex": "", "site": ""}
    assert clean(columns[1], " m ") == "M"


def test_mean_and_spread_are_those_of_the_values_that_are_there() -> None:
    rows = [{"age": "40", "sex": "F"}, {"age": "60", "sex": ""}, {"age": "", "sex": "M"}]
    age, sex = fit_columns([Column(**AGE), Column(**SEX)], rows)
    assert (age.mean, age.spread) == (50.0, 10.0)
    assert sex == FittedColumn(**SEX)
    constant = fit_columns([Column(**AGE)], [{"age": "50"}, {"age": "50"}])[0]
    assert encode([constant], {"age": "50"}).tolist() == [0.0, 1.0]


def test_a_column_that_no_training_image_has_is_an_error_that_names_it() -> None:
    with pytest.raises(DataError, match="'sex'") as caught:
        fit_columns([Column(**SEX)], [{"sex": ""}])
    assert "spelling" in str(caught.value.next_step)


def test_whole_columns_are_made_absent_as_often_as_asked_and_the_same_for_the_same_seed() -> None:
    row = encode(FITTED, {"age": "65", "sex": "M"})
    rng = np.random.default_rng(0)
    rows = np.stack([make_absent(FITTED, row, 0.25, rng) for _ in range(4000)])
    there = present(FITTED, rows)
    np.testing.assert_allclose(there.mean(axis=0), 0.75, atol=0.03)
    assert abs(np.corrcoef(there.T)[0, 1]) < 0.05
    assert {tuple(one) for one in rows.tolist()} == {(1.5, 1, 0, 1), (1.5, 1, 0, 0), (0, 0, 0, 1), (0, 0, 0, 0)}
    assert np.array_equal(make_absent(FITTED, row, 0.0, rng), row)


def test_made_up_rows_are_of_every_kind() -> None:
    rows = make_up(FITTED, 64, np.random.default_rng(0))
    there = present(FITTED, rows)
    assert rows.shape == (64, 4) and rows.dtype == np.float32
    assert (there.mean(axis=0) > 0.5).all() and (there.mean(axis=0) < 0.85).all()
    assert np.array_equal(rows, make_up(FITTED, 64, np.random.default_rng(0)))


def test_without_columns_everything_is_empty() -> None:
    assert encode_rows([], [{}, {}]).shape == (2, 0)
    assert present([], np.zeros((2, 0), np.float32)).shape == (2, 0)
    assert fit_columns([], []) == [] and width([]) == 0 and spans([]) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "sex", "kind": "category"},
        {"name": "age", "kind": "number", "categories": ["a"]},
        {"name": "sex", "kind": "category", "categories": ["F", "f "]},
        {"name": "sex", "kind": "category", "categories": ["F", ""]},
        {"name": "age", "kind": "number", "header": "PatientSex"},
        {"name": "sex", "kind": "category", "categories": ["F"], "header": "PatientAgeYears"},
        {"name": "name", "kind": "category", "categories": ["F"], "header": "PatientName"},
        {"name": "a/b", "kind": "number"},
        {"name": "", "kind": "number"},
    ],
)
def test_a_column_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Column(**wrong)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_fit_that_is_no_number_is_refused(number: float) -> None:
    with pytest.raises(ValidationError):
        FittedColumn(**AGE, mean=number)
    with pytest.raises(ValidationError):
        FittedColumn(**AGE, spread=number)


def test_a_name_that_stands_twice_and_the_label_itself_are_refused() -> None:
    with pytest.raises(ValidationError, match="twice"):
        Columns(use=[Column(**AGE), Column(**AGE)])
    with pytest.raises(RecipeError, match="label is the label"):
        load_recipe("phantom", ["columns.use=[{name: label, kind: category, categories: [normal, opacity]}]"])


def test_a_recipe_without_columns_has_none() -> None:
    assert all(not load_recipe(name).columns.use for name in list_recipes())


def test_fitted_columns_survive_json() -> None:
    again = [FittedColumn.model_validate(json.loads(one.model_dump_json())) for one in FITTED]
    assert again == FITTED
