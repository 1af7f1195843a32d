"""Labelled images of the clinic, and what another model said about them: how both are read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgedx.core.bundle.manifest import Manifest
from edgedx.core.errors import DataError, UsageError
from edgedx.core.files import sha256_file, storage_error
from edgedx.core.stats.cases import Cases, Predictions, predictions_of
from edgedx.core.table import read_table
from edgedx.dicom.reading.open import SUFFIXES

IMAGE, LABEL, PATIENT, DECISION = "image", "label", "patient_id", "decision"
_SUM_TOLERANCE = 0.02  # probabilities are often written with two decimals


@dataclass(frozen=True)
class Sample:
    """One labelled image.

    Attributes
    ----------
    name : str
        What it is called on the device: a number, because a clinic's file names may hold a patient's.
    labels : tuple of str
        One class; for multilabel tasks any number of them.
    listed : str
        As the table or folder names it.
    patient : str
        Empty where none is named: the image is then its own patient.
    groups : mapping
        Subgroup column to value.
    """

    path: Path
    name: str
    sha256: str
    labels: tuple[str, ...]
    listed: str = ""
    patient: str = ""
    groups: Mapping[str, str] = field(default_factory=dict)


def read_samples(path: Path, manifest: Manifest, subgroups: Sequence[str] = ()) -> list[Sample]:
    """Read labelled images: a folder for each class, or a CSV file with the columns ``image`` and ``label``.

    In a CSV file images are named relative to it; for multilabel tasks labels are joined by ``|``, and ``none``
    stands for none of them. A column ``patient_id`` is taken where there is one.

    Parameters
    ----------
    subgroups : sequence of str
        Further columns of the CSV file to carry along.

    Raises
    ------
    DataError
        Nothing there, no such column, an unknown class, fewer than two classes, or an image is missing.
    UsageError
        Findings or subgroups, and no table.
    """
    if path.is_file():
        rows = _of_table(path, subgroups)
    elif manifest.task == "multilabel" or subgroups:
        what = "samples of a multilabel task" if manifest.task == "multilabel" else "subgroups"
        raise UsageError(f"{what} need a table", next_step="give a CSV file: image,label")
    else:
        rows = _of_folders(path)
    if not rows:
        raise DataError(f"{path} holds no labelled image", next_step="a folder for each class, or a CSV: image,label")
    samples = []
    for number, (image, text, more) in enumerate(rows, start=1):
        labels = tuple(part for part in text.split("|") if part != "none") if manifest.task == "multilabel" else (text,)
        if unknown := [label for label in labels if label not in manifest.classes]:
            raise DataError(
                f"{path}: {unknown[0]!r} is no class of the bundle", next_step=f"use {', '.join(manifest.classes)}"
            )
        suffix = image.suffix.lower() if image.suffix.lower() in SUFFIXES else ""
        groups = {column: more[column] for column in subgroups}
        samples.append(
            Sample(image, f"{number:06d}{suffix}", sha256_file(image), labels, more[IMAGE], more[PATIENT], groups)
        )
    if len({sample.labels for sample in samples}) < 2:
        raise DataError(f"{path}: all samples have the same label", next_step="give samples of every class")
    return samples


_Listed = tuple[Path, str, dict[str, str]]


def _of_folders(path: Path) -> list[_Listed]:
    try:
        folders = sorted(item for item in path.iterdir() if item.is_dir())
        found = [(image, folder.name) for folder in folders for image in sorted(folder.rglob("*")) if image.is_file()]
        files = [(image, label) for image, label in found if image.name[0] != "."]  # .DS_Store, ._image.png
    except OSError as error:
        raise storage_error(path, error) from error
    return [(image, label, {IMAGE: image.relative_to(path).as_posix(), PATIENT: ""}) for image, label in files]


def _of_table(path: Path, subgroups: Sequence[str]) -> list[_Listed]:
    entries, columns = read_table(path)
    if missing := [column for column in (IMAGE, LABEL, *subgroups) if column not in columns]:
        raise DataError(
            f"{path}: no column {missing[0]!r}; it has {', '.join(columns)}",
            next_step=f"its columns must be {', '.join((IMAGE, LABEL, *subgroups))}",
        )
    found = []
    for entry in entries:
        more = {column: _cell(entry, column) for column in (IMAGE, PATIENT, *subgroups)}
        found.append((path.parent / more[IMAGE], _cell(entry, LABEL), more))
    return found


def _cell(entry: Mapping[str, str | None], column: str) -> str:
    return (entry.get(column) or "").strip()


def cases_of_samples(samples: Sequence[Sample], manifest: Manifest) -> Cases:
    """Samples as the gate takes them."""
    if manifest.task == "multilabel":
        labels = np.array([[float(name in sample.labels) for name in manifest.classes] for sample in samples])
    else:
        labels = np.array([manifest.classes.index(sample.labels[0]) for sample in samples])
    return Cases(
        names=[sample.listed or sample.name for sample in samples],
        patients=[sample.patient or sample.sha256 for sample in samples],
        labels=labels,
        subgroups=[sample.groups for sample in samples],
        task=manifest.task,
        classes=manifest.classes,
        positive=manifest.positive,
    )


def read_predictions(path: Path, cases: Cases, thresholds: Mapping[str, float]) -> Predictions:
    """Answers of another model from a CSV file: ``image``, a probability for each class, and maybe ``decision``.

    Parameters
    ----------
    cases : Cases
        Its images must all be in the file, named as there; further ones are not used.
    thresholds : mapping of class to threshold
        What decides where the file has no column ``decision``.

    Raises
    ------
    DataError
        A column or an image is missing, stands twice, or a value is no probability.
    """
    entries, columns = read_table(path)
    if missing := [column for column in (IMAGE, *cases.classes) if column not in columns]:
        raise DataError(
            f"{path}: no column {missing[0]!r}; it has {', '.join(columns)}",
            next_step=f"its columns must be {', '.join((IMAGE, *cases.classes))}",
        )
    found: dict[str, tuple[list[float], str]] = {}
    for line, entry in enumerate(entries, start=2):
        name = _cell(entry, IMAGE)
        if name in found:
            raise DataError(f"{path}, line {line}: {name!r} stands twice", next_step="keep one row for each image")
        probabilities = [_probability(_cell(entry, column), path, line, column) for column in cases.classes]
        if cases.task != "multilabel" and abs(sum(probabilities) - 1) > _SUM_TOLERANCE:
            raise DataError(
                f"{path}, line {line}: the probabilities add up to {sum(probabilities):g}, not to 1",
                next_step="give probabilities (softmax), not logits",
            )
        found[name] = (probabilities, _cell(entry, DECISION))
    if absent := [name for name in cases.names if name not in found]:
        raise DataError(
            f"{path}: {len(absent)} of {len(cases)} images have no row, among them {absent[0]!r}",
            next_step="name images as the table of labels, or the data set's manifest.csv, does",
        )
    rows = [found[name] for name in cases.names]
    decisions = [decision for _, decision in rows] if all(decision for _, decision in rows) else None
    point = "the same thresholds" if decisions is None else "its own decisions"
    table = np.array([probabilities for probabilities, _ in rows])
    return predictions_of(cases, table, thresholds, decisions=decisions, point=point)


def _probability(text: str, path: Path, line: int, column: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise DataError(f"{path}, line {line}, {column}: {text!r} is no probability", next_step="0 to 1, as 0.93")
    return value
