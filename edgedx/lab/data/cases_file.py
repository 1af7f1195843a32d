"""Cases of a data set as files: table, summary and list of exclusions; and the table read back as cases."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgedx.core.errors import DataError
from edgedx.core.files import canonical_json, sha256_bytes, storage_error, write_json, write_text
from edgedx.core.settings.recipe import Recipe
from edgedx.core.table import csv_text
from edgedx.lab.data.reading.rows import Row

from .boxes import BOX, box_of, box_text
from .column_table import headings
from .counts import count_reasons
from .split import PreparedImage

CANVASES, MANIFEST, EXCLUDED, SUMMARY = "canvases.npy", "manifest.csv", "excluded.csv", "dataset.json"
FIXED = ["image", "label", "patient_id", "split", "sha256", "height", "width", "canvas"]
"""Columns of every manifest; subgroups and further inputs of the model follow."""


def write_cases(
    recipe: Recipe,
    folder: Path,
    cases: Sequence[PreparedImage],
    splits: Sequence[str],
    excluded: Sequence[tuple[str, str]],
    *,
    source: str,
    subgroups: Sequence[str],
    warnings: Sequence[str],
    near_duplicates: dict[str, int] | None,
    fitted: dict[str, Any],
) -> dict[str, Any]:
    """Write all of a data set but its canvases, and return the summary, which is written last.

    Parameters
    ----------
    subgroups : sequence of str
        Columns of the cases that are kept.
    fitted : dict
        From `column_table.column_summary`.
    """
    boxed = [BOX] if recipe.data.roi_columns else []
    lines = [
        [case.row.name, json.dumps(case.row.label), case.patient, split, case.sha256, case.height, case.width]
        + [case.index]
        + [case.row.subgroups.get(column, "") for column in subgroups]
        + [case.row.columns[column.name] for column in recipe.columns.use]
        + [box_text(case.row) for _ in boxed]
        for case, split in zip(cases, splits, strict=True)
    ]
    write_text(folder / MANIFEST, csv_text([*FIXED, *subgroups, *headings(recipe.columns.use), *boxed], lines))
    write_text(folder / EXCLUDED, csv_text(["image", "reason"], excluded))
    summary = {
        "schema_version": 1,
        "source": source,
        "synthetic": recipe.synthetic,
        "images": len(cases),
        "patients": len({case.patient for case in cases}),
        "images_without_patient": sum(not case.row.patient for case in cases),
        "splits": {split: list(splits).count(split) for split in ("train", "val", "test")},
        "classes": class_counts(recipe, cases, splits),
        "excluded": count_reasons(excluded),
        **({} if near_duplicates is None else {"near_duplicates": near_duplicates}),
        "warnings": list(warnings),
        "digest": sha256_bytes(
            canonical_json(
                [
                    [c.row.name, c.sha256, list(map(str, c.row.label)), c.patient, s, *c.row.columns.items()]
                    + [*(c.row.roi or ())]
                    for c, s in zip(cases, splits, strict=True)
                ]
            )
        ),
        **fitted,
    }
    write_json(folder / SUMMARY, summary)
    return summary


def read_cases(recipe: Recipe, folder: Path) -> tuple[list[PreparedImage], list[str], list[str]]:
    """Cases as `write_cases` kept them, the split of each, and the subgroup columns that there are.

    Raises
    ------
    DataError
        The table is damaged.
    """
    beside = dict(zip(headings(recipe.columns.use), (column.name for column in recipe.columns.use), strict=True))
    try:
        with (folder / MANIFEST).open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            entries, columns = list(reader), list(reader.fieldnames or [])
        groups = [column for column in columns if column not in FIXED and column not in beside and column != BOX]
        cases = [_case(entry, groups, beside) for entry in entries]
        return cases, [entry["split"] for entry in entries], groups
    except OSError as error:
        raise storage_error(folder / MANIFEST, error) from error
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{folder / MANIFEST} is damaged: {error}", next_step="restore it from a copy") from error


def _case(entry: dict[str, str], groups: Sequence[str], beside: dict[str, str]) -> PreparedImage:
    name, patient = entry["image"], entry["patient_id"]
    row = Row(
        name,
        tuple(map(float, json.loads(entry["label"]))),
        "" if patient == name else patient,  # an image whose patient is not known has its own name there
        entry["split"],
        {column: entry[column] for column in groups},
        columns={column: entry[heading] for heading, column in beside.items()},
        roi=box_of(entry.get(BOX, "")),
    )
    return PreparedImage(row, entry["sha256"], int(entry["height"]), int(entry["width"]), int(entry["canvas"]))


def class_counts(recipe: Recipe, cases: Sequence[PreparedImage], splits: Sequence[str]) -> dict[str, dict[str, int]]:
    """Images by class and split; of several findings each counts where it is present."""
    counts = {name: Counter({"train": 0, "val": 0, "test": 0}) for name in recipe.task.classes}
    for case, split in zip(cases, splits, strict=True):
        for name in label_text(recipe, case.row.label).split("|"):
            if name in counts:
                counts[name][split] += 1
    return {name: dict(counter) for name, counter in counts.items()}


def label_text(recipe: Recipe, label: tuple[float, ...]) -> str:
    """A label in words: the class, or findings joined by ``|``."""
    if recipe.task.kind == "multilabel":
        return "|".join(name for name, value in zip(recipe.task.classes, label, strict=True) if value == 1) or "none"
    return recipe.task.classes[int(label[0])]
