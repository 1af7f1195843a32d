"""Labelled images from outside any run: a folder for each class, or a table; every image that is left out is told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from edgedx.core.errors import DataError, EdgedxError, UsageError
from edgedx.core.files import sha256_bytes, storage_error
from edgedx.core.preprocess import Canvas, PreprocessSpec, canvas
from edgedx.core.settings.accept import Accept
from edgedx.core.table import read_table
from edgedx.device.decode.accept import acceptable, facts_of
from edgedx.lab.data.reading.folders import files_below
from edgedx.lab.data.reading.labels import nearest
from edgedx.lab.data.reading.patients import one_spelling
from edgedx.lab.data.reading.rows import path_problem

IMAGE, LABEL, PATIENT = "image", "label", "patient_id"
SKIPPED = {".csv", ".json", ".txt", ".md"}
_NAN = float("nan")
_FINDING = {"": _NAN, "-1": _NAN, "-1.0": _NAN, "0": 0.0, "0.0": 0.0, "1": 1.0, "1.0": 1.0}
"""Cells of a finding; -1 is uncertain (CheXpert), so unknown to a figure."""


@dataclass(frozen=True)
class ListedImage:
    """One listed image.

    Attributes
    ----------
    label : tuple of float
        A class index, or 0/1/NaN for each class of a multilabel task.
    problem : str
        Why it cannot be used; empty where it can.
    """

    name: str
    path: Path
    label: tuple[float, ...] = ()
    patient: str = ""
    groups: dict[str, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class ReadImage:
    """One image that was read."""

    canvas: Canvas
    sha256: str
    meta: dict[str, str] = field(default_factory=dict)
    shape: tuple[int, int] = (0, 0)
    """Height and width before it became a canvas."""


def list_images(source: Path, task: str, classes: list[str]) -> list[ListedImage]:
    """List labelled images.

    A table has the columns ``image`` (relative to it) and ``label``, or, for multilabel tasks, instead of ``label`` one
    column of 0, 1, -1 (uncertain) or empty (unknown) for each class. ``patient_id`` is taken where there is one; every
    further column is a subgroup, where it has few enough values. A folder has one folder for each class.

    Raises
    ------
    DataError
        Nothing is listed, or a column is missing.
    UsageError
        A folder for a multilabel task.
    """
    if source.is_file():
        found = _of_table(source, task, classes)
    elif task == "multilabel":
        raise UsageError("images of a multilabel task need a table", next_step="give a CSV file: image,label")
    else:
        found = _of_folders(source, classes)
    if not found:
        raise DataError(
            f"{source} lists no image", next_step=f"a folder for each of {', '.join(classes)}, or a CSV: image,label"
        )
    return found


def _of_folders(source: Path, classes: list[str]) -> list[ListedImage]:
    try:
        paths = files_below(source)
    except OSError as error:
        raise storage_error(source, error) from error
    found = []
    for path in paths:
        name = path.relative_to(source)
        label, problem = (), ""
        if path.suffix.lower() in SKIPPED:
            problem = f"no image file: {path.suffix.lower()}"
        elif len(name.parts) == 1:
            problem = "in no folder of a class"
        elif name.parts[0] in classes:
            label = (float(classes.index(name.parts[0])),)
        else:
            problem = "its folder is no class of the model"
            problem += f": did you mean {near!r}?" if (near := nearest(name.parts[0], classes)) else ""
        found.append(ListedImage(name.as_posix(), path, label, problem=problem))
    return found if any(not given.problem.startswith(("no image", "in no")) for given in found) else []


def _of_table(source: Path, task: str, classes: list[str]) -> list[ListedImage]:
    entries, columns = read_table(source)
    by_class = task == "multilabel" and LABEL not in columns
    needed = [IMAGE, *(classes if by_class else [LABEL])]
    if missing := [column for column in needed if column not in columns]:
        raise DataError(
            f"{source}: no column {missing[0]!r}; it has {', '.join(columns)}",
            next_step=f"its columns must be {', '.join(needed)}",
        )
    more = [column for column in columns if column and column not in {*needed, PATIENT}]
    seen: set[str] = set()
    found = []
    for entry in entries:
        cells = {column: (entry.get(column) or "").strip() for column in columns}
        name = cells[IMAGE]
        label, problem = _label_of(cells, task, classes, by_class)
        if wrong := path_problem(name):
            problem = wrong
        elif name in seen:
            problem = "listed twice"
        seen.add(name)
        groups = {column: cells[column] for column in more}
        found.append(ListedImage(name, source.parent / name, label, cells.get(PATIENT, ""), groups, problem))
    patients = one_spelling(
        [given.patient for given in found]
    )  # 0007, 7 and 7.0: intervals must not take them for three
    return [replace(given, patient=patient) for given, patient in zip(found, patients, strict=True)]


def _label_of(cells: dict[str, str], task: str, classes: list[str], by_class: bool) -> tuple[tuple[float, ...], str]:
    if by_class:
        texts = [cells[name] for name in classes]
        if any(text not in _FINDING for text in texts):
            return (), "a label is not 0, 1, -1 or empty"
        values = tuple(_FINDING[text] for text in texts)
        known = any(value == value for value in values)  # NaN alone differs from itself
        return values, "" if known else "every finding is uncertain" if any(texts) else "missing label"
    text = cells[LABEL]
    if not text:
        return (), "missing label"
    names = text.split("|") if task == "multilabel" else [text]
    known = {*classes, "none"} if task == "multilabel" else set(classes)
    if any(name not in known for name in names):
        near = nearest(next(name for name in names if name not in known), classes)
        return (), "its label is no class of the model" + (f": did you mean {near!r}?" if near else "")
    if task == "multilabel":
        return tuple(float(name in names) for name in classes), ""
    return (float(classes.index(text)),), ""


def read_one(given: ListedImage, spec: PreprocessSpec, accept: Accept) -> ReadImage | str:
    """Read an image as training and the device do; or say why not, in words without anything of its header."""
    from edgedx.dicom.reading.open import open_image

    if given.problem:
        return given.problem
    try:
        content = given.path.read_bytes()
    except OSError as error:
        return "no such file" if isinstance(error, FileNotFoundError) else "the file cannot be opened"
    except ValueError:  # a NUL byte, which no path may hold
        return "the path cannot be that of a file"
    try:
        image = open_image(content, frames=accept.multi_frame).image
        height, width = image.pixels.shape[:2]
        refused = acceptable(accept, facts_of(image, spec), height, width)
        if refused is not None:
            return f"refused: {refused.code}"
        if image.pixels.min() == image.pixels.max():
            return "refused: BLANK"
        return ReadImage(canvas(image, spec), sha256_bytes(content), image.meta, (height, width))
    except EdgedxError as error:
        return f"unreadable: {getattr(error, 'code', 'file')}"


def read_batches(
    listed: list[ListedImage], spec: PreprocessSpec, accept: Accept, size: int
) -> Iterator[list[tuple[ListedImage, ReadImage | str]]]:
    """Read `size` images at a time, on all processors; memory holds one batch, however many are listed."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:  # decoders release the interpreter lock
        for start in range(0, len(listed), size):
            part = listed[start : start + size]
            yield list(zip(part, pool.map(lambda one: read_one(one, spec, accept), part), strict=True))


def labels_array(kept: list[ListedImage], task: str) -> np.ndarray:
    """Labels as `core.compare.Cases` has them."""
    if task == "multilabel":
        return np.array([one.label for one in kept], np.float64)
    return np.array([int(one.label[0]) for one in kept], np.int64)
