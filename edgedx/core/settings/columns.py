"""Columns beside the image (age, sex, view ...): what a recipe declares of them, and how their texts become numbers.

One encoding for training and device. An absent value, an unknown category and whatever is no number are all zeros, so
that absence is a state of its own and no guess at a value. Texts come from strangers' headers and tables: none of them
is trusted, repeated in a message or logged.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, model_validator
from typing_extensions import Self

from edgedx.core.errors import DataError

from .recipe_data import Section

HeaderFact = Literal["PatientAgeYears", "PatientSex", "ViewPosition", "Laterality", "BodyPartExamined", "Modality"]
"""What a column may be taken from on a device: the facts that `dicom.header.describe` gives, cleaned; no free text."""
CLIP = 4.0
"""Standard deviations at which a number ends: a mistyped age moves a model no further than the oldest patient."""
_LARGEST = 1e9
_LONGEST = 64  # characters of a value; no number and no category needs more
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,(\d{1,2}|\d{4,})", re.ASCII)
"""In a table 63,5 is sixty-three and a half; 1,234 may be either, so it is taken for no number."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class Column(Section):
    """One column, as a recipe declares it."""

    name: str = Field(
        pattern=r"^[A-Za-z][A-Za-z0-9_. -]{0,39}$", description="Of the column in the source's table, and in results."
    )
    kind: Literal["number", "category"]
    categories: list[str] = Field([], description="Of a category: every value that the model is to tell apart.")
    header: HeaderFact | None = Field(
        None, description="DICOM header fact that gives the value on a device, and in training where no table does."
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.kind == "category") != bool(self.categories):
            raise ValueError("categories: a column of kind category lists them, a number has none")
        folded = [one.strip().casefold() for one in self.categories]
        if "" in folded or len(set(folded)) != len(folded) or max(map(len, folded), default=0) > _LONGEST:
            raise ValueError("categories: each once, none empty (upper and lower case are the same)")
        if self.header is not None and (self.header == "PatientAgeYears") != (self.kind == "number"):
            raise ValueError("header: PatientAgeYears is a number, every other fact a category")
        return self


class FittedColumn(Column):
    """A column with what was fitted on the training images; it travels with checkpoint and bundle."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    mean: float = Field(0.0, description="Of a number, over the training images that have it.")
    spread: float = Field(1.0, gt=0, description="Standard deviation of the same.")


class Columns(Section):
    """What the model is told beside the image."""

    use: list[Column] = Field(
        [],
        description="Columns, each with name, kind (number or category), categories, header (docs/columns.md); empty: "
        "the image alone.",
    )
    absent: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="Chance that a column of an image is made absent in training, so that the model can do without it.",
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if len({column.name for column in self.use}) != len(self.use):
            raise ValueError("use: a name stands twice")
        return self


def refuse_labels(columns: Columns, label_columns: Iterable[str]) -> None:
    """Refuse a column that is the label itself.

    Raises
    ------
    ValueError
        Names the column.
    """
    if leaks := {column.name for column in columns.use} & set(label_columns):
        raise ValueError(f"columns.use: {sorted(leaks)[0]} is the label")


def clean(column: Column, text: object) -> str:
    """A value as it is kept: a number's text, a category as the recipe spells it, or nothing where it is neither."""
    if not isinstance(text, str) or len(text) > _LONGEST:
        return ""
    text = text.strip()
    if column.kind == "number":
        return text if _number(text) is not None else ""
    return next((one for one in column.categories if one.strip().casefold() == text.casefold()), "")


def gather(columns: Sequence[Column], table: Mapping[str, str], header: Mapping[str, str]) -> dict[str, str]:
    """Clean values by column: the table's cell, else the header's fact."""
    values = {}
    for column in columns:
        of_header = header.get(column.header, "") if column.header is not None else ""
        values[column.name] = clean(column, _decimal_point(table.get(column.name, ""))) or clean(column, of_header)
    return values


