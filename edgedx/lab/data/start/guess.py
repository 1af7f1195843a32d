"""`edgedx init DATA`: look at folders, tables and DICOM headers, and say what recipe they call for, and why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from edgedx.core.errors import DataError, EdgedxError, UsageError
from edgedx.core.progress import track
from edgedx.lab.data.reading.folders import files_below
from edgedx.lab.data.reading.labels import nearest
from edgedx.lab.data.reading.patients import spelling_sentence, spellings
from edgedx.lab.data.reading.rows import SUFFIXES, split_named

from .find_table import TABLE_SUFFIXES, Files, FoundTable, find_table

_LOOKED_AT = 60
"""Images opened to see size, colour and header."""
_NEGATIVE = re.compile(
    r"(?i)^(0|none|normal|negative|neg|healthy|control|benign|absent|clear|others?|rest|no|not?[ _-].*|non.*)$"
)
_UNSURE = re.compile(r"(?i)^(unsure|uncertain|unknown|ambiguous|unclear|excluded?|bad|poor|misc|todo|review)\b.*")
_PATIENT_IN_NAME = "(?i)((?:patient|person|subject|subj|case|pat|p|s)[-_]?[0-9]+)(?![0-9])"
_IN_NAME = re.compile(_PATIENT_IN_NAME)
_VERY_FEW = 1000
"""Images; below, five epochs of the new head alone before all layers were better than one (docs/better-teachers.md)."""
_RARE = 5
"""Images; a label with fewer, and with a name like another's, is a slip of the pen."""


@dataclass(frozen=True)
class Guess:
    """What a recipe for a data set would be, and how each part of it was found.

    Attributes
    ----------
    sections : dict
        The recipe, as YAML has it.
    remarks : dict of str
        By section, in a few words, how its content was found: the comments of the recipe.
    notices : list of str
        What the user should look at.
    classes : dict of int
        Images by class, as counted.
    """

    sections: dict[str, Any]
    remarks: dict[str, str]
    notices: list[str] = field(default_factory=list)
    classes: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"schema_version": 1, **asdict(self)}


def guess_recipe(
    source: Path, *, name: str | None = None, label: str | None = None, patient: str | None = None
) -> Guess:
    """Guess a recipe for the images in a folder or table.

    Parameters
    ----------
    source : Path
        A folder with one folder for each class, or with a table; or the table itself.
    label, patient : str, optional
        Columns of the table; guessed unless given.

    Raises
    ------
    UsageError
        `source` is not there, or a column is not in the table.
    DataError
        No images, or nothing that says their class.
    """
    if not source.exists():
        raise UsageError(
            f"{source}: no such file or folder", next_step="give the folder with your images, or its table"
        )
    root = (source if source.is_dir() else source.parent).resolve()
    paths = [path.relative_to(root) for path in files_below(root)]
    images = [path for path in paths if path.suffix.lower() in SUFFIXES and path.name.casefold() not in _COMPANIONS]
    if not images:
        raise DataError(f"{root}: no image file below it", next_step=f"known are {', '.join(sorted(SUFFIXES - {''}))}")
    files = Files(PurePosixPath(path.as_posix()) for path in images)
    if source.is_file():
        tables = [root / source.name]
    else:
        tables = [root / path for path in paths if path.suffix.lower() in TABLE_SUFFIXES and len(path.parts) <= 2]
    found = [table for path in tables if (table := find_table(path, files)) is not None]
    best = max(
        found, key=lambda table: (table.label is not None or bool(table.findings), len(table.rows)), default=None
    )
    if source.is_file() and best is None:
        raise DataError(
            f"{source}: no column names image files that lie below {root}",
            next_step="put the table into the folder of the images; it needs a column with their paths or names",
        )
    if best is not None and (label or patient):
        best = _with_columns(best, label, patient)
    if best is not None and (best.label or best.findings):
        guess = _of_table(root, best, images)
    else:
        guess = _of_folders(root, images)
    return _complete(guess, root, images, name or _plain_name(source))


_COMPANIONS = {"readme", "license", "licence", "dicomdir", "thumbs.db"}


def _with_columns(table: FoundTable, label: str | None, patient: str | None) -> FoundTable:
    from dataclasses import replace

    for column in (label, patient):
        if column is not None and column not in table.columns:
            raise UsageError(
                f"{table.path.name} has no column {column!r}",
                next_step=f"it has {', '.join(filter(None, table.columns))}",
            )
    return replace(table, label=label or table.label, findings=[] if label else table.findings,
                   patient=patient or table.patient)  # fmt: skip


