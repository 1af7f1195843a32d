"""The recipe: everything that decides a model, as data. Unknown keys are refused with the nearest known one."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator
from typing_extensions import Self

from edgedx.core.errors import RecipeError
from edgedx.core.preprocess import PreprocessSpec
from edgedx.core.version import VERSION_PATTERN

from .accept import Accept
from .columns import Columns, refuse_labels
from .recipe_data import Foreign, Origin
from .recipe_data import Section as _Section
from .recipe_federated import Federated
from .recipe_sections import Bench, Data, Gate, Quantize, Search, Student, Task
from .recipe_training import Augment, NetworkSettings, Train
from .recipe_tune import Tune, fit_space
from .recipe_update import Update
from .shipped import shipped_folder
from .validation import explain
from .yaml_file import read_yaml


class Recipe(_Section):
    """A whole way from data set to bundle."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="Lower-case letters, digits and hyphens.")
    title: str = Field(description="One line.")
    version: str = Field(
        "1", pattern=VERSION_PATTERN, description="Of the models made with it: dotted numbers; a device takes no older."
    )
    synthetic: bool = Field(False, description="True where images are generated; figures are then labelled so.")
    licences: dict[str, str] = Field(
        {}, description="Data and weights to SPDX name or a sentence; goes into the bundle."
    )
    origin: Origin = Origin()
    task: Task
    data: Data
    columns: Columns = Columns()
    preprocess: PreprocessSpec = PreprocessSpec()
    augment: Augment = Augment()
    model: NetworkSettings
    train: Train = Train()
    student: Student = Student()
    search: Search = Search()
    quantize: Quantize = Quantize()
    gate: Gate = Gate()
    accept: Accept = Accept()
    bench: Bench = Bench()
    foreign: Foreign = Foreign()
    tune: Tune = Tune()
    update: Update = Update()
    federated: Federated = Federated()

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.student.backbone != "same" and self.student.weights == "teacher":
            raise ValueError("student.weights: teacher is possible only with student.backbone: same")
        refuse_labels(self.columns, [self.data.label_column, *self.data.label_columns])
        if self.data.roi_columns and (self.data.source != "csv" or self.preprocess.crop != "none"):
            raise ValueError("data.roi_columns: only of a table (source: csv), and with preprocess.crop: none")
        if self.student.teacher_flips and not (self.augment.flip_horizontal or self.augment.flip_vertical):
            raise ValueError(
                "student.teacher_flips: augment mirrors nothing; set augment.flip_horizontal, if that is true"
            )
        if self.train.imbalance == "balanced-softmax" and self.task.kind == "multilabel":
            raise ValueError("train.imbalance: balanced-softmax is for classes that exclude each other; choose loss")
        columns = self.data.label_columns
        if columns and (self.task.kind != "multilabel" or len(columns) != len(self.task.classes)):
            raise ValueError("data.label_columns: one for each class, and only for multilabel tasks")
        if self.accept.multi_frame == "each" and self.task.kind == "multiclass":
            raise ValueError(
                "accept.multi_frame: each needs a binary or multilabel task, whose classes say what the frames are "
                "searched for; choose first, middle or refuse"
            )
        return self


def load_recipe(name_or_path: str, overrides: list[str] | None = None) -> Recipe:
    """Read a shipped recipe by name, or a YAML file, and apply ``key=value`` overrides.

    Parameters
    ----------
    name_or_path : str
        A name that `list_recipes` gives, or a path that ends in .yaml or .yml.
    overrides : list of str, optional
        Like ``train.epochs=3``; the value is read as YAML.

    Raises
    ------
    RecipeError
        Unknown recipe, key or value; names the key and the nearest known one.
    """
    path = _find(name_or_path)
    raw = read_yaml(path, RecipeError)
    if not isinstance(raw, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of sections", next_step="see `edgedx recipes show phantom`")
    for override in overrides or []:
        _set(raw, override)
    return parse_recipe(raw, str(path))


def parse_recipe(raw: dict[str, Any], where: str = "recipe") -> Recipe:
    """Validate a mapping as a recipe (see `load_recipe` for errors)."""
    recipe = _validate(raw, where)
    if not recipe.tune.space:
        return recipe
    plain = recipe.model_dump(mode="json", exclude={"tune"})
    tune = fit_space(recipe.tune, plain, lambda changed: _validate(changed, f"{where}: tune.space"))
    return recipe.model_copy(update={"tune": tune})


def _validate(raw: dict[str, Any], where: str) -> Recipe:
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        raise RecipeError(
            explain(error, Recipe, where),
            next_step="`edgedx recipes show NAME --fields` lists every field, unit and default",
        ) from error


def list_recipes() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(path.stem for path in shipped_folder("recipes").glob("*.yaml"))


def _find(name_or_path: str) -> Path:
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"}:
        return path
    if name_or_path not in list_recipes():
        near = difflib.get_close_matches(name_or_path, list_recipes(), n=1, cutoff=0.5)
        raise RecipeError(
            f"no recipe {name_or_path!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
            next_step=f"shipped are {', '.join(list_recipes())}; or give the path of a .yaml file",
        )
    return shipped_folder("recipes") / f"{name_or_path}.yaml"


def _set(raw: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"--set {override}: expected key=value", next_step="for example --set train.epochs=3")
    *sections, last = key.split(".")
    node: Any = raw
    for section in sections:
        node = node.setdefault(section, {})
        if not isinstance(node, dict):
            raise RecipeError(f"--set {override}: {section} is not a section")
    try:
        node[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {override}: the value is not YAML") from error


def fields_table() -> list[tuple[str, str, str, str]]:
    """Every field of a recipe as (key, type, default, description), for the CLI and the docs."""
    rows: list[tuple[str, str, str, str]] = []

    def walk(model: type[BaseModel], prefix: str) -> None:
        for name, info in model.model_fields.items():
            kind = info.annotation
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                walk(kind, f"{prefix}{name}.")
                continue
            default = "required" if info.is_required() else _show(info.get_default(call_default_factory=True))
            shown = str(kind).replace("typing.", "")
            if isinstance(kind, type) and not get_args(kind):  # Python 3.10 takes tuple[int] for a type
                shown = kind.__name__
            rows.append((prefix + name, shown, default, info.description or ""))

    walk(Recipe, "")
    return rows


def _show(value: Any) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    return str(yaml.safe_dump(plain, default_flow_style=True)).split("\n")[0].strip()
