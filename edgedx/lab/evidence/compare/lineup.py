"""What is compared: answers of models and of tables, brought to the same images in the same order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgedx.core.errors import DataError, InputOutputError, UsageError
from edgedx.core.stats.cases import Cases, Predictions, predictions_of_logits
from edgedx.core.stats.patients import known_patients
from edgedx.core.table import plain_cell
from edgedx.device.install.active import installed_at
from edgedx.lab.judge.evaluation import ask_given, ask_split
from edgedx.lab.judge.evaluation_files import PREDICTIONS
from edgedx.lab.judge.subject import CARD, open_subject
from edgedx.lab.run.run import Run

from .crossval import REPORT as CROSSVAL
from .crossval import subjects_of
from .tables import SubjectPredictions, read_subject


@dataclass(frozen=True)
class Lineup:
    """All subjects on the images that all of them answered.

    Attributes
    ----------
    answers : dict of name to Answers
    ran, paths : dict of name to str
    """

    cases: Cases
    answers: dict[str, Predictions]
    ran: dict[str, str]
    paths: dict[str, str]
    folds: NDArray[np.int64] | None
    warnings: list[str]
    where: str
    synthetic: bool


def line_up(
    paths: Sequence[Path],
    *,
    data: Path | None = None,
    split: str = "test",
    run: Path | None = None,
    threads: int = 0,
    device: str = "cpu",
) -> Lineup:
    """Ask models, read tables, and keep the images that all answered.

    Parameters
    ----------
    paths : sequence of Path
        Checkpoints, ONNX variants, bundles; runs (all their models), crossval folders and baselines folders (all their
        tables); tables as ``edgedx evaluate --predictions`` writes them.
    data, split, run
        What models are asked, as in `evaluation.evaluate`. Tables say what they were asked.

    Raises
    ------
    UsageError
        Fewer than two subjects, or not of the same classes.
    DataError
        They share no image, or disagree on the truth.
    """
    sources = [one for path in paths for one in expand(path, split)]
    if len(sources) < 2:
        raise UsageError("a comparison needs two subjects", next_step="name two models, or a run that holds several")
    models = [path for path in sources if path.suffix != ".csv"]
    answered = {path: _ask(path, data, split, run, threads, device) for path in models}
    like = next((one.cases for one in answered.values()), None)
    subjects = [answered[path] if path in answered else read_subject(path, like) for path in sources]
    return _align(subjects, data.name or "data" if data is not None else split if models else "the tables' images")


def expand(path: Path, split: str) -> list[Path]:
    """The models and tables that a path stands for."""
    if not path.exists():
        raise InputOutputError(f"nothing at {path}", next_step="give models, runs, or tables of predictions")
    if not path.is_dir() or (path / CARD).is_file() or installed_at(path) is not None:
        return [path]
    if (path / CROSSVAL).is_file():
        matches = sorted(path.glob("out-of-fold-*.csv"))
    elif Run(path).exists:
        matches = [one for _, one in subjects_of(path)]
    elif (path / PREDICTIONS).is_file():
        matches = [path / PREDICTIONS]
    else:
        matches = sorted(path.glob(f"*/{split}.csv"))  # as `edgedx compare --baselines` leaves them
    if not matches:
        raise UsageError(
            f"{path} holds no answers of {split}", next_step="name a model, a run, or a table of predictions"
        )
    return matches


def _ask(path: Path, data: Path | None, split: str, run: Path | None, threads: int, device: str) -> SubjectPredictions:
    subject = open_subject(path, run=run, threads=threads, device=device)
    answered = ask_given(subject, data) if data is not None else ask_split(subject, split)
    answers = predictions_of_logits(answered.cases, answered.logits, subject.temperature, subject.point(None))
    names = [plain_cell(name) for name in answered.cases.names]  # as tables name them
    home = subject.run.name if subject.run is not None else path.parent.name
    return SubjectPredictions(
        names=[subject.name, f"{home}/{subject.name}", str(path)],
        path=path,
        ran=subject.ran,
        cases=replace(answered.cases, names=names),
        answers=answers,
        warnings=answered.warnings,
        synthetic=subject.synthetic,
    )


def _align(subjects: list[SubjectPredictions], where: str) -> Lineup:
    first = subjects[0].cases
    for one in subjects[1:]:
        if (one.cases.task, list(one.cases.classes)) != (first.task, list(first.classes)):
            raise UsageError(
                f"{one.path} answers {', '.join(one.cases.classes)}, {subjects[0].path} {', '.join(first.classes)}",
                next_step="compare subjects of the same classes, in the same order",
            )
    places = [{name: row_number for row_number, name in enumerate(one.cases.names)} for one in subjects]
    common = [name for name in first.names if all(name in other for other in places)]
    if not common:
        raise DataError(
            "the subjects have no image in common", next_step="ask all of them the same images: --data or --split"
        )
    warnings = list(dict.fromkeys(text for one in subjects for text in one.warnings))
    if most := max(len(one.cases) for one in subjects) - len(common):
        warnings.append(f"{most} images were not answered by all subjects, and are left out")
    rows = [np.array([other[name] for name in common]) for other in places]
    labels = [np.asarray(one.cases.labels)[picked] for one, picked in zip(subjects, rows, strict=True)]
    for one, other in zip(subjects[1:], labels[1:], strict=True):
        if not np.array_equal(other.astype(float), labels[0].astype(float), equal_nan=True):
            raise DataError(
                f"{one.path} and {subjects[0].path} disagree on the truth of some images",
                next_step="make both tables from the same labels",
            )
    names = _unique([one.names for one in subjects])
    cases = Cases(
        names=common,
        patients=_patients(subjects, rows),
        labels=labels[0],
        subgroups=[{} for _ in common],
        task=first.task,
        classes=first.classes,
        positive=first.positive,
    )
    return Lineup(
        cases=cases,
        answers={name: _picked(one.answers, picked) for name, one, picked in zip(names, subjects, rows, strict=True)},
        ran={name: one.ran for name, one in zip(names, subjects, strict=True)},
        paths={name: str(one.path) for name, one in zip(names, subjects, strict=True)},
        folds=_same_folds(subjects, rows),
        warnings=warnings,
        where=where,
        synthetic=any(one.synthetic for one in subjects),
    )


def _picked(answers: Predictions, rows: NDArray[np.int64]) -> Predictions:
    return replace(
        answers,
        probabilities=answers.probabilities[rows],
        scores=answers.scores[rows],
        decisions=[answers.decisions[row] for row in rows],
    )


def _patients(subjects: list[SubjectPredictions], rows: list[NDArray[np.int64]]) -> list[str]:
    """Of each image the first patient that a subject names; an image without one is its own."""
    matches = [subjects[0].cases.patients[row] for row in rows[0]]
    for one, picked in zip(subjects[1:], rows[1:], strict=True):
        matches = [patient if known else one.cases.patients[row]
                   for patient, known, row in zip(matches, known_patients(matches), picked, strict=True)]  # fmt: skip
    return matches


def _same_folds(subjects: list[SubjectPredictions], rows: list[NDArray[np.int64]]) -> NDArray[np.int64] | None:
    """Folds of those that have some; a subject that was not cross-validated is judged on the same parts."""
    matches = [(one, one.folds[picked]) for one, picked in zip(subjects, rows, strict=True) if one.folds is not None]
    for one, other in matches[1:]:
        if not np.array_equal(other, matches[0][1]):
            raise DataError(
                f"{one.path} and {matches[0][0].path} divide the images into other folds",
                next_step="cross-validate both with the same --folds and data.seed",
            )
    return matches[0][1] if matches else None


def _unique(candidates: list[list[str]]) -> list[str]:
    level: Callable[[int], list[str]] = lambda depth: [names[depth] for names in candidates]  # noqa: E731
    matches = level(0)
    for depth in (1, 2):
        counts = Counter(matches)
        matches = [deeper if counts[other] > 1 else other for other, deeper in zip(matches, level(depth), strict=True)]
    if len(set(matches)) < len(matches):
        raise UsageError("a subject is named twice", next_step="name each once")
    return matches