def _of_table(root: Path, table: FoundTable, images: Sequence[Path]) -> Guess:
    data: dict[str, Any] = {"source": "csv", "path": str(root), "csv": table.path.relative_to(root).as_posix()}
    notices = []
    remark = [f"{len(table.rows)} rows"]
    if table.encoding:
        data["encoding"] = table.encoding
        remark.append(f"taken for {table.encoding}, as it is no UTF-8")
    if not table.header:
        data["column_names"] = table.columns
        remark.append("no header row")
    if table.delimiter != ",":
        remark.append(f"delimiter {'tab' if table.delimiter == chr(9) else table.delimiter}")
    data["image_column"] = table.image
    if table.prefix:
        data["image_prefix"] = table.prefix
    if table.pattern != "{}":
        data["image_format"] = table.pattern
    if table.resolved < 1:
        notices.append(f"{1 - table.resolved:.0%} of the table's rows name no file that is there: they are left out")
    if (unlisted := len(images) - len(table.rows)) > 0:
        notices.append(f"{unlisted} image files are not in the table")
    task, classes, more, more_notices = _task_of_table(table)
    data |= more
    notices += more_notices
    data["patient_column"] = table.patient
    if table.patient and (groups := spellings(table.values(table.patient))):
        notices.append(f"{spelling_sentence(groups)}: taken for {len(groups)} patients")
    if table.split:
        data["split_column"] = table.split
    if table.subgroups:
        data["subgroup_columns"] = table.subgroups
    return Guess({"task": task, "data": data}, {"data": ", ".join(remark)}, notices, classes)


def _task_of_table(table: FoundTable) -> tuple[dict[str, Any], dict[str, int], dict[str, Any], list[str]]:
    if table.findings:
        counts = {name: sum(value in {"1", "1.0", "1,0"} for value in table.values(name)) for name in table.findings}
        return {"kind": "multilabel", "classes": table.findings}, counts, {"label_columns": table.findings}, []
    assert table.label is not None
    cells = Counter(value for value in table.values(table.label) if value)
    if any("|" in value for value in cells):
        singles = Counter(part for value, count in cells.items() for part in value.split("|") for _ in range(count))
        singles.pop("none", None)
        return {"kind": "multilabel", "classes": list(singles)}, dict(singles), {"label_column": table.label}, []
    task, classes, names, notices = _task_of_counts(cells)
    return task, classes, {"label_column": table.label, **({"label_names": names} if names else {})}, notices


def _task_of_counts(cells: Counter[str]) -> tuple[dict[str, Any], dict[str, int], dict[str, str], list[str]]:
    """Task, images by class, labels to be taken for a class, and notices: of labels as they are spelled."""
    names: dict[str, str] = {}
    notices: list[str] = []
    classes: dict[str, int] = {}
    for text, count in cells.most_common():
        near = nearest(text, classes)
        if near and near.strip().casefold() == text.strip().casefold():
            names[text] = near
            classes[near] += count
        elif near and count < _RARE and classes[near] > 5 * count:
            notices.append(f"label {text!r}, {count} image(s): did you mean {near!r}? Left out; to take it for that, "
                           f"write data.label_names: {{{text}: {near}}}")  # fmt: skip
        else:
            classes[text] = count
    if len(classes) < 2:
        raise DataError(
            f"all images have the label {next(iter(classes), '')!r}",
            next_step="a classifier needs two classes; name the column with --label",
        )
    ordered = sorted(classes, key=lambda one: (_NEGATIVE.match(one) is None, one.casefold()))
    if len(ordered) > 2:
        ordered = sorted(ordered, key=str.casefold)
        return {"kind": "multiclass", "classes": ordered}, {one: classes[one] for one in ordered}, names, notices
    task = {"kind": "binary", "classes": ordered, "positive": ordered[1]}
    if not _NEGATIVE.match(ordered[0]):
        notices.append(f"is {ordered[1]!r} the finding? Sensitivity is of task.positive; change it if not")
    return task, {one: classes[one] for one in ordered}, names, notices


def _of_folders(root: Path, images: Sequence[Path]) -> Guess:
    by_split = any(split_named(path.parts[0]) for path in images if len(path.parts) > 2)
    depth = 1 if by_split else 0
    placed = [path for path in images if len(path.parts) > depth + 1 and (not by_split or split_named(path.parts[0]))]
    cells = Counter(path.parts[depth] for path in placed)
    if len(cells) < 2:
        raise DataError(
            f"{root}: nothing says the class of an image: no table names the files, and they lie in "
            f"{'one folder' if cells else 'no folder of a class'}",
            next_step="move the images of each class to a folder of its name, or write a table: image,label,patient_id",
        )
    if len(cells) > 2 * _RARE and cells.most_common(1)[0][1] < _RARE:
        raise DataError(
            f"{root}: {len(cells)} folders with few images each look like patients, and nothing says a class",
            next_step="write a table into it: image,label,patient_id",
        )
    task, classes, names, notices = _task_of_counts(cells)
    data: dict[str, Any] = {"source": "folders", "path": str(root)}
    if names:
        data["label_names"] = names
    if left := len(images) - len(placed):
        notices.append(f"{left} image files lie in no folder of a class")
    remark = f"{len(cells)} folders" + (" in each split" if by_split else "")
    return Guess({"task": task, "data": data}, {"data": remark}, notices, classes)


