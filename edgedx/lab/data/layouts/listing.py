"""What a reader of a public data set gives back, and how it looks for tables and images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgedx.core.errors import DataError
from edgedx.core.files import storage_error
from edgedx.core.image import Image
from edgedx.core.table import read_table

DEVELOPMENT = "train or val"
"""A split that the publisher does not divide further: edgedx draws train and val from it, by patient."""
ABSENT = "image file is missing"
BOTH = "its patient stands in the official test set too"


@dataclass(frozen=True)
class ListedEntry:
    """One image as the data set lists it.

    Attributes
    ----------
    image : str
        Path relative to the data set; a volume's path with a position in it where the reader brings its own `read`.
    label : str
        As the data set spells it; several joined by ``|``; empty where missing.
    patient : str
        Empty where the set names none.
    split : str
        ``train``, ``val``, ``test``, `DEVELOPMENT`, or empty where the set gives none.
    fold : str
        The publisher's own fold for cross-validation, or empty.
    groups : dict
        Subgroup columns (sex, age, view ...) that the tables give. What they do not give, a DICOM header may.
    problem : str
        Why it cannot be used.
    """

    image: str
    label: str
    patient: str = ""
    split: str = ""
    fold: str = ""
    groups: dict[str, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class Listing:
    """All images of a data set.

    Attributes
    ----------
    found : list of ListedEntry
    read : callable, optional
        Reads one image by its name and returns it with the SHA-256 of its content; None: the name is a file.
    """

    found: list[ListedEntry]
    read: Callable[[str], tuple[Image, str]] | None = None


def table(root: Path, name: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of the CSV file `name`, which may stand in `root` or in a folder of its own name, as archives unpack it.

    Raises
    ------
    DataError
        It is not there, or lacks one of `columns`.
    """
    path = first_of(root, name, f"{Path(name).stem}/{Path(name).name}")
    rows, present = read_table(path)
    if missing := [column for column in columns if column not in present]:
        raise DataError(f"{path}: no column {missing[0]!r}; it has {', '.join(present)}")
    return [{key: (value or "").strip() for key, value in row.items() if isinstance(key, str)} for row in rows]


def first_of(root: Path, *names: str) -> Path:
    """The first of the files `names` below `root` that is there.

    Raises
    ------
    DataError
        None is; names all of them.
    """
    for name in names:
        if (root / name).is_file():
            return root / name
    raise DataError(f"{root}: there is no {' and no '.join(names)}")


def words(root: Path, name: str) -> list[str]:
    """What stands in a text file, white space apart: lists of image names."""
    path = first_of(root, name)
    try:
        return path.read_text(encoding="utf-8", errors="replace").split()
    except OSError as error:
        raise storage_error(path, error) from error


def images_below(root: Path, folders: Iterable[Path], suffixes: Sequence[str]) -> dict[str, str]:
    """Image files in `folders`, by name without suffix, as paths relative to `root`.

    What a table names is only ever looked up here: no path is made from the content of a file.

    Raises
    ------
    DataError
        There is no such image.
    """
    asked = sorted(folders)
    found = {
        path.stem: path.relative_to(root).as_posix()
        for folder in asked
        if folder.is_dir()
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in suffixes and not path.name.startswith(".")
    }
    if not found:
        where = ", ".join(str(folder) for folder in asked) or str(root)
        raise DataError(f"{where}: no {' or '.join(suffixes)} file there")
    return found


def apart(entries: Iterable[ListedEntry]) -> list[ListedEntry]:
    """Patients of the official test set out of the images to train with: those are kept, and excluded with a reason."""
    listed = list(entries)
    tested = {one.patient for one in listed if one.split == "test" and one.patient and not one.problem}
    return [
        replace(one, problem=one.problem or BOTH) if one.split != "test" and one.patient in tested else one
        for one in listed
    ]
