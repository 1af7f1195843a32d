"""What is compared: answers of models and of tables, brought to the same images in the same order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgedx.core.errors import DataError, InputOutputError, UsageError
from edgedx.core.stats.cases import Answers, Cases, answers_of_logits
from edgedx.core.stats.patients import known_patients
from edgedx.core.table import plain_cell
from edgedx.device.install.active import installed_at
from edgedx.lab.judge.evaluation import ask_given, ask_split
from edgedx.lab.judge.evaluation_files import PREDICTIONS
from edgedx.lab.judge.subject import CARD, open_subject

from .crossval import REPORT as CROSSVAL
from .crossval import subjects_of
from .tables import Told, read_answers


@dataclass(frozen=True)
class Lineup:
    """All subjects on the images that all of them answered.

    Attributes
    ----------
    answers : dict of name to Answers
    ran, paths : dict of name to str
    """

    cases: Cases
    answers: dict[str, Answers]
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
    asked = {path: _ask(path, data, split, run, threads, device) for path in models}
    like = next((one.cases for one in asked.values()), None)
    told = [asked[path] if path in asked else read_answers(path, like) for path in sources]
    return _align(told, data.name or "data" if data is not None else split if models else "the tables' images")


def expand(path: Path, split: str) -> list[Path]:
    """The models and tables that a path stands for."""
    if not path.exists():
        raise InputOutputError(f"nothing at {path}", next_step="give models, runs, or tables of predictions")
    if not path.is_dir() or (path / CARD).is_file() or installed_at(path) is not None:
        return [path]
    if (path / CROSSVAL).is_file():
        found = sorted(path.glob("out-of-fold-*.csv"))
    elif (path / "recipe.yaml").is_file():
        found = [one for _, one in subjects_of(path)]
    elif (path / PREDICTIONS).is_file():
        found = [path / PREDICTIONS]
    else:
        found = sorted(path.glob(f"*/{split}.csv"))  # as `edgedx baselines` leaves them
    if not found:
        raise UsageError(
            f"{path} holds no answers of {split}", next_step="name a model, a run, or a table of predictions"
        )
    return found


def _ask(path: Path, data: Path | None, split: str, run: Path | None, threads: int, device: str) -> Told:
    subject = open_subject(path, run=run, threads=threads, device=device)
    asked = ask_given(subject, data) if data is not None else ask_split(subject, split)
    answers = answers_of_logits(asked.cases, asked.logits, subject.temperature, subject.point(None))
    names = [plain_cell(name) for name in asked.cases.names]  # as tables name them
    home = subject.run.name if subject.run is not None else path.parent.name
    return Told(
        names=[subject.name, f"{home}/{subject.name}", str(path)],
        path=path,
        ran=subject.ran,
        cases=replace(asked.cases, names=names),
        answers=answers,
        warnings=asked.warnings,
        synthetic=subject.synthetic,
    )


def _align(told: list[Told], where: str) -> Lineup:
    first = told[0].cases
    for one in told[1:]:
        if (one.cases.task, list(one.cases.classes)) != (first.task, list(first.classes)):
            raise UsageError(
                f"{one.path} answers {', '.join(one.cases.classes)}, {told[0].path} {', '.join(first.classes)}",
                next_step="compare subjects of the same classes, in the same order",
            )
    places = [{name: place for place, name in enumerate(one.cases.names)} for one in told]
    common = [name for name in first.names if all(name in own for own in places)]
    if not common:
        raise DataError(
            "the subjects have no image in common", next_step="ask all of them the same images: --data or --split"
        )
    warnings = list(dict.fromkeys(text for one in told for text in one.warnings))
    if most := max(len(one.cases) for one in told) - len(common):
        warnings.append(f"{most} images were not answered by all subjects, and are left out")
    rows = [np.array([own[name] for name in common]) for own in places]
    labels = [np.asarray(one.cases.labels)[picked] for one, picked in zip(told, rows, strict=True)]
    for one, own in zip(told[1:], labels[1:], strict=True):
        if not np.array_equal(own.astype(float), labels[0].astype(float), equal_nan=True):
            raise DataError(
                f"{one.path} and {told[0].path} disagree on the truth of some images",
                next_step="make both tables from the same labels",
            )
    names = _unique([one.names for one in told])
    cases = Cases(
        names=common,
        patients=_patients(told, rows),
        labels=labels[0],
        subgroups=[{} for _ in common],
        task=first.task,
        classes=first.classes,
        positive=first.positive,
    )
    return Lineup(
        cases=cases,
        answers={name: _picked(one.answers, picked) for name, one, picked in zip(names, told, rows, strict=True)},
        ran={name: one.ran for name, one in zip(names, told, strict=True)},
        paths={name: str(one.path) for name, one in zip(names, told, strict=True)},
        folds=_same_folds(told, rows),
        warnings=warnings,
        where=where,
        synthetic=any(one.synthetic for one in told),
    )


def _picked(answers: Answers, rows: NDArray[np.int64]) -> Answers:
    return replace(
        answers,
        chances=answers.chances[rows],
        ranks=answers.ranks[rows],
        decisions=[answers.decisions[row] for row in rows],
    )


def _patients(told: list[Told], rows: list[NDArray[np.int64]]) -> list[str]:
    """Of each image the first patient that a subject names; an image without one is its own."""
    found = [told[0].cases.patients[row] for row in rows[0]]
    for one, picked in zip(told[1:], rows[1:], strict=True):
        found = [own if there else one.cases.patients[row]
                 for own, there, row in zip(found, known_patients(found), picked, strict=True)]  # fmt: skip
    return found


def _same_folds(told: list[Told], rows: list[NDArray[np.int64]]) -> NDArray[np.int64] | None:
    """Folds of those that have some; a subject that was not cross-validated is judged on the same parts."""
    found = [(one, one.folds[picked]) for one, picked in zip(told, rows, strict=True) if one.folds is not None]
    for one, own in found[1:]:
        if not np.array_equal(own, found[0][1]):
            raise DataError(
                f"{one.path} and {found[0][0].path} divide the images into other folds",
                next_step="cross-validate both with the same --folds and data.seed",
            )
    return found[0][1] if found else None


def _unique(candidates: list[list[str]]) -> list[str]:
    level: Callable[[int], list[str]] = lambda depth: [names[depth] for names in candidates]  # noqa: E731
    found = level(0)
    for depth in (1, 2):
        counts = Counter(found)
        found = [deeper if counts[own] > 1 else own for own, deeper in zip(found, level(depth), strict=True)]
    if len(set(found)) < len(found):
        raise UsageError("a subject is named twice", next_step="name each once")
    return found