def _decimal_point(text: str) -> str:
    return text.strip().replace(",", ".") if _DECIMAL_COMMA.fullmatch(text.strip()) else text


def fit_columns(columns: Sequence[Column], train: Sequence[Mapping[str, str]]) -> list[FittedColumn]:
    """Mean and spread of numbers over the training images' clean values.

    Raises
    ------
    DataError
        No training image has a value of a column.
    """
    fitted = []
    for column in columns:
        texts = [text for values in train if (text := values.get(column.name, ""))]
        if not texts:
            raise DataError(
                f"column {column.name!r}: no training image has a value of it",
                next_step="compare columns.use of the recipe with the table's columns, their spelling, and the header",
            )
        mean, spread = 0.0, 1.0
        if column.kind == "number":
            numbers = np.array([float(text) for text in texts])
            mean, spread = float(numbers.mean()), float(numbers.std())
        fitted.append(FittedColumn(**column.model_dump(), mean=mean, spread=spread if spread > 1e-6 else 1.0))
    return fitted


def width(columns: Sequence[Column]) -> int:
    """Numbers that encode all columns of one image."""
    return sum(_size(column) for column in columns)


def spans(columns: Sequence[Column]) -> list[tuple[int, int]]:
    """First place and the place after the last of each column."""
    ends = np.cumsum([_size(column) for column in columns]).tolist()
    return list(zip([0, *ends], ends, strict=False))


def encode(columns: Sequence[FittedColumn], values: Mapping[str, str]) -> NDArray[np.float32]:
    """Values of one image, by column, as a vector of shape (`width`,).

    A number is its distance from the mean in standard deviations, within `CLIP`, and a 1 that says it is there; a
    category is a 1 in its place. What is absent is all zeros.
    """
    encoded = np.zeros(width(columns), np.float32)
    for column, (start, _) in zip(columns, spans(columns), strict=True):
        text = clean(column, values.get(column.name, ""))
        if not text:
            continue
        if column.kind == "number":
            encoded[start : start + 2] = np.clip((float(text) - column.mean) / column.spread, -CLIP, CLIP), 1.0
        else:
            encoded[start + column.categories.index(text)] = 1.0
    return encoded


def encode_rows(columns: Sequence[FittedColumn], rows: Sequence[Mapping[str, str]]) -> NDArray[np.float32]:
    """`encode` of several images, of shape (N, `width`)."""
    encoded = np.zeros((len(rows), width(columns)), np.float32)
    for place, values in enumerate(rows):
        encoded[place] = encode(columns, values)
    return encoded


def present(columns: Sequence[Column], encoded: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which columns each image has, of shape (N, columns), from what the model is given (N, `width`)."""
    there = [(encoded[:, start:stop] != 0).any(axis=1) for start, stop in spans(columns)]
    return np.stack(there, axis=1) if there else np.zeros((len(encoded), 0), bool)


def make_absent(
    columns: Sequence[Column], encoded: NDArray[np.float32], chance: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """The columns of one image (`width`,), each absent with a chance of `chance`."""
    kept = np.ones(len(encoded), np.float32)
    for (start, stop), drawn in zip(spans(columns), rng.random(len(columns)), strict=True):
        kept[start:stop] = drawn >= chance
    return encoded * kept


def make_up(columns: Sequence[FittedColumn], count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Encoded rows (count, `width`) of nobody, to try a model with; about a third of the values absent."""
    rows = []
    for _ in range(count):
        values = {
            column.name: f"{column.mean + column.spread * rng.normal():.6g}"
            if column.kind == "number"
            else str(rng.choice(column.categories))
            for column in columns
        }
        rows.append(make_absent(columns, encode(columns, values), 1 / 3, rng))
    return np.array(rows, np.float32)


def _size(column: Column) -> int:
    return 2 if column.kind == "number" else len(column.categories)


def _number(text: str) -> float | None:
    value = float(text) if _NUMBER.fullmatch(text) else math.inf
    return value if abs(value) <= _LARGEST else None
