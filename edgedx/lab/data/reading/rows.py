"""What a data set lists: one row for each image, where its file is, and how it is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgedx.core.errors import DataError
from edgedx.core.files import sha256_bytes, storage_error
from edgedx.core.image import Image
from edgedx.core.settings.accept import FramePolicy
from edgedx.core.table import DAMAGED
from edgedx.dicom.reading.open import SUFFIXES as OF_IMAGES
from edgedx.lab.data.layouts.listing import DEVELOPMENT

SPLITS = ("train", "val", "test")
SUFFIXES = {*OF_IMAGES, ""}
"""Of image files; DICOM files often have none."""


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
        Texts of further inputs beside the image, by column, as far as the source has them.
    roi : (float, float, float, float), optional
        Box around what the label is about: left, top, width, height, pixels.
    """

    name: str
    label: tuple[float, ...]
    patient: str = ""
    split: str = ""
    subgroups: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    fold: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    roi: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Source:
    """Rows, and how to read one: returns the image and the SHA-256 of its content."""

    rows: list[Row]
    read: Callable[[Row], tuple[Image, str]]
    origin: str
    """What was read, for the record; a path as the user gave it."""
    warnings: tuple[str, ...] = ()


_SPLIT_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
                "test": "test", "testing": "test"}  # fmt: skip


def split_named(text: str) -> str:
    """The split that a cell or folder names, in any case: also Training, valid, Testing; empty for anything else."""
    return _SPLIT_NAMES.get(text.strip().casefold(), "")


def leave_val_to_edgedx(rows: list[Row]) -> list[Row]:
    """Where a source names train and test and no val, edgedx draws val from train."""
    named = {row.split for row in rows if not row.problem}
    if named != {"train", "test"}:
        return rows
    return [replace(row, split=DEVELOPMENT) if row.split == "train" else row for row in rows]


def cache_folder() -> Path:
    """Folder for downloads and phantoms: EDGEDX_CACHE, else ``~/.cache/edgedx``."""
    return Path(os.environ.get("EDGEDX_CACHE") or Path.home() / ".cache" / "edgedx")


def found(path: str) -> Path | None:
    """Where a recipe's data is, or None (see `locate`)."""
    try:
        return locate(path)
    except DataError:
        return None


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


def path_problem(name: str) -> str:
    """Why no file of the data set can have the path `name`; empty where one can."""
    if not name:
        return "no image named"
    if DAMAGED in name or not name.isprintable():
        return "damaged image path: it holds characters that no table should"
    if Path(name).is_absolute() or ".." in Path(name).parts:
        return "path leaves the data set"
    return ""


def from_files(root: Path, rows: list[Row], origin: str, frames: FramePolicy) -> Source:
    """Rows whose names are paths below `root`."""

    def read(row: Row) -> tuple[Image, str]:
        from edgedx.dicom.reading.open import open_image

        path = root / row.name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise storage_error(path, error) from error
        except ValueError as error:  # a NUL byte, which no path of any system may hold
            raise DataError(f"{row.name!r} is no path: {error}", next_step="correct the table") from error
        return open_image(content, frames=frames).image, sha256_bytes(content)

    return Source(rows, read, origin)
