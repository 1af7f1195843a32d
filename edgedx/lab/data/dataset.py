"""A data set, decoded once: manifest of every image, list of every exclusion, canvases in one memory-mapped file."""

from __future__ import annotations

import csv
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx.core.errors import DataError
from edgedx.core.files import storage_error, write_text
from edgedx.core.preprocess import Canvas, PreprocessSpec
from edgedx.core.settings.columns import FittedColumn
from edgedx.core.settings.recipe import Recipe
from edgedx.core.table import csv_text
from edgedx.lab.data.reading.rows import Source

from .alike import LEAVES_TRAIN, bind, counts, find_alike, leaves_train
from .boxes import BOX, boxes_on_canvases
from .cases_file import CANVASES as CANVASES
from .cases_file import EXCLUDED as EXCLUDED
from .cases_file import FIXED, MANIFEST, SUMMARY, label_text, write_cases
from .column_table import column_summary, fitted_columns, headings, read_columns
from .decode import decode_rows
from .leaks import drop_duplicates, settle_leaks, without
from .sources import open_source
from .split import PreparedImage, assign_splits, check_classes

FILES = CANVASES, MANIFEST, SUMMARY
"""What `load_dataset` reads."""
NEAR_DUPLICATES = "near-duplicates.csv"


@dataclass(frozen=True)
class Dataset:
    """Images of one or all splits.

    Attributes
    ----------
    names, patients : list of str
    labels : ndarray
        (N,) int64 class indices, or (N, K) float64 of 0/1/NaN for multilabel tasks.
    canvases : ndarray of shape (total, H, W) or (total, H, W, 3), uint8 or uint16
        Memory-mapped, shared by all subsets; ``canvases[rows[i]]`` is image i.
    rows : ndarray of shape (N,), int64
    subgroups : list of dict
    columns : ndarray of shape (N, T), float32, optional
        Further inputs of the model beside each image (see `core.columns`); None where the data set has no columns.
    fitted : tuple of FittedColumn
        How they were encoded; fitted on train.
    boxes : ndarray of shape (N, 4), float32, optional
        Left, top, right and bottom of what the label is about, shares of the canvas; NaN where an image has none.
    """

    names: list[str]
    patients: list[str]
    labels: NDArray[Any]
    splits: list[str]
    canvases: Canvas
    rows: NDArray[np.int64]
    subgroups: list[dict[str, str]]
    digest: str
    columns: NDArray[np.float32] | None = None
    fitted: tuple[FittedColumn, ...] = ()
    boxes: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def subset(self, split: str) -> Dataset:
        """The images of one split."""
        return self.take([index for index, its_split in enumerate(self.splits) if its_split == split])

    def take(self, chosen: Sequence[int] | NDArray[np.int64]) -> Dataset:
        """The images at the given positions."""
        picked = [int(index) for index in chosen]
        return Dataset(
            [self.names[i] for i in picked],
            [self.patients[i] for i in picked],
            self.labels[picked],
            [self.splits[i] for i in picked],
            self.canvases,
            self.rows[picked],
            [self.subgroups[i] for i in picked],
            self.digest,
            None if self.columns is None else self.columns[picked],
            self.fitted,
            None if self.boxes is None else self.boxes[picked],
        )

    def batches(self, size: int) -> Iterable[Canvas]:
        """Canvases in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.canvases[self.rows[start : start + size]]

    def inputs(self, size: int) -> Iterable[tuple[Canvas, NDArray[np.float32] | None]]:
        """All that a model is given: canvases in order, `size` at a time, and their columns."""
        for start, canvases in zip(range(0, len(self), size), self.batches(size), strict=True):
            yield canvases, None if self.columns is None else self.columns[start : start + size]


def build_dataset(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Read a recipe's source into `folder` and return the summary that is also written there.

    The folder appears whole or not at all.

    Raises
    ------
    DataError
        Nothing readable, an empty class, or a leak between splits.
    """
    source = open_source(recipe)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".data-", dir=folder.parent))
    staging.chmod(0o755)  # mkdtemp's 0700 would keep colleagues out
    try:
        summary = _build(recipe, source, staging)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(staging, folder)
        return summary
    except OSError as error:
        raise storage_error(folder, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _build(recipe: Recipe, source: Source, folder: Path) -> dict[str, Any]:
    excluded: list[tuple[str, str]] = [(row.name, row.problem) for row in source.rows if row.problem]
    usable = [row for row in source.rows if not row.problem]
    if recipe.data.folds:
        usable = [replace(row, split="") for row in usable]
    cases = decode_rows(recipe, source, usable, folder / CANVASES, excluded)
    if not cases:
        reasons = Counter(reason for _, reason in excluded).most_common(3)
        raise DataError(
            f"{source.origin}: none of {len(source.rows)} images is usable: "
            + "; ".join(f"{reason} ({count})" for reason, count in reasons)
        )
    divided = divide(recipe, cases, np.load(folder / CANVASES, mmap_mode="r", allow_pickle=False), excluded)
    cases, splits = divided.cases, divided.splits
    warnings = [*source.warnings, *divided.warnings, *check_classes(cases, splits, recipe.task)]
    fitted = column_summary(recipe.columns.use, [case.row.columns for case in cases], splits)
    if divided.alike:
        write_text(
            folder / NEAR_DUPLICATES, csv_text(["group", "image", "label", "patient_id", "split"], divided.alike)
        )
    return write_cases(
        recipe,
        folder,
        cases,
        splits,
        excluded,
        source=source.origin,
        subgroups=recipe.data.subgroup_columns,
        warnings=warnings,
        near_duplicates=divided.counts,
        fitted=fitted,
    )


@dataclass(frozen=True)
class Divided:
    """Cases without duplicates and leaks, and their splits.

    Attributes
    ----------
    alike : list
        Near-duplicates as rows of a table: number of the group, image, label, patient, split.
    counts : dict, optional
        Of the same; None where near-duplicates were not looked for.
    """

    cases: list[PreparedImage]
    splits: list[str]
    warnings: list[str]
    alike: list[list[Any]]
    counts: dict[str, int] | None


def divide(recipe: Recipe, cases: list[PreparedImage], canvases: Canvas, excluded: list[tuple[str, str]]) -> Divided:
    """Drop duplicates, find near-duplicates and divide what is left; what is dropped joins `excluded`.

    Raises
    ------
    DataError
        A leak between splits that the source gives.
    """
    cases = drop_duplicates(cases, excluded)
    alike = find_alike(recipe, cases, canvases)
    if alike is not None and recipe.data.near_duplicates == "together":
        cases = bind(cases, alike)
    splits = assign_splits(cases, recipe.data)
    if alike is None:
        return Divided(*settle_leaks(recipe, cases, splits, excluded), [], [], None)
    left = leaves_train(alike, splits)
    warnings = list(alike.warnings)
    if left and recipe.data.near_duplicates == "list":
        warnings.append(f"{len(left)} training images have a near-duplicate in val or test: figures flatter")
        left = []
    table = [
        [number, cases[position].row.name, label_text(recipe, cases[position].row.label), cases[position].row.patient,
         splits[position] if position not in left else "excluded"]
        for number, group in enumerate(alike.groups(), start=1) for position in group
    ]  # fmt: skip
    gone = {cases[position].index for position in left}
    kept, kept_splits = settle_leaks(recipe, cases, splits, excluded)
    drop = [position for position, case in enumerate(kept) if case.index in gone]
    excluded += [(kept[position].row.name, LEAVES_TRAIN) for position in drop]
    return Divided(*without(kept, kept_splits, drop), warnings, table, counts(alike, cases, len(left)))


def load_dataset(folder: Path, task: str, spec: PreprocessSpec) -> Dataset:
    """Open what `build_dataset` wrote.

    Raises
    ------
    DataError
        The folder is not whole, or its canvases are not those of `spec`.
    """
    try:
        with (folder / MANIFEST).open(newline="", encoding="utf-8") as stream:
            entries = list(csv.DictReader(stream))
        canvases = np.load(folder / CANVASES, mmap_mode="r", allow_pickle=False)
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        # json writes NaN, which is how an unknown label of a multilabel task looks
        labels = np.array([json.loads(entry["label"]) for entry in entries], np.float64)
        rows = np.array([int(entry["canvas"]) for entry in entries], np.int64)
        fitted = fitted_columns(summary)
        columns = read_columns(entries, fitted)
        boxes = boxes_on_canvases(entries, spec)
        if len(rows) != summary["images"]:
            raise ValueError(f"{MANIFEST} has {len(rows)} of {summary['images']} images")
    except OSError as error:
        raise storage_error(Path(error.filename or folder), error) from error
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{folder} is damaged: {error}", next_step="delete it; it is made again from the source"
        ) from error
    shape, dtype = spec.size if spec.channels == 1 else (*spec.size, 3), f"uint{spec.bits}"
    if canvases.shape[1:] != shape or canvases.dtype != dtype:
        raise DataError(
            f"{folder}: canvases are {canvases.shape[1:]} {canvases.dtype}, the recipe wants {shape} {dtype}",
            next_step="make the data set again with --overwrite",
        )
    apart = {*FIXED, *headings(fitted), BOX}
    return Dataset(
        names=[entry["image"] for entry in entries],
        patients=[entry["patient_id"] for entry in entries],
        labels=labels if task == "multilabel" else labels[:, 0].astype(np.int64),
        splits=[entry["split"] for entry in entries],
        canvases=canvases,
        rows=rows,
        subgroups=[{key: entry[key] for key in entry if key not in apart} for entry in entries],
        digest=summary["digest"],
        columns=columns,
        fitted=fitted,
        boxes=boxes,
    )
