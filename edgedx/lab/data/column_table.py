"""Columns of a data set: clean text in its manifest, fitted on its training images, encoded when it is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx.core.settings.columns import Column, FittedColumn, encode_rows, fit_columns, present

_PREFIX = "column."  # before a column's name in a manifest: a subgroup may have the same name


def headings(columns: Sequence[Column]) -> list[str]:
    """Names of the columns in a manifest."""
    return [f"{_PREFIX}{column.name}" for column in columns]


def column_summary(
    columns: Sequence[Column], values: Sequence[Mapping[str, str]], splits: Sequence[str]
) -> dict[str, Any]:
    """The columns fitted on train, and how many images of each split have a value; nothing where there are no columns.

    Raises
    ------
    DataError
        No training image has a value of a column.
    """
    if not columns:
        return {}
    split_of = np.array(splits)
    fitted = fit_columns(columns, [row for row, split in zip(values, splits, strict=True) if split == "train"])
    there = present(fitted, encode_rows(fitted, values))
    counts = {
        column.name: {split: int(there[split_of == split, position].sum()) for split in ("train", "val", "test")}
        for position, column in enumerate(fitted)
    }
    return {"columns": [column.model_dump(mode="json") for column in fitted], "columns_present": counts}


def fitted_columns(summary: Mapping[str, Any]) -> tuple[FittedColumn, ...]:
    """The columns of a data set, from its summary."""
    return tuple(FittedColumn.model_validate(one) for one in summary.get("columns", []))


def read_columns(entries: Sequence[Mapping[str, str]], fitted: Sequence[FittedColumn]) -> NDArray[np.float32] | None:
    """Encoded columns of a manifest's rows, of shape (N, T); None where there are no columns."""
    if not fitted:
        return None
    named = [(one.name, heading) for one, heading in zip(fitted, headings(fitted), strict=True)]
    return encode_rows(fitted, [{name: entry[heading] for name, heading in named} for entry in entries])
