"""`edgedx evaluate`: ask one model every labelled image, and write figures, answers and pictures."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgedx.core.errors import DataError, UsageError
from edgedx.core.files import read_json
from edgedx.core.preprocess import Canvas
from edgedx.core.progress import progress
from edgedx.core.settings.columns import encode_rows, gather
from edgedx.core.stats.cases import Cases, Predictions, predictions_of_logits
from edgedx.core.stats.conformal import coverage
from edgedx.core.stats.patients import patient_keys
from edgedx.core.stats.resample import RESAMPLES
from edgedx.core.table import null_for_nan
from edgedx.lab.data.dataset import EXCLUDED, MANIFEST, SUMMARY, Dataset, load_dataset
from edgedx.lab.data.given_images import ListedImage, ReadImage, labels_array, list_images, read_batches, read_one

from .ablation import ColumnContribution, worth_of
from .disparity import Disparity, disparity
from .figures import Figures, figures_with_intervals
from .subject import Subject

_BATCH = 64


@dataclass(frozen=True)
class JudgedImages:
    """Images that were answered, and those that were not.

    Attributes
    ----------
    logits : ndarray of shape (N, K)
    left_out : list of (str, str)
        Image and reason.
    canvas_of : callable
        Image number to what the model saw, read again: pictures show a few of many.
    warnings : list of str
    columns : ndarray of shape (N, T), optional
        What the model was told beside each image, where it takes more.
    without : ndarray of shape (N, K), optional
        Its logits when all of that is absent.
    """

    cases: Cases
    logits: np.ndarray
    left_out: list[tuple[str, str]]
    canvas_of: Callable[[int], Canvas]
    where: str
    warnings: list[str] = field(default_factory=list)
    columns: np.ndarray | None = None
    without: np.ndarray | None = None


@dataclass(frozen=True)
class Evaluation:
    """Everything found about one model on one set of images."""

    subject: Subject
    asked: JudgedImages
    answers: Predictions
    figures: Figures
    parts: Disparity
    worth: ColumnContribution | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON. Images are counted, not named: names stand in the tables."""
        return {
            "schema_version": 1,
            "sentence": self.sentence,
            "model": self.subject.name,
            "path": str(self.subject.path),
            "ran": self.subject.ran,
            "task": self.subject.task,
            "classes": self.subject.classes,
            "positive": self.subject.positive,
            "data": self.asked.where,
            "synthetic": self.subject.synthetic,
            "operating_point": {"name": self.answers.point, "threshold": dict(self.answers.thresholds)},
            "temperature": self.subject.temperature,
            **self.figures.to_dict(),
            "wrong": len(wrong_first(self.asked.cases, self.answers)),
            **self.parts.to_dict(),
            **({"columns": self.worth.to_dict()} if self.worth is not None else {}),
            **({"sets": self.sets} if self.sets is not None else {}),
            "left_out": dict(Counter(reason for _, reason in self.asked.left_out).most_common()),
            "warnings": self.asked.warnings,
        }

    @property
    def sets(self) -> dict[str, Any] | None:
        """Conformal prediction sets on these images: coverage by class, null without images, and classes in a set."""
        found = self.subject.sets
        if found is None:
            return None
        covered = coverage(found, self.subject.classes, self.asked.cases.labels, self.answers.probabilities)
        least = np.array([found.least[name] for name in self.subject.classes])
        return {
            "promised": round(1 - found.alpha, 6),
            "covered": {name: null_for_nan(share) for name, share in covered.items()},
            "mean_size": float((self.answers.probabilities >= least).sum(axis=1).mean()),
        }

    @property
    def sentence(self) -> str:
        """Plain words, for the first line."""
        found, subject = self.figures, self.subject
        reaches = f"{subject.name} reaches {found.overall['auc_roc']} AUC on {found.images} images ({self.asked.where})"
        if subject.positive is None:
            return f"{reaches} and a balanced accuracy of {found.overall['balanced_accuracy']}"
        one = found.classes[subject.positive]
        point = f" at {self.answers.point}" if self.answers.point else ""
        return (
            f"{reaches}; it finds {one['sensitivity'].value:.1%} of {subject.positive} and clears "
            f"{one['specificity'].value:.1%} of the others{point}"
        )


