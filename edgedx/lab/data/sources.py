"""Where images and labels come from: each source lists rows in its native layout, and reads one image."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx.core.errors import DataError
from edgedx.core.files import canonical_json, sha256_bytes, sha256_file, storage_error
from edgedx.core.image import Image
from edgedx.core.settings.accept import FramePolicy
from edgedx.core.settings.recipe import Recipe, Task
from edgedx.core.table import read_table

from .layouts import LAYOUTS, Found

SPLITS = ("train", "val", "test")
# What numpy raises for a file that is cut, flipped, pickled, or no npz at all.
_NPZ_ERRORS = (OSError, EOFError, ValueError, TypeError, AttributeError, KeyError, zipfile.BadZipFile, zlib.error)
SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom", ".bmp", ""}


@dataclass(frozen=True)
class Row:
    """One image as the source lists it.

    Attributes
    ----------
    name : str
        Path relative to the source, or ``split/index`` in an npz.
    label : tuple of float
        Class index (one value), or 0/1/NaN per class for multilabel tasks. Empty where missing.
    patient : str
        Empty where the source names none: each image is then its own patient.
    split : str
        Empty where edgedx is to choose; `layouts.listing.DEVELOPMENT` where it is to choose between train and val.
    problem : str
        Why the row cannot be used; such rows are counted and listed, never dropped in silence.
    fold : str
        The publisher's own fold for cross-validation, or empty.
    columns : dict of str
        Texts of what the model is told beside the image, by column, as far as the source has them.
    """

    name: str
    label: tuple[float, ...]
    patient: str = ""
    split: str = ""
    subgroups: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    fold: str = ""
    columns: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """Rows, and how to read one: returns the image and the SHA-256 of its content."""

    rows: list[Row]
    read: Callable[[Row], tuple[Image, str]]
    origin: str
    """What was read, for the record; a path as the user gave it."""


def open_source(recipe: Recipe) -> Source:
    """List a recipe's data set.

    Raises
    ------
    DataError
        The source is missing, or its table lacks a column.
    """
    openers = {"folders": _folders, "csv": _csv, "medmnist": _medmnist, "phantom": _phantom}
    source = openers.get(recipe.data.source, _public)(recipe)
    if not source.rows:
        raise DataError(f"{source.origin}: no images found", next_step="check data.path and data.source of the recipe")
    return source


def fingerprint(recipe: Recipe) -> str:
    """Hash that changes when the source does: the file's or table's content, and names and sizes of all files.

    Pixels are not read; a changed image of the same size is not noticed.
    """
    if recipe.data.source == "phantom":
        return ""
    with _told_where_to_get(recipe):
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
    if recipe.accept.multi_frame != "refuse":  # left out else, so that runs from before there was a choice are current
        settings["frames"] = recipe.accept.multi_frame
    return settings


def cache_folder() -> Path:
    """Folder for downloads and phantoms: EDGEDX_CACHE, else ``~/.cache/edgedx``."""
    return Path(os.environ.get("EDGEDX_CACHE") or Path.home() / ".cache" / "edgedx")


def locate(path: str) -> Path:
    """Find a recipe's data: below EDGEDX_DATA, the working folder or the cache, in this order.

    Raises
    ------
    DataError
        None of them has it; names all that were tried.
    """
    bases = [Path(os.environ["EDGEDX_DATA"])] if os.environ.get("EDGEDX_DATA") else []
    tried = [base / path for base in [*bases, Path.cwd(), cache_folder()]]
    for candidate in tried:
        if candidate.exists():
            return candidate
    raise DataError(
        f"data set {path!r} not found; tried {', '.join(str(candidate) for candidate in tried)}",
        next_step="set EDGEDX_DATA to the folder that holds it, or --set data.path=/where/it/is",
    )


def from_files(root: Path, rows: list[Row], origin: str, frames: FramePolicy) -> Source:
    def read(row: Row) -> tuple[Image, str]:
        from edgedx.dicom.reading.open import open_image

        path = root / row.name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise storage_error(path, error) from error
        return open_image(content, frames=frames).image, sha256_bytes(content)

    return Source(rows, read, origin)


def _public(recipe: Recipe) -> Source:
    """A public data set in its own layout; what is missing is told with where to get it and under which licence."""
    with _told_where_to_get(recipe):
        root = locate(str(recipe.data.path))
        listing = LAYOUTS[recipe.data.source](root, recipe.data)
    rows = [_found_row(recipe, found) for found in listing.found]
    source = from_files(root, rows, str(recipe.data.path), recipe.accept.multi_frame)
    if (read := listing.read) is None:
        return source
    return Source(source.rows, lambda row: read(row.name), source.origin)


@contextmanager
def _told_where_to_get(recipe: Recipe) -> Iterator[None]:
    """Where a public data set lacks something: the page that has it, its licence, and what belongs where."""
    try:
        yield
    except DataError as error:
        about, licence = recipe.origin, recipe.licences.get("data")
        if not about.page:
            raise
        told = f"get it from {about.page}"
        told += f" ({licence})" if licence else ""
        told += f", so that {recipe.data.path} holds {about.unpack}" if about.unpack else ""
        told += f"; {error.next_step}" if error.next_step else ""
        raise DataError(error.message, next_step=told) from error


def _found_row(recipe: Recipe, found: Found) -> Row:
    label, problem = _label_of(recipe, found.label)
    if found.problem:
        label, problem = (), found.problem
    patient = found.patient if recipe.data.patient_column else ""
    told = {column.name: found.groups.get(column.name, "") for column in recipe.columns.use}
    return Row(found.image, label, patient, found.split, found.groups, problem, found.fold, told)


def _folders(recipe: Recipe) -> Source:
    root = locate(str(recipe.data.path))
    split_given = any((root / split).is_dir() for split in SPLITS)
    rows = []
    for split in SPLITS if split_given else ("",):
        for index, name in enumerate(recipe.task.classes):
            for path in sorted((root / split / name).rglob("*")):
                if path.is_file() and path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
                    rows.append(Row(path.relative_to(root).as_posix(), (float(index),), split=split))
    return from_files(root, rows, str(recipe.data.path), recipe.accept.multi_frame)


def _csv(recipe: Recipe) -> Source:
    data = recipe.data
    root = locate(str(data.path))
    table = root / data.csv
    entries, columns = read_table(table)
    labels = data.label_columns or [data.label_column]
    needed = [data.image_column, *labels, *data.subgroup_columns, *data.required_columns]
    needed += [column for column in (data.patient_column, data.split_column) if column]
    needed += [column.name for column in recipe.columns.use if column.header is None]
    if missing := [column for column in needed if column not in columns]:
        raise DataError(
            f"{table}: no column {missing[0]!r}; it has {', '.join(columns)}",
            next_step="name the right one in the recipe's data section (patient_column: null where there is none)",
        )
    rows = [_csv_row(recipe, entry) for entry in entries]
    return from_files(root, rows, str(data.path), recipe.accept.multi_frame)


def _csv_row(recipe: Recipe, entry: dict[str, str]) -> Row:
    data = recipe.data
    label, problem = _label(recipe, entry)
    name = (entry[data.image_column] or "").strip()
    if not name:
        problem = "no image named"
    elif Path(name).is_absolute() or ".." in Path(name).parts:
        problem = "path leaves the data set"
    if empty := [column for column in data.required_columns if not (entry[column] or "").strip()]:
        problem = problem or f"incomplete metadata: {empty[0]}"
    patient = (entry[data.patient_column] or "").strip() if data.patient_column else ""
    if data.patient_column and not patient:
        problem = problem or f"incomplete metadata: {data.patient_column}"
    split = (entry[data.split_column] or "").strip() if data.split_column else ""
    if data.split_column and split not in SPLITS:
        problem = problem or f"split {split!r} is none of {', '.join(SPLITS)}"
    groups = {column: (entry[column] or "").strip() for column in data.subgroup_columns}
    told = {column.name: (entry.get(column.name) or "").strip() for column in recipe.columns.use}
    return Row(name, label, patient, split, groups, problem, columns=told)


def _label(recipe: Recipe, entry: dict[str, str]) -> tuple[tuple[float, ...], str]:
    data = recipe.data
    if data.label_columns:
        cells = [(entry[column] or "").strip() for column in data.label_columns]
        if bad := [cell for cell in cells if cell not in {"", "0", "1", "0.0", "1.0"}]:
            return (), f"label {bad[0]!r} is not 0, 1 or empty"
        return tuple(float(cell) if cell else float("nan") for cell in cells), "" if any(cells) else "missing label"
    return _label_of(recipe, (entry[data.label_column] or "").strip())


def _label_of(recipe: Recipe, text: str) -> tuple[tuple[float, ...], str]:
    task, data = recipe.task, recipe.data
    if not text:
        return (), "missing label"
    if text in data.ambiguous_labels:
        return (), "ambiguous label"
    spelled = text.split("|") if task.kind == "multilabel" else [text]
    names = [data.label_names.get(name, name) for name in spelled]
    known = {*task.classes, "none"} if task.kind == "multilabel" else set(task.classes)
    if unknown := [name for name in names if name not in known]:
        return (), f"label {unknown[0]!r} is no class of the recipe"
    if task.kind == "multilabel":
        return tuple(float(name in names) for name in task.classes), ""
    return (float(task.classes.index(names[0])),), ""


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
    return _csv(recipe.model_copy(update={"data": table}))
