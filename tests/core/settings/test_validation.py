"""What a reader is told about a wrong settings file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from edgedx.core.settings.validation import explain


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Lens(Strict):
    focal_length: float
    aperture: float = 2.8


class Film(Strict):
    kind: Literal["film"]
    speed: int


class Sensor(Strict):
    kind: Literal["sensor"]
    pixels: int


class Camera(Strict):
    model_name: str
    lens: Lens | None = None
    lenses: list[Lens] = []
    spare: dict[str, Lens] = {}
    medium: Annotated[Film | Sensor, Field(discriminator="kind")] | None = None
    either: Film | Sensor | None = None
    shutter: float = Field(0.01, gt=0)
    exposure: int | str = "auto"
    renamed: int = Field(0, alias="other-name")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.model_name == "none":
            raise ValueError("model_name: say which")
        return self


def said(**changes: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Camera.model_validate({"model_name": "a", **changes})
    return explain(caught.value, Camera, "camera.yaml")


def test_a_typo_at_the_top_names_the_nearest_key() -> None:
    assert said(shuter=0.5) == "camera.yaml: shuter: unknown key; did you mean 'shutter'?"


def test_a_typo_in_a_section_names_the_whole_path() -> None:
    text = said(lens={"focal_length": 50, "apertur": 2})
    assert text == "camera.yaml: lens.apertur: unknown key; did you mean 'lens.aperture'?"


def test_a_typo_in_a_list_item_and_in_a_mapping_value_is_found() -> None:
    assert said(lenses=[{"focal_length": 5}, {"focal_lenth": 5, "focal_length": 5}]).endswith(
        "lenses[1].focal_lenth: unknown key; did you mean 'lenses[1].focal_length'?"
    )
    assert "did you mean 'spare.wide.aperture'" in said(spare={"wide": {"focal_length": 5, "aperure": 1}})


@pytest.mark.parametrize("field", ["medium", "either"])
def test_the_branch_of_a_union_does_not_show_in_the_path(field: str) -> None:
    text = said(**{field: {"kind": "film", "speed": 100, "spead": 1}})
    assert f"{field}.spead: unknown key; did you mean '{field}.speed'?" in text
    assert "Film" not in text


def test_a_key_of_another_section_is_sent_home() -> None:
    assert said(aperture=4) == "camera.yaml: aperture: unknown key; it belongs at 'lens.aperture'"


def test_a_key_like_no_other_lists_what_is_known() -> None:
    text = said(lens={"focal_length": 5, "qqqq": 1})
    assert text == "camera.yaml: lens.qqqq: unknown key; known here: aperture, focal_length"


def test_an_alias_is_suggested_as_a_file_would_write_it() -> None:
    assert "did you mean 'other-name'?" in said(**{"other-nam": 1})


def test_a_wrong_value_is_shown_with_what_was_expected() -> None:
    assert said(shutter=-1.0) == "camera.yaml: shutter: input should be greater than 0, not -1.0"


def test_a_missing_key_and_its_typo_are_both_told_the_typo_first() -> None:
    with pytest.raises(ValidationError) as caught:
        Camera.model_validate({"model_nam": "x"})
    first, second = explain(caught.value, Camera, "c").splitlines()
    assert first == "c: model_nam: unknown key; did you mean 'model_name'?"
    assert second == "  model_name: required, and not there"


def test_a_rule_between_fields_speaks_in_its_own_words() -> None:
    assert said(model_name="none") == "camera.yaml: model_name: say which"


def test_a_union_of_plain_types_keeps_its_field_name_only() -> None:
    assert said(exposure=[1]).startswith("camera.yaml: exposure: input should be")


def test_more_than_five_complaints_are_counted_not_listed() -> None:
    lines = said(**{f"zz{number}": 1 for number in range(8)}).splitlines()
    assert len(lines) == 6
    assert lines[-1].strip() == "and 3 more"


def test_a_file_that_is_not_a_mapping_is_told_so() -> None:
    with pytest.raises(ValidationError) as caught:
        Camera.model_validate(["a"])
    assert explain(caught.value, Camera, "c").startswith("c: input should be a valid dictionary")


def test_a_model_that_contains_itself_does_not_loop() -> None:
    with pytest.raises(ValidationError) as caught:
        Tree.model_validate({"leaf": 1, "qqqq": 1})
    assert "known here: leaf, left" in explain(caught.value, Tree, "tree")


class Tree(Strict):
    leaf: int
    left: Tree | None = None
