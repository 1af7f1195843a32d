"""A table of predictions as one subject of a comparison: what `edgedx evaluate` or anybody else wrote."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgedx.core.errors import DataError, UsageError
from edgedx.core.stats.cases import Cases, Predictions
from edgedx.core.stats.patients import patient_keys
from edgedx.core.table import read_table
from edgedx.device.clinic.samples import DECISION, IMAGE, LABEL, PATIENT, read_predictions

FOLD, TRUTH = "fold", "truth"
_RESERVED = {FOLD, IMAGE, PATIENT, TRUTH, LABEL, DECISION}


@dataclass(frozen=True)
class SubjectPredictions:
    """What one subject said, before it is brought in line with the others.

    Attributes
    ----------
    names : list of str
        Short, then with its folder, then its whole path: the first that no other subject has is used.
    folds : ndarray of shape (N,), int, optional
        Of cross-validation: each image was answered by the model of its fold.
    """

    names: list[str]
    path: Path
    ran: str
    cases: Cases
    answers: Predictions
    folds: NDArray[np.int64] | None = None
    warnings: list[str] = field(default_factory=list)
    synthetic: bool = False


def read_subject(path: Path, like: Cases | None = None) -> SubjectPredictions:
    """A table of predictions.

    It has ``image``, ``truth`` (or ``label``), a probability for each class, and maybe ``decision``, ``patient_id`` and
    ``fold``.

    Parameters
    ----------
    like : Cases, optional
        Whose task and classes it has; found from the table unless given: probabilities of two classes that add up to 1
        are a binary task, whose finding is taken to be the last column.

    Raises
    ------
    DataError
        A column is missing, an image stands twice, or a value cannot be.
    """
    entries, columns = read_table(path)
    truth = next((name for name in (TRUTH, LABEL) if name in columns), None)
    if truth is None or IMAGE not in columns or not entries:
        raise DataError(
            f"{path} is no table of predictions: it has {', '.join(columns) or 'no columns'}",
            next_step="write one with `edgedx evaluate MODEL --predictions FILE.csv`",
        )
    cells = [{name: (entry.get(name) or "").strip() for name in columns} for entry in entries]
    classes = list(like.classes) if like is not None else [name for name in columns if name and name not in _RESERVED]
    if missing := [name for name in classes if name not in columns]:
        raise UsageError(
            f"{path} has no column {missing[0]!r}: it is of other classes",
            next_step=f"compare subjects of the same classes: {', '.join(classes)}",
        )
    task = like.task if like is not None else _task_of(path, cells, classes, truth)
    cases = Cases(
        names=[cell[IMAGE] for cell in cells],
        patients=patient_keys([cell.get(PATIENT, "") for cell in cells], [cell[IMAGE] for cell in cells]),
        labels=_labels(path, cells, classes, truth, task),
        subgroups=[{} for _ in cells],
        task=task,
        classes=classes,
        positive=(like.positive if like is not None else classes[-1]) if task == "binary" else None,
    )
    answers = read_predictions(path, cases, {})
    return SubjectPredictions(
        names=_names(path),
        path=path,
        ran=f"answers in {path.parent.name}/{path.name}",
        cases=cases,
        answers=answers,
        folds=_folds(path, cells) if FOLD in columns else None,
    )


def _names(path: Path) -> list[str]:
    stem = path.stem.removeprefix("out-of-fold-")
    if stem in ("predictions", "test", "val", "train"):
        stem = path.parent.name.removeprefix("evaluation-")
        return [stem, f"{path.parent.parent.name}/{stem}", str(path)]
    return [stem, f"{path.parent.name}/{stem}", str(path)]


def _task_of(path: Path, cells: list[dict[str, str]], classes: list[str], truth: str) -> str:
    try:
        sums = [sum(float(cell[name]) for name in classes) for cell in cells]
    except ValueError:
        sums = [1.0]  # said by read_predictions, with its line
    mixed = any("|" in cell[truth] or cell[truth] == "none" or cell[truth].endswith("?") for cell in cells)
    if mixed or max(abs(value - 1) for value in sums) > 0.05:
        return "multilabel"
    if len(classes) < 2:
        raise DataError(f"{path}: one class is no choice", next_step="give a probability for each class")
    return "binary" if len(classes) == 2 else "multiclass"


def _labels(
    path: Path, cells: list[dict[str, str]], classes: list[str], truth: str, task: str
) -> NDArray[np.float64] | NDArray[np.int64]:
    many = task == "multilabel"
    label_rows = []
    for line, cell in enumerate(cells, start=2):
        parts = cell[truth].split("|") if many else [cell[truth]]
        values = dict.fromkeys(classes, 0.0)
        for part in parts:
            if part in values:
                values[part] = 1.0
            elif many and part.endswith("?") and part[:-1] in values:
                values[part[:-1]] = np.nan
            elif not (many and part == "none"):
                raise DataError(
                    f"{path}, line {line}, {truth}: no class", next_step=f"its classes are {', '.join(classes)}"
                )
        label_rows.append(list(values.values()))
    table = np.array(label_rows)
    return table if many else table.argmax(axis=1)


def _folds(path: Path, cells: list[dict[str, str]]) -> NDArray[np.int64]:
    try:
        return np.array([int(cell[FOLD]) for cell in cells], np.int64)
    except ValueError as error:
        raise DataError(
            f"{path}, fold: not a whole number in each row", next_step="number the folds 0, 1, 2"
        ) from error
