"""A recipe that is wrong is refused with the field that is wrong and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from edgedx.core.errors import InputOutputError, RecipeError
from edgedx.core.settings.recipe import Recipe, fields_table, list_recipes, load_recipe, parse_recipe

BINARY = {"kind": "binary", "classes": ["a", "b"], "positive": "b"}
THREE = {"kind": "multiclass", "classes": ["a", "b", "c"]}
FINDINGS = {"kind": "multilabel", "classes": ["a", "b"]}


def _raw(**sections: Any) -> dict[str, Any]:
    raw = {
        "name": "tiny",
        "title": "A tiny one",
        "task": BINARY,
        "data": {"source": "folders", "path": "x"},
        "model": {"backbone": "resnet18"},
    }
    return {**raw, **sections}


def _refusal(**sections: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(_raw(**sections), "tiny.yaml")
    assert caught.value.exit_code == 2 and caught.value.next_step
    return str(caught.value)


def _write(folder: Path, text: str) -> str:
    path = folder / "r.yaml"
    path.write_text(text)
    return str(path)


def test_the_least_recipe_is_filled_with_defaults() -> None:
    recipe = parse_recipe(_raw())
    assert recipe.train.epochs == 6 and recipe.student.backbone == "same"


def test_an_unknown_key_names_the_nearest() -> None:
    message = _refusal(train={"epoch": 3})
    assert message.startswith("tiny.yaml: train.epoch: unknown key") and "'train.epochs'" in message


def test_an_unknown_section_names_the_nearest() -> None:
    assert "did you mean 'train'?" in _refusal(trian={"epochs": 3})


def test_a_key_in_the_wrong_section_is_sent_to_the_right_one() -> None:
    assert "belongs at 'train.ema'" in _refusal(model={"backbone": "resnet18", "ema": 0.9})


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"train": {"epochs": "many"}}, "train.epochs: input should be a valid integer"),
        ({"train": {"epochs": -1}}, "train.epochs: input should be greater than or equal to 0, not -1"),
        ({"train": {"optimizer": "adam"}}, "train.optimizer"),
        ({"augment": {"rotation": 181}}, "augment.rotation"),
        ({"preprocess": {"size": [32]}}, "preprocess.size"),
        ({"quantize": {"calibrators": []}}, "quantize.calibrators"),
        ({"quantize": {"calibrators": ["magic"]}}, "quantize.calibrators[0]"),
        ({"name": "Has Space"}, "name"),
        ({"task": {"kind": "binary"}}, "task.classes: required"),
        ({"data": {"source": "csv"}}, "data: path: needed for source csv"),
        ({"data": {"source": "phantom", "fractions": [0.5, 0.5, 0.5]}}, "fractions"),
        ({"data": {"source": "phantom", "fractions": [1.0, 0.0, 0.0]}}, "fractions"),
    ],
)
def test_a_wrong_value_names_its_field(sections: dict[str, Any], named: str) -> None:
    assert named in _refusal(**sections)


@pytest.mark.parametrize(
    "task",
    [
        {"kind": "binary", "classes": ["a", "b"]},
        {"kind": "binary", "classes": ["a", "b"], "positive": "c"},
        {"kind": "binary", "classes": ["a", "b", "c"], "positive": "a"},
        {"kind": "multiclass", "classes": ["a", "b"]},
        {"kind": "multiclass", "classes": ["a", "b", "c"], "positive": "a"},
        {"kind": "multiclass", "classes": ["a", "b", "a"]},
        {"kind": "multilabel", "classes": ["a"], "positive": "a"},
        {"kind": "multilabel", "classes": []},
        {"kind": "multilabel", "classes": ["a", "b"], "ordered": True},
    ],
)
def test_a_task_that_contradicts_itself_is_refused(task: dict[str, Any]) -> None:
    assert "task" in _refusal(task=task)


@pytest.mark.parametrize("task", [BINARY, THREE, FINDINGS, {"kind": "multilabel", "classes": ["a"]}])
def test_tasks_of_each_kind_are_taken(task: dict[str, Any]) -> None:
    assert parse_recipe(_raw(task=task)).task.kind == task["kind"]


def test_the_positive_class_may_come_first() -> None:
    assert parse_recipe(_raw(task={**BINARY, "positive": "a"})).task.positive_index == 0


def test_a_mirror_is_forbidden_where_left_and_right_differ() -> None:
    assert "laterality_matters" in _refusal(augment={"flip_horizontal": True})
    options = {"flip_horizontal": True, "laterality_matters": False}
    assert parse_recipe(_raw(augment=options)).augment.flip_horizontal


def test_a_student_of_another_backbone_cannot_start_from_the_teacher() -> None:
    assert "student.weights" in _refusal(student={"backbone": "resnet18"})
    assert parse_recipe(_raw(student={"backbone": "resnet18", "weights": "auto"}))


@pytest.mark.parametrize("task", [BINARY, THREE])
def test_label_columns_are_for_several_findings(task: dict[str, Any]) -> None:
    assert "label_columns" in _refusal(task=task, data={"source": "csv", "path": "x", "label_columns": ["a", "b"]})


def test_label_columns_are_one_for_each_class() -> None:
    data = {"source": "csv", "path": "x", "label_columns": ["a"]}
    assert "label_columns" in _refusal(task=FINDINGS, data=data)
    assert parse_recipe(_raw(task=FINDINGS, data={**data, "label_columns": ["has_a", "has_b"]}))


def test_a_recipe_cannot_be_changed_in_passing() -> None:
    with pytest.raises(Exception, match="frozen"):
        parse_recipe(_raw()).train.epochs = 99  # type: ignore[misc]


@pytest.mark.parametrize(
    ("override", "read", "expected"),
    [
        ("train.epochs=3", lambda recipe: recipe.train.epochs, 3),
        ("train.learning_rate=1e-4", lambda recipe: recipe.train.learning_rate, 1e-4),
        ("preprocess.size=[96, 64]", lambda recipe: recipe.preprocess.size, (96, 64)),
        ("data.patient_column=null", lambda recipe: recipe.data.patient_column, None),
        ("title=a = b", lambda recipe: recipe.title, "a = b"),
        ("licences.data=CC0-1.0", lambda recipe: recipe.licences["data"], "CC0-1.0"),
        ("bench.threads=4", lambda recipe: recipe.bench.threads, 4),  # the file has no such section
    ],
)
def test_an_override_is_read_as_yaml(override: str, read: Any, expected: Any) -> None:
    assert read(load_recipe("phantom", [override])) == expected


def test_the_last_override_wins() -> None:
    assert load_recipe("phantom", ["train.epochs=3", "train.epochs=5"]).train.epochs == 5


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.epochs", "expected key=value"),
        ("=3", "expected key=value"),
        ("train.epoch=3", "train.epochs"),
        ("title.x=3", "title is not a section"),
        ("train.epochs=[", "not YAML"),
        ("train.epochs=soon", "train.epochs"),
        ("train..epochs=3", "unknown key"),
    ],
)
def test_a_wrong_override_is_refused(override: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("phantom", [override])
    assert said in str(caught.value)


def test_an_unknown_recipe_lists_those_there_are() -> None:
    with pytest.raises(RecipeError, match="phantom") as caught:
        load_recipe("fantom")
    assert caught.value.next_step


def test_a_recipe_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match=r"none\.yaml") as caught:
        load_recipe(str(tmp_path / "none.yaml"))
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n", "", "a: [\n", "\x00"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(RecipeError, match=r"r\.yaml"):
        load_recipe(_write(tmp_path, text))


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_bytes("title: Thorax, früh".encode("latin-1"))
    with pytest.raises(RecipeError, match=r"r\.yaml"):
        load_recipe(str(tmp_path / "r.yaml"))


def test_yaml_cannot_build_objects(tmp_path: Path) -> None:
    with pytest.raises(RecipeError):
        load_recipe(_write(tmp_path, f"name: !!python/object/apply:pathlib.Path.touch [{tmp_path / 'pwned'}]\n"))
    assert not (tmp_path / "pwned").exists()


def test_a_recipe_survives_its_own_dump(tmp_path: Path) -> None:
    recipe = parse_recipe(_raw(task=THREE))
    assert load_recipe(_write(tmp_path, yaml.safe_dump(recipe.model_dump(mode="json")))) == recipe


def _leaves(model: type[BaseModel], prefix: str = "") -> set[str]:
    found = set()
    for name, info in model.model_fields.items():
        kind = info.annotation
        inner = isinstance(kind, type) and issubclass(kind, BaseModel)
        found |= _leaves(kind, f"{prefix}{name}.") if inner else {prefix + name}  # type: ignore[arg-type]
    return found


def test_the_table_of_fields_is_complete_and_every_field_is_described() -> None:
    rows = fields_table()
    assert {key for key, *_ in rows} == _leaves(Recipe) and len(rows) == len(_leaves(Recipe))
    assert [key for key, _, _, description in rows if not description.endswith(".")] == []


def test_the_table_of_fields_tells_type_and_default() -> None:
    table = {key: (kind, default) for key, kind, default, _ in fields_table()}
    assert table["train.epochs"] == ("int", "6")
    assert table["data.path"] == ("str | None", "null")
    assert table["model.backbone"] == ("str", "required")
    assert table["preprocess.size"] == ("tuple[int, int]", "[224, 224]")
    assert table["data.source"][0].startswith("Literal['folders', 'csv', 'medmnist', 'phantom', 'nih-chestxray14'")


def test_defaults_in_the_table_are_the_real_ones() -> None:
    recipe = parse_recipe(_raw(task=FINDINGS, data={"source": "phantom"}))
    for key, _, default, _ in fields_table():
        if default == "required":
            continue
        value: Any = recipe
        for part in key.split("."):
            value = getattr(value, part)
        assert yaml.safe_load(default) == (list(value) if isinstance(value, tuple) else value), key


def test_recipes_are_listed_by_name() -> None:
    assert list_recipes() == sorted(list_recipes()) and "phantom" in list_recipes()


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ({"points": ["youdn"]}, "gate.points: 'youdn' is no operating point; they are youden, sensitivity-X"),
        ({"points": ["specificity-1.5"]}, "'specificity-1.5' is no operating point"),
        ({"points": ["youden", "youden"]}, "gate.points: an operating point stands twice"),
        ({"rule": "luck"}, "gate.rule"),
        ({"max_sensitivity_drop": -0.1}, "gate.max_sensitivity_drop"),
        ({"max_ece": 0}, "gate.max_ece"),
    ],
)
def test_a_gate_that_cannot_be_asked_is_refused(gate: dict[str, Any], words: str) -> None:
    assert words in _refusal(gate=gate)


def test_a_task_without_order_is_recorded_as_before_there_was_one() -> None:
    task = {"kind": "multiclass", "classes": ["mild", "moderate", "severe"]}
    assert "ordered" not in parse_recipe(_raw(task=task)).model_dump()["task"]
    ordered = parse_recipe(_raw(task={**task, "ordered": True}))
    assert parse_recipe(ordered.model_dump(mode="json")).task.ordered
