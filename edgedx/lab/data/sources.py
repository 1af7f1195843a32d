"""Where images and labels come from: each source lists rows in its native layout, and reads one image."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx.core.errors import DataError
from edgedx.core.files import canonical_json, sha256_bytes, sha256_file
from edgedx.core.image import Image
from edgedx.core.settings.recipe import Recipe
from edgedx.core.settings.recipe_sections import Task
from edgedx.lab.data.reading.folders import open_folders
from edgedx.lab.data.reading.labels import label_of_text
from edgedx.lab.data.reading.patients import settle_patients
from edgedx.lab.data.reading.rows import SPLITS, Row, Source, cache_folder, from_files, locate
from edgedx.lab.data.reading.tables import open_table

from .layouts import LAYOUTS, ListedEntry

# What numpy raises for a file that is cut, flipped, pickled, or no npz at all.
_NPZ_ERRORS = (OSError, EOFError, ValueError, TypeError, AttributeError, KeyError, zipfile.BadZipFile, zlib.error)
__all__ = ["Row", "Source", "cache_folder", "fingerprint", "from_files", "locate", "open_source", "reading_settings"]


def open_source(recipe: Recipe) -> Source:
    """List a recipe's data set.

    Raises
    ------
    DataError
        The source is missing, its table lacks a column, or spellings of a patient contradict (see `settle_patients`).
    """
    openers = {"folders": open_folders, "csv": open_table, "medmnist": _medmnist, "phantom": _phantom}
    source = openers.get(recipe.data.source, _public)(recipe)
    if not source.rows:
        raise DataError(f"{source.origin}: no images found", next_step="check data.path and data.source of the recipe")
    if recipe.data.source in ("medmnist", "phantom"):
        return source
    rows, warnings = settle_patients(locate(str(recipe.data.path)), source.rows, recipe.data)
    return replace(source, rows=rows, warnings=(*source.warnings, *warnings))


def fingerprint(recipe: Recipe) -> str:
    """Hash that changes when the source does: the file's or table's content, and names and sizes of all files.

    Pixels are not read; a changed image of the same size is not noticed.
    """
    if recipe.data.source == "phantom":
        return ""
    with _say_where_to_get(recipe):
        root = locate(str(recipe.data.path))
    if root.is_file():
        return sha256_file(root)
    files = sorted(
        (path.relative_to(root).as_posix(), path.stat().st_size) for path in root.rglob("*") if path.is_file()
    )
    if recipe.data.source in LAYOUTS:  # several tables: a label that changes need not change a file's size
        tables = [name for name, _ in files if name.endswith((".csv", ".txt", ".json"))]
        return sha256_bytes(canonical_json([files, [sha256_file(root / name) for name in tables]]))
    table = root / recipe.data.csv
    return sha256_bytes(canonical_json([files, sha256_file(table) if table.is_file() else ""]))


def reading_settings(recipe: Recipe) -> dict[str, Any]:
    """What decides a canvas and its columns besides the file, for the record of a stage that reads files."""
    settings: dict[str, Any] = {"canvas": recipe.preprocess.digest()}
    if recipe.columns.use:  # left out else, as below
        settings["columns"] = [column.model_dump(mode="json") for column in recipe.columns.use]
    if recipe.accept.multi_frame in ("first", "middle"):  # left out else, so that older runs stay current; a data set
        # has one label for a file, so that `each`, which is for prediction, refuses several frames here
        settings["frames"] = recipe.accept.multi_frame
    return settings


def _public(recipe: Recipe) -> Source:
    """A public data set in its own layout; what is missing is told with where to get it and under which licence."""
    with _say_where_to_get(recipe):
        root = locate(str(recipe.data.path))
        listing = LAYOUTS[recipe.data.source](root, recipe.data)
    rows = [_found_row(recipe, found) for found in listing.found]
    source = from_files(root, rows, str(recipe.data.path), recipe.accept.multi_frame)
    if (read := listing.read) is None:
        return source
    return Source(source.rows, lambda row: read(row.name), source.origin)


@contextmanager
def _say_where_to_get(recipe: Recipe) -> Iterator[None]:
    """Where a public data set lacks something: the page that has it, its licence, and what belongs where."""
    try:
        yield
    except DataError as error:
        about, licence = recipe.origin, recipe.licences.get("data")
        if not about.page:
            raise
        next_step = f"get it from {about.page}"
        next_step += f" ({licence})" if licence else ""
        next_step += f", so that {recipe.data.path} holds {about.unpack}" if about.unpack else ""
        next_step += f"; {error.next_step}" if error.next_step else ""
        raise DataError(error.message, next_step=next_step) from error


def _found_row(recipe: Recipe, entry: ListedEntry) -> Row:
    label, problem = label_of_text(recipe, entry.label)
    if entry.problem:
        label, problem = (), entry.problem
    patient = entry.patient if recipe.data.patient_column else ""
    beside = {column.name: entry.groups.get(column.name, "") for column in recipe.columns.use}
    return Row(entry.image, label, patient, entry.split, entry.groups, problem, entry.fold, beside)


def _medmnist(recipe: Recipe) -> Source:
    path = locate(str(recipe.data.path))
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for split in SPLITS for key in (f"{split}_images", f"{split}_labels")}
        labels = {split: arrays[f"{split}_labels"].reshape(len(arrays[f"{split}_images"]), -1) for split in SPLITS}
    except _NPZ_ERRORS as error:
        raise DataError(f"{path} is not a MedMNIST npz: {error}", next_step="fetch it again") from error
    width = len(recipe.task.classes) if recipe.task.kind == "multilabel" else 1
    if (found := labels["train"].shape[1]) != width:
        raise DataError(
            f"{path} has {found} label(s) for each image, the recipe's task {width}",
            next_step="check task.kind and task.classes of the recipe",
        )
    rows = [
        Row(f"{split}/{index}", tuple(map(float, label)), split=split, problem=_npz_problem(recipe.task, label))
        for split in SPLITS
        for index, label in enumerate(labels[split])
    ]

    def read(row: Row) -> tuple[Image, str]:
        split, index = row.name.split("/")
        pixels = arrays[f"{split}_images"][int(index)]
        return Image.of_array(pixels), hashlib.sha256(pixels.tobytes()).hexdigest()

    return Source(rows, read, str(recipe.data.path))


def _npz_problem(task: Task, label: NDArray[Any]) -> str:
    known = range(2) if task.kind == "multilabel" else range(len(task.classes))
    bad = [value for value in label if value not in known]
    return f"label '{bad[0]:g}' is no class of the recipe" if bad else ""


def _phantom(recipe: Recipe) -> Source:
    from edgedx.dicom.writing.phantom import write_phantoms

    patients, seed = recipe.data.phantom_patients, recipe.data.seed
    root = cache_folder() / f"phantom-{patients}-{seed}"
    if not (root / "labels.csv").exists():  # written last, so a killed run starts over
        write_phantoms(root, patients=patients, seed=seed)
    table = recipe.data.model_copy(update={"source": "csv", "path": str(root), "csv": "labels.csv"})
    return open_table(recipe.model_copy(update={"data": table}))
