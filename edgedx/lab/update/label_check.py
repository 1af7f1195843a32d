"""Which new labels are likely wrong: a table and a picture, for a second look by people."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgedx.core.files import write_text
from edgedx.core.settings.recipe import Recipe
from edgedx.core.settings.recipe_sections import Task
from edgedx.core.stats.cases import Cases, predictions_of
from edgedx.core.table import csv_text, plain_cell
from edgedx.lab.judge.gallery import gallery
from edgedx.lab.network.checkpoint import Checkpoint
from edgedx.lab.network.torch_runner import TorchRunner

from .confident import Suspect, likely_wrong
from .settle import Settled

LIST, PICTURE = "likely-wrong.csv", "likely-wrong.png"
FOLDS = 5
_INVERSE_PENALTY = 1.28  # C of the logistic regression on standardised features, times their number
_BATCH = 64


@dataclass(frozen=True)
class LabelCheck:
    """What was found.

    Attributes
    ----------
    suspects : list of (int, str, str, float)
        Position of the image, label as given, label as likely, margin; likeliest wrong first.
    probabilities : ndarray of shape (N, K)
        Out of fold.
    agreement : float
        Share of labels, of all findings of a multilabel task, that the models behind the list say too: the smaller, the
        longer and looser the list.
    note : str
        Why nothing was checked; empty where it was.
    """

    suspects: list[tuple[int, str, str, float]]
    probabilities: NDArray[np.float64]
    agreement: float = 0.0
    note: str = ""


def check_labels(recipe: Recipe, teacher: Checkpoint, settled: Settled) -> LabelCheck:
    """Confident learning on out-of-fold answers to the new images.

    A logistic regression on the teacher's pooled features answers each fifth of the patients, trained on the others:
    the teacher has not seen these images, and the regression not those that it answers.
    """
    if not settled.images:
        return LabelCheck([], np.zeros((0, len(recipe.task.classes))), note="no image is left to check")
    features = features_of(recipe, teacher, settled)
    units = [case.unit for case in settled.cases]
    labels = np.array([one.labels[0] for one in settled.images], np.float64)
    return check(recipe.task, features, labels, units, seed=recipe.data.seed)


def features_of(recipe: Recipe, teacher: Checkpoint, settled: Settled) -> NDArray[np.float64]:
    """The teacher's pooled features of the new images, (N, D)."""
    found = []
    with TorchRunner(teacher.model, features=True) as runner:
        for start in range(0, len(settled.images), _BATCH):
            canvases = np.stack(
                [one.canvas for one in settled.images[start : start + _BATCH] if one.canvas is not None]
            )
            found.append(runner.infer_canvases(canvases, recipe.preprocess).features)
    return np.concatenate(found).astype(np.float64)  # type: ignore[arg-type]


def check(
    task: Task, features: NDArray[np.float64], labels: NDArray[np.float64], units: Sequence[str], *, seed: int = 0
) -> LabelCheck:
    """`check_labels` from features (N, D) and labels (N, 1) of class indices or (N, K) of 0/1/NaN."""
    classes = task.classes
    if task.kind != "multilabel":
        given = labels[:, 0].astype(np.int64)
        chance = out_of_fold(features, given, len(classes), units, seed)
        if chance is None:
            return LabelCheck([], np.zeros((len(labels), len(classes))), note="too few images of some class to check")
        found = [(one.row, classes[one.given], classes[one.likely], one.margin) for one in likely_wrong(given, chance)]
        return LabelCheck(found, chance, float((chance.argmax(axis=1) == given).mean()))
    chance = np.full(labels.shape, np.nan)
    worst: dict[int, tuple[int, str, str, float]] = {}
    for k, name in enumerate(classes):
        rows = np.flatnonzero(~np.isnan(labels[:, k]))
        given = labels[rows, k].astype(np.int64)
        one = out_of_fold(features[rows], given, 2, [units[int(row)] for row in rows], seed) if len(rows) else None
        if one is None:
            continue
        chance[rows, k] = one[:, 1]
        for suspect in likely_wrong(given, one):
            found_now = _finding(suspect, int(rows[suspect.row]), name)
            if found_now[0] not in worst or found_now[3] < worst[found_now[0]][3]:
                worst[found_now[0]] = found_now
    known = ~np.isnan(labels) & ~np.isnan(chance)
    if not known.any():
        return LabelCheck([], chance, note="too few images with and without any finding to check")
    agreement = float(((chance >= 0.5) == (labels == 1))[known].mean())
    return LabelCheck(sorted(worst.values(), key=lambda one: one[3]), chance, agreement)


def _finding(one: Suspect, row: int, name: str) -> tuple[int, str, str, float]:
    words = (f"no {name}", name)
    return row, words[one.given], words[one.likely], one.margin


def out_of_fold(
    features: NDArray[np.float64], labels: NDArray[np.int64], classes: int, units: Sequence[str], seed: int
) -> NDArray[np.float64] | None:
    """Probabilities (N, K) of models that never saw the image's patient; None where a class has too few."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    there = np.unique(labels)
    fewest = min(len({units[int(row)] for row in np.flatnonzero(labels == k)}) for k in there)
    if len(there) < 2 or fewest < 2:
        return None
    mean, spread = features.mean(axis=0), features.std(axis=0)
    scaled = (features - mean) / np.where(spread > 0, spread, 1.0)
    chance = np.zeros((len(labels), classes))
    folds = StratifiedGroupKFold(min(FOLDS, fewest), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for train, rest in folds.split(scaled, labels, groups=np.asarray(units)):
            if len(np.unique(labels[train])) < 2:
                return None
            model = LogisticRegression(C=_INVERSE_PENALTY / scaled.shape[1], max_iter=1000).fit(
                scaled[train], labels[train]
            )
            chance[np.ix_(rest, model.classes_)] = model.predict_proba(scaled[rest])
    return chance


def write_check(recipe: Recipe, settled: Settled, found: LabelCheck, folder: Path) -> None:
    """Write the table and, where there is something to look at, the picture."""
    rows = []
    for number, (place, given, likely, margin) in enumerate(found.suspects, start=1):
        one = settled.images[place]
        rows.append([number, plain_cell(one.name), one.key, plain_cell(one.site), given, likely, f"{margin:.3f}"])
    write_text(folder / LIST, csv_text(["no", "image", "key", "site", "label", "likely", "margin"], rows))
    if not found.suspects:
        (folder / PICTURE).unlink(missing_ok=True)
        return
    places = [place for place, *_ in found.suspects]
    cases = _cases(recipe, settled, places)
    answers = predictions_of(cases, np.nan_to_num(found.probabilities[places]), _halves(recipe), point="out of fold")
    gallery(
        cases,
        answers,
        list(range(len(places))),
        lambda row: np.asarray(settled.images[places[row]].canvas),
        folder / PICTURE,
        bits=recipe.preprocess.bits,
        title="Labels that are likely wrong, likeliest first",
        table=LIST,
        words=("label", "likely"),
    )


def _halves(recipe: Recipe) -> dict[str, float]:
    task = recipe.task
    judged = task.classes if task.kind == "multilabel" else [task.positive] if task.positive else []
    return {str(name): 0.5 for name in judged}


def _cases(recipe: Recipe, settled: Settled, places: Sequence[int]) -> Cases:
    task = recipe.task
    values = np.array([settled.images[place].labels[0] for place in places], np.float64)
    return Cases(
        [settled.images[place].name for place in places],
        [settled.cases[place].patient for place in places],
        values if task.kind == "multilabel" else values[:, 0].astype(np.int64),
        [{} for _ in places],
        task.kind,
        task.classes,
        task.positive,
    )
