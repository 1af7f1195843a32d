"""Which images are explained: some of a run's own split, or a file, a folder or a table from outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgedx.core.errors import DataError, UsageError
from edgedx.core.files import storage_error
from edgedx.core.image import Image
from edgedx.core.preprocess import Canvas
from edgedx.core.settings.recipe import Recipe
from edgedx.core.stats.cases import Cases
from edgedx.core.stats.patients import patient_keys
from edgedx.core.table import read_table
from edgedx.dicom.reading.open import open_image
from edgedx.lab.data.dataset import load_dataset
from edgedx.lab.data.given_images import IMAGE, PATIENT, SKIPPED, ListedImage, ReadImage, read_batches
from edgedx.lab.data.sources import Row, Source, open_source
from edgedx.lab.judge.subject import Subject

_BATCH = 64


def _no_files(_: int) -> Image:
    raise DataError("these images have no files", next_step="name a run or images whose files are there")


@dataclass(frozen=True)
class ExplainedImages:
    """Images to explain.

    Attributes
    ----------
    names, patients : list of str
        Names are for the table alone: pictures are called by their number.
    canvases : ndarray of shape (N, H, W) or (N, H, W, 3), uint8 or uint16
    truths : list of str
        The labels in words; empty where none are known.
    left_out : list of (str, str)
        Image and reason.
    boxes : ndarray of shape (N, 4), float32, optional
        What a label is about, where the run's table says it: left, top, right, bottom, shares of the canvas; NaN where
        an image has none.
    read : callable
        The image at a position, as its file has it.
    """

    names: list[str]
    patients: list[str]
    canvases: Canvas
    truths: list[str]
    where: str
    left_out: list[tuple[str, str]] = field(default_factory=list)
    boxes: NDArray[np.float32] | None = None
    read: Callable[[int], Image] = _no_files

    def __len__(self) -> int:
        return len(self.names)


def of_split(subject: Subject, split: str, count: int, seed: int) -> ExplainedImages:
    """`count` images of a split of the subject's run, drawn by `seed`; all where there are fewer."""
    if subject.run is None or subject.recipe is None:
        raise UsageError(
            f"{subject.path} lies in no run, so there are no images",
            next_step="name a run: --run runs/NAME; or images: --images FILE, FOLDER or TABLE.csv",
        )
    part = load_dataset(subject.run.data, subject.task, subject.preprocess).subset(split)
    if not len(part):
        raise DataError(f"{subject.run.data} has no image in {split}", next_step="choose val or test")
    part = part.take(_draw(len(part), count, seed))
    cases = Cases(part.names, part.patients, part.labels, part.subgroups, subject.task, subject.classes)
    truths = [cases.truth(row) for row in range(len(part))]
    return ExplainedImages(
        part.names, part.patients, np.asarray(part.canvases[part.rows]), truths, split,
        boxes=part.boxes, read=_reader(subject.recipe, part.names),
    )  # fmt: skip


def _reader(recipe: Recipe, names: list[str]) -> Callable[[int], Image]:
    """Reads images of a run's data set again, which is listed when the first one is asked for."""

    @cache
    def listed() -> tuple[Source, dict[str, Row]]:
        source = open_source(recipe)
        return source, {row.name: row for row in source.rows}

    def read(position: int) -> Image:
        source, rows = listed()
        if (row := rows.get(names[position])) is None:
            raise DataError("an image of the run is not in its data set any more", next_step="edgedx finetune it again")
        return source.read(row)[0]

    return read


def of_files(subject: Subject, source: Path, count: int, seed: int) -> ExplainedImages:
    """`count` images from outside, without labels, read as the device reads them.

    Raises
    ------
    DataError
        None is listed, or none can be read.
    """
    listed = _list(source)
    if not listed:
        raise DataError(f"{source} holds no image", next_step="give an image, a folder of images, or a table: image")
    listed = [listed[row] for row in _draw(len(listed), count, seed)]
    kept, canvases, left_out = [], [], []
    for batch in read_batches(listed, subject.preprocess, subject.accept, _BATCH):
        for given, outcome in batch:
            if isinstance(outcome, ReadImage):
                kept.append(given)
                canvases.append(outcome.canvas)
            else:
                left_out.append((given.name, outcome))
    if not kept:
        raise DataError(
            f"{source}: none of {len(listed)} images can be explained: {left_out[0][1]}",
            next_step="are these images of the kind that the model was made for?",
        )
    names = [given.name for given in kept]
    patients = patient_keys([given.patient for given in kept], names)
    return ExplainedImages(
        names, patients, np.stack(canvases), [""] * len(kept), "given images", left_out,
        read=lambda position: open_image(kept[position].path, frames=subject.accept.multi_frame).image,
    )  # fmt: skip


def _list(source: Path) -> list[ListedImage]:
    if source.is_file() and source.suffix.lower() == ".csv":
        entries, columns = read_table(source)
        if IMAGE not in columns:
            raise DataError(f"{source}: no column {IMAGE!r}; it has {', '.join(columns)}", next_step=f"call it {IMAGE}")
        names = [(entry.get(IMAGE) or "").strip() for entry in entries]
        return [
            ListedImage(name, source.parent / name, patient=(entry.get(PATIENT) or "").strip(), problem=_problem(name))
            for name, entry in zip(names, entries, strict=True)
        ]
    try:
        if source.is_dir():
            paths = [path for path in sorted(source.rglob("*")) if path.is_file()]
            kept = [path for path in paths if path.suffix.lower() not in SKIPPED and path.name[0] != "."]
            return [ListedImage(path.relative_to(source).as_posix(), path) for path in kept]
        source.stat()
    except OSError as error:
        raise storage_error(source, error) from error
    return [ListedImage(source.name, source)]


def _problem(name: str) -> str:
    if not name:
        return "no image named"
    return "path leaves the folder of the table" if Path(name).is_absolute() or ".." in Path(name).parts else ""


def _draw(there: int, count: int, seed: int) -> np.ndarray:
    """Rows in an order by lot: curves and random weights take the first few, and a set may be sorted by class."""
    return np.random.default_rng(seed).choice(there, min(count, there), replace=False)