def _complete(guess: Guess, root: Path, images: Sequence[Path], name: str) -> Guess:
    """Sections that depend on what the images are."""
    task, data = guess.sections["task"], dict(guess.sections["data"])
    notices, remarks = list(guess.notices), dict(guess.remarks)
    for one in filter(_UNSURE.match, task["classes"]):
        notices.append(
            f"is {one!r} a class ({guess.classes[one]} images)? If not, take it out of task.classes: its images are "
            "then left out and counted"
        )
    seen = _look(root, images)
    preprocess: dict[str, Any] = {"size": [seen.side, seen.side], "resize": "letterbox"}
    preprocess |= {"window": "voi"} if seen.dicom else {"window": "none", "bits": 8}
    if seen.colour:
        preprocess |= {"colour": "rgb", "mean": [0.5] * 3, "std": [0.25] * 3}
    remarks["preprocess"] = f"{seen.sizes}, {'colour' if seen.colour else 'grey'}"
    if not data.get("patient_column"):
        data |= {"patient_column": None} if data["source"] == "csv" else {}
        if seen.dicom:
            data["patient_from"] = "header"
            remarks["data"] += "; patients by Patient ID of the headers"
        elif _names_hold_patients(images):
            data["patient_from"] = _PATIENT_IN_NAME
            remarks["data"] += "; patients by file names: look whether that is right"
        else:
            remarks["data"] += "; patients not known"
            notices.append(
                "no patient is known: images of one person may stand in train and in test, and figures flatter; "
                "if you know them, add a column patient_id to a table"
            )
    count = len(images) if task["kind"] == "multilabel" else sum(guess.classes.values())
    few, very_few = count < 2000, count < _VERY_FEW
    sections: dict[str, Any] = {
        "name": name,
        "title": " or ".join(task["classes"]) if len(task["classes"]) < 5 else f"{len(task['classes'])} classes",
        "task": task,
        "data": data,
        "preprocess": preprocess,
        "model": {"backbone": "tf_efficientnet_lite0"},
        "train": {
            **({"frozen_epochs": 5} if very_few else {}),
            "epochs": 20 if few else 8,
            "batch_size": 16 if few else 32,
        },
        "student": {"macs": 0.5, "epochs": 30 if few else 10},
    }
    if task["kind"] == "multiclass":
        sections["gate"] = {"points": ["argmax"]}
    if seen.modalities:
        sections["accept"] = {"modality": seen.modalities}
        remarks["accept"] = "what the headers say; other images are refused on the device"
    remarks["task"] = ", ".join(f"{one}: {number}" for one, number in list(guess.classes.items())[:8]) + " images"
    remarks["train"] = f"{count} images" + ("; so few that the new head learns longer first" if very_few else "")
    return Guess(sections, remarks, notices, guess.classes)


@dataclass(frozen=True)
class _Seen:
    side: int
    sizes: str
    colour: bool
    dicom: bool
    modalities: list[str]


def _look(root: Path, images: Sequence[Path]) -> _Seen:
    """Open some images, spread over all of them."""
    from edgedx.dicom.reading.open import open_image

    chosen = images[:: max(1, len(images) // _LOOKED_AT)][:_LOOKED_AT]
    shapes: list[tuple[int, ...]] = []
    kinds: Counter[str] = Counter()
    modalities: Counter[str] = Counter()
    for path in track(chosen, "looking at images", len(chosen)):
        try:
            opened = open_image((root / path).read_bytes(), frames="middle")
        except (EdgedxError, OSError):
            continue
        shapes.append(opened.image.pixels.shape)
        kinds[opened.format] += 1
        if modality := opened.image.meta.get("Modality"):
            modalities[modality] += 1
    if not shapes:
        raise DataError(
            f"{root}: none of {len(chosen)} files tried is an image that can be read, {chosen[0]} among them",
            next_step="open one with `edgedx data check`, or save them as PNG or DICOM",
        )
    heights, widths = sorted(shape[0] for shape in shapes), sorted(shape[1] for shape in shapes)
    height, width = heights[len(heights) // 2], widths[len(widths) // 2]
    side = 224 if min(height, width) >= 160 else max(32, 32 * round(min(height, width) / 32))
    colour = sum(len(shape) == 3 for shape in shapes) > len(shapes) / 2
    return _Seen(side, f"about {width} x {height} pixels", colour, kinds["dicom"] > len(shapes) / 2, sorted(modalities))


def _names_hold_patients(images: Sequence[Path]) -> bool:
    """Whether most paths have a patient's number in them, and several images of some."""
    found = Counter(match[1] for path in images if (match := _IN_NAME.search(path.as_posix())))
    named = found.total()
    return named > 0.9 * len(images) and 2 < len(found) < 0.9 * named and found.most_common(1)[0][1] < 0.2 * named


def _plain_name(source: Path) -> str:
    text = re.sub(r"[^a-z0-9]+", "-", source.resolve().stem.casefold()).strip("-")
    return text or "my-images"
