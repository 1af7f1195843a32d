"""Source ``csv``: a table of images, raster or DICOM, with a label, and maybe patient, split and further columns."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from edgedx.core.errors import DataError
from edgedx.core.settings.recipe import Recipe
from edgedx.core.settings.recipe_sections import Data
from edgedx.core.table import read_table

from .labels import label_of_findings, label_of_text
from .rows import SPLITS, Row, Source, from_files, leave_val_to_edgedx, locate, path_problem, split_named


def open_table(recipe: Recipe) -> Source:
    """List a table's images.

    Raises
    ------
    DataError
        The table is missing, or lacks a column.
    """
    data = recipe.data
    root = locate(str(data.path))
    table = root / data.csv
    entries, columns = read_table(table, encoding=data.encoding, names=data.column_names)
    labels = data.label_columns or [data.label_column]
    needed = [data.image_column, *labels, *data.subgroup_columns, *data.required_columns, *data.roi_columns]
    needed += [column for column in (data.patient_column, data.split_column) if column]
    needed += [column.name for column in recipe.columns.use if column.header is None]
    if missing := [column for column in needed if column not in columns]:
        raise DataError(
            f"{table}: no column {missing[0]!r}; it has {', '.join(columns)}",
            next_step="name the right one in the recipe's data section (patient_column: null where there is none)",
        )
    if unknown := [column for column in data.uncertain if column not in {*data.label_columns, "*"}]:
        raise DataError(
            f"data.uncertain: {unknown[0]!r} is none of data.label_columns", next_step="name a column of them, or '*'"
        )
    rows = leave_val_to_edgedx([_row(recipe, entry) for entry in entries])
    return from_files(root, rows, str(data.path), recipe.accept.multi_frame)


def image_path(data: Data, cell: str) -> str:
    """A cell of the image column to a path below the data set, with slashes."""
    text = cell.strip()
    if not text:
        return ""
    if "\\" in text and not Path(text).is_absolute():  # of Windows; on other systems no image's name has one
        text = text.replace("\\", "/")
    prefix = data.image_prefix.replace("\\", "/")
    if prefix and text.startswith(prefix):
        text = text[len(prefix) :].lstrip("/")
    return data.image_format.replace("{}", text)


def _row(recipe: Recipe, entry: dict[str, Any]) -> Row:
    data = recipe.data
    cells = {column: (text or "").strip() for column, text in entry.items() if isinstance(column, str)}
    label, problem = (
        label_of_findings(recipe, cells) if data.label_columns else label_of_text(recipe, cells[data.label_column])
    )
    name = image_path(data, cells[data.image_column])
    problem = path_problem(name) or problem
    if any(text.strip() for text in entry.get(None, ())):  # type: ignore[call-overload]
        problem = "its row has more cells than the table has columns"
    if empty := [column for column in data.required_columns if not cells[column]]:
        problem = problem or f"incomplete metadata: {empty[0]}"
    patient = cells[data.patient_column] if data.patient_column else ""
    if data.patient_column and not patient:
        problem = problem or f"incomplete metadata: {data.patient_column}"
    named = cells[data.split_column] if data.split_column else ""
    split = split_named(named)
    if data.split_column and not split:
        problem = problem or f"split {named!r} is none of {', '.join(SPLITS)}"
    roi, wrong = box_of_cells([cells[column] for column in data.roi_columns])
    problem = problem or wrong
    groups = {column: cells[column] for column in data.subgroup_columns}
    beside = {column.name: cells.get(column.name, "") for column in recipe.columns.use}
    return Row(name, label, patient, split, groups, problem, columns=beside, roi=roi)


def box_of_cells(texts: list[str]) -> tuple[tuple[float, float, float, float] | None, str]:
    """Left, top, width and height, and why they are no box."""
    if not any(texts):
        return None, ""
    try:
        left, top, width, height = (float(text) for text in texts)
    except ValueError:
        return None, "its box is not four numbers"
    if not all(map(math.isfinite, (left, top, width, height))) or min(width, height) <= 0 or min(left, top) < 0:
        return None, "its box has no place: left and top from 0, width and height above 0"
    return (left, top, width, height), ""