def evaluate(
    subject: Subject,
    *,
    data: Path | None = None,
    split: str = "test",
    point: str | None = None,
    subgroups: list[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Ask and judge.

    Parameters
    ----------
    data : Path, optional
        Labelled images (see `given_images.list_images`); the `split` of the subject's run unless given.
    subgroups : list of str, optional
        Columns to judge by; all there are unless given.

    Raises
    ------
    UsageError
        No data, or no such column.
    DataError
        No image could be answered.
    """
    asked = ask_given(subject, data) if data is not None else ask_split(subject, split)
    if subgroups is not None:
        asked = _only(asked, subgroups)
    decided = subject.point(point)
    answers = predictions_of_logits(asked.cases, asked.logits, subject.temperature, decided)
    worth = None
    if asked.columns is not None and asked.without is not None:
        without = predictions_of_logits(asked.cases, asked.without, subject.temperature, decided)
        worth = worth_of(asked.cases, answers, without, subject.columns, asked.columns)
    return Evaluation(
        subject=subject,
        asked=asked,
        answers=answers,
        figures=figures_with_intervals(asked.cases, answers, resamples=resamples, seed=seed),
        parts=disparity(asked.cases, answers, resamples=resamples, seed=seed),
        worth=worth,
    )


def ask_split(subject: Subject, split: str) -> JudgedImages:
    """Ask a split of the run's own data set."""
    if subject.run is None or subject.recipe is None:
        raise UsageError(
            f"{subject.path} lies in no run, so there is no data set",
            next_step="name one: --run runs/NAME; or labelled images: --data FOLDER or TABLE.csv",
        )
    folder = subject.run.data
    part = load_dataset(folder, subject.task, subject.preprocess).subset(split)
    if not len(part):
        raise DataError(f"{folder} has no image in {split}", next_step="choose val or test")
    _same_columns(subject, part, folder)
    found = []
    with subject.runner, progress(f"asking {subject.name}", len(part)) as bar:
        for batch, columns in part.inputs(_BATCH):
            found.append(_ask(subject, batch, columns if subject.columns else None))
            bar.advance(len(batch))
    logits = np.concatenate([one for one, _ in found])
    without = np.concatenate([one for _, one in found])
    kept, left_out = _finite(part.names, logits)
    part = part.take(kept)
    return JudgedImages(
        cases=_cases(subject, part.names, part.patients, part.labels, part.subgroups),
        logits=logits[kept],
        left_out=left_out,
        canvas_of=lambda index: np.asarray(part.canvases[part.rows[index]]),
        where=split,
        warnings=_prepared_without(folder) + _small(part.labels, subject),
        columns=part.columns if subject.columns else None,
        without=without[kept] if subject.columns else None,
    )


def _ask(subject: Subject, canvases: Canvas, columns: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a batch, and those with all columns absent."""
    bare = subject.infer(canvases).logits
    return (bare, bare) if columns is None else (subject.infer(canvases, columns).logits, bare)


def _same_columns(subject: Subject, part: Dataset, folder: Path) -> None:
    if subject.columns and subject.columns != part.fitted:
        raise UsageError(
            f"{subject.path} takes other columns beside the image than {folder} has, or encodes them otherwise",
            next_step="name the run that it was made in: --run runs/NAME; or labelled images: --data TABLE.csv",
        )


def ask_given(subject: Subject, source: Path) -> JudgedImages:
    """Ask images from outside, read as the device reads them; none is left out in silence."""
    listed = list_images(source, subject.task, subject.classes)
    kept: list[ListedImage] = []
    digests: list[str] = []
    found: list[tuple[np.ndarray, np.ndarray]] = []
    columns: list[np.ndarray] = []
    left_out: list[tuple[str, str]] = []
    with subject.runner, progress("reading and asking", len(listed)) as bar:
        for part in read_batches(listed, subject.preprocess, subject.accept, _BATCH):
            good = [(given, read) for given, read in part if isinstance(read, ReadImage)]
            left_out += [(given.name, read) for given, read in part if isinstance(read, str)]
            if good:
                kept += [given for given, _ in good]
                digests += [read.sha256 for _, read in good]
                values = [gather(subject.columns, given.groups, read.meta) for given, read in good]
                columns.append(encode_rows(subject.columns, values))
                canvases = np.stack([read.canvas for _, read in good])
                found.append(_ask(subject, canvases, columns[-1] if subject.columns else None))
            bar.advance(len(part))
    if not found:
        reasons = "; ".join(
            f"{reason} ({count})" for reason, count in Counter(why for _, why in left_out).most_common(3)
        )
        raise DataError(
            f"{source}: none of {len(listed)} images could be answered: {reasons}",
            next_step="compare the table's names and labels with the files and the model's classes",
        )
    logits = np.concatenate([one for one, _ in found])
    without = np.concatenate([one for _, one in found])
    rows, broken = _finite([given.name for given in kept], logits)
    chosen = [kept[row] for row in rows]
    digests = [digests[row] for row in rows]

    def canvas_of(index: int) -> Canvas:
        again = read_one(chosen[index], subject.preprocess, subject.accept)
        if isinstance(again, str):
            raise DataError(f"{chosen[index].name} was read a moment ago, and now: {again}", next_step="repeat")
        return again.canvas

    labels = labels_array(chosen, subject.task)
    patients = patient_keys([given.patient for given in chosen], digests)
    warnings = _known_images(subject, digests) + _small(labels, subject)
    nameless = sum(not given.patient for given in chosen)
    if 0 < nameless < len(chosen):
        warnings.append(f"{nameless} images name no patient; each counts as its own")
    if doubles := len(digests) - len(set(digests)):
        warnings.append(
            f"{doubles} images are copies of others in the set: they count twice, and intervals are too narrow"
        )
    return JudgedImages(
        cases=_cases(subject, [given.name for given in chosen], patients, labels, [given.groups for given in chosen]),
        logits=logits[rows],
        left_out=left_out + broken,
        canvas_of=canvas_of,
        where=source.name or "data",
        warnings=warnings,
        columns=np.concatenate(columns)[rows] if subject.columns else None,
        without=without[rows] if subject.columns else None,
    )


def _cases(
    subject: Subject, names: list[str], patients: list[str], labels: np.ndarray, groups: list[dict[str, str]]
) -> Cases:
    return Cases(names, patients, labels, groups, subject.task, subject.classes, subject.positive, subject.ordered)


def _finite(names: list[str], logits: np.ndarray) -> tuple[np.ndarray, list[tuple[str, str]]]:
    good = np.isfinite(logits).all(axis=1)
    broken = [(names[row], "the model's answer is not a number") for row in np.flatnonzero(~good)]
    if not good.any():
        raise DataError("no answer of the model is a number", next_step="compress again; if it stays so, report it")
    return np.flatnonzero(good), broken


def _known_images(subject: Subject, digests: list[str]) -> list[str]:
    """Images that the model was trained with: figures on them prove nothing."""
    table = subject.run.data / MANIFEST if subject.run is not None else None
    if table is None or not table.is_file():
        return []
    with table.open(newline="", encoding="utf-8") as stream:
        seen = {entry["sha256"] for entry in csv.DictReader(stream) if entry["split"] in ("train", "val")}
    count = sum(digest in seen for digest in digests)
    return [f"{count} of these images are in the model's training or validation set: figures flatter"] if count else []


def _prepared_without(folder: Path) -> list[str]:
    """What the data set itself excluded when it was made."""
    found = read_json(folder / SUMMARY).get("excluded", {})
    reasons = ", ".join(f"{count} {reason}" for reason, count in found.items())
    return [f"the data set was made without {reasons}: see {folder / EXCLUDED}"] if found else []


def _small(labels: np.ndarray, subject: Subject) -> list[str]:
    found = []
    for index, name in enumerate(subject.classes):
        count = int((labels[:, index] == 1).sum() if subject.task == "multilabel" else (labels == index).sum())
        if count < 30:
            found.append(f"only {count} images of {name}: its figures are a rough guess")
    return found


def _only(asked: JudgedImages, columns: list[str]) -> JudgedImages:
    from dataclasses import replace

    there = sorted({name for group in asked.cases.subgroups for name in group})
    if unknown := [column for column in columns if column not in there]:
        raise UsageError(f"no column {unknown[0]!r}", next_step=f"there are {', '.join(there) or 'none'}")
    groups = [{name: group.get(name, "") for name in columns} for group in asked.cases.subgroups]
    return replace(asked, cases=replace(asked.cases, subgroups=groups))


def wrong_first(cases: Cases, answers: Predictions) -> list[int]:
    """Images that were decided wrongly, worst first: by how little was given to the truth."""
    from .figures import called_matrix, truth_matrices

    known, present = truth_matrices(cases)
    called = called_matrix(cases, answers.decisions)
    wrong = (known & (called != present)).any(axis=1)
    blame = np.where(known, np.where(present, 1 - answers.probabilities, answers.probabilities), 0)
    misses = np.where(known & (called != present), blame, 0).max(axis=1)
    return [int(row) for row in np.argsort(-misses, kind="stable") if wrong[row]]
