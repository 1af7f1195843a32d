"""What a model does with worse images and foreign ones, its teacher beside it: `edgedx robustness`.

``robustness.json`` holds, by model: ``clean`` and ``corrupted`` (by corruption, five strengths), each with ``auc``,
``ece``, of binary tasks ``sensitivity`` and ``specificity``, ``covered`` (share of each class whose conformal set holds
it) and ``set_size``; ``lost_to_first`` beside them, the first model's AUC less its own, paired; ``mean_auc`` over all
corruptions and strengths; ``foreign`` (by set) and ``noticed`` (by corruption, five strengths), each by score with
``auroc`` and ``fpr95``.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx import __version__
from edgedx.core.errors import DataError, UsageError
from edgedx.core.files import safe_name, sha256_bytes
from edgedx.core.preprocess import Canvas
from edgedx.core.progress import progress
from edgedx.core.stats.cases import Cases, Predictions, calibrated_probabilities, predictions_of_logits
from edgedx.core.stats.conformal import ALPHA, SetThresholds, calibrate, coverage
from edgedx.core.stats.metrics import Interval, roc_auc
from edgedx.core.stats.ood import energy, fit_space
from edgedx.core.stats.paired import compare, figures_of
from edgedx.core.table import null_for_nan
from edgedx.device.runtime.runner import Output
from edgedx.lab.data.dataset import Dataset, load_dataset
from edgedx.lab.evidence.parts import FOLDER, NOTHING_KEPT, Arrays, Parts, digest_of
from edgedx.lab.judge.subject import Subject
from edgedx.lab.run.stage import machine, versions

from .corrupt import CORRUPTIONS, corrupt
from .foreign import foreign_canvases, is_here

STRENGTHS = (1, 2, 3, 4, 5)
NEIGHBOURS = 10
_MOST_TRAIN = 5000
_BATCH = 64
Score = Callable[[Output], NDArray[np.float64]]


@dataclass(frozen=True)
class ConditionResult:
    """What a model said to one set of images."""

    output: Output
    answers: Predictions
    figures: dict[str, Any]


def robustness(
    subjects: Sequence[Subject], *, split: str = "test", seed: int = 0, folder: Path | None = None
) -> dict[str, Any]:
    """Ask all subjects, and return what ``robustness.json`` holds.

    Parameters
    ----------
    subjects : sequence of Subject
        Of one run; the first is what the others are compared with.
    folder : Path, optional
        Where predictions are kept as they come (`finished` removes them): a stopped call goes on with them.

    Raises
    ------
    UsageError
        A subject lies in no run, or they are of several.
    DataError
        The split has no image.
    """
    first = subjects[0]
    if any(one.run is None for one in subjects) or len({one.run for one in subjects}) > 1:
        raise UsageError("the models must lie in one run, whose data they are asked", next_step="name it: --run RUN")
    assert first.run is not None and first.recipe is not None
    recipe, data = first.recipe, load_dataset(first.run.data, first.task, first.preprocess)
    part = data.subset(split)
    if not len(part):
        raise DataError(f"{first.run.data} has no image in {split}", next_step="choose val or test")
    sets = {
        kind: [name for name in names if is_here(name)]
        for kind, names in (("near", recipe.foreign.near), ("far", recipe.foreign.far))
    }
    missing = [name for name in (*recipe.foreign.near, *recipe.foreign.far) if not is_here(name)]
    strangers = {
        f"{kind}: {name}": foreign_canvases(name, first.preprocess, seed)
        for kind, names in sets.items()
        for name in names
    }
    models: list[dict[str, Any]] = []
    spoken: list[ConditionResult] = []
    whole = len(subjects) * (len(part) * (1 + len(STRENGTHS) * len(CORRUPTIONS)))
    with progress("asking about worse images", whole) as bar:
        for subject in subjects:
            judge = _Judge(subject, data, part, seed, bar.advance, _parts(folder, subject, data, seed))
            result, heard = judge.work(strangers, spoken)
            spoken = spoken or heard
            models.append(result)
    return {
        "schema_version": 1,
        "recipe": recipe.name,
        "synthetic": recipe.synthetic,
        "date": time.strftime("%Y-%m-%d"),
        "split": split,
        "images": len(part),
        "patients": len(set(part.patients)),
        "seed": seed,
        "corruptions": {name: {"unit": one.unit, "strengths": one.strengths} for name, one in CORRUPTIONS.items()},
        "foreign_images": {name: len(canvases) for name, canvases in strangers.items()},
        "foreign_missing": missing,
        "coverage_promised": 1 - ALPHA,
        "models": models,
        "machine": machine(),
        "versions": versions(),
    }


def _parts(folder: Path | None, subject: Subject, data: Dataset, seed: int) -> Parts:
    """What this very model answered to this data set, kept by an earlier call that was stopped."""
    if folder is None:
        return NOTHING_KEPT
    about = {
        "what": "robustness",
        "edgedx": __version__,
        "model": [subject.name, digest_of(subject.path)],
        "data": data.digest,
        "seed": seed,
        "corruptions": {name: one.strengths for name, one in CORRUPTIONS.items()},
    }
    return Parts(folder / FOLDER / safe_name(subject.name), about)


def finished(folder: Path) -> None:
    """The report is written: kept predictions go."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


class _Judge:
    """One subject on all images."""

    def __init__(
        self,
        subject: Subject,
        data: Dataset,
        part: Dataset,
        seed: int,
        advance: Callable[[int], object],
        parts: Parts = NOTHING_KEPT,
    ) -> None:
        self.subject, self.data, self.part = subject, data, part
        self.seed, self.advance, self.parts = seed, advance, parts
        self.cases = Cases(part.names, part.patients, part.labels, [{}] * len(part), subject.task, subject.classes,
                           subject.positive)  # fmt: skip

    def work(
        self, strangers: Mapping[str, Canvas], first: Sequence[ConditionResult]
    ) -> tuple[dict[str, Any], list[ConditionResult]]:
        """Everything; and what was said to clean and corrupted images, for those that are compared with it."""
        with self.subject.runner:
            train = self._few(self.data.subset("train"))
            known = self._ask("train", train)
            sets = self._sets()
            scores = scores_of(known, None if self.subject.task == "multilabel" else train.labels)
            clean = self._heard(self._ask("part", self.part), sets)
            self.advance(len(self.part))
            corrupted: dict[str, list[ConditionResult]] = {}
            for name in CORRUPTIONS:
                corrupted[name] = []
                for strength in STRENGTHS:
                    corrupted[name].append(self._heard(self._ask("part", self.part, name, strength), sets))
                    self.advance(len(self.part))
            foreign = {name: self._foreign(name, canvases) for name, canvases in strangers.items()}
        heard = [clean, *(one for several in corrupted.values() for one in several)]
        if first:
            for second, other in zip(heard, first, strict=True):
                second.figures["lost_to_first"] = _lost(self.cases, other.answers, second.answers)
        inside = {name: score(clean.output) for name, score in scores.items()}
        separation = lambda output: {name: _told_apart(inside[name], score(output)) for name, score in scores.items()}  # noqa: E731
        return {
            "name": self.subject.name,
            "ran": self.subject.ran,
            "clean": clean.figures,
            "corrupted": {name: [one.figures for one in several] for name, several in corrupted.items()},
            "mean_auc": float(np.mean([one.figures["auc"]["value"] for one in heard[1:]])),
            "foreign": {name: separation(output) for name, output in foreign.items()},
            "noticed": {name: [separation(one.output) for one in several] for name, several in corrupted.items()},
        }, heard

    def _few(self, part: Dataset) -> Dataset:
        chosen = np.random.default_rng(self.seed).permutation(len(part))[:_MOST_TRAIN]
        return part.take(np.sort(chosen))

    def _ask(self, of: str, part: Dataset, name: str = "", strength: int = 0) -> Output:
        """Predictions for a split, corrupted as asked; those that were kept are not computed again."""
        kept = self.parts.arrays(
            f"{of} {len(part)} {sha256_bytes(''.join(part.names).encode())} {name} {strength}",
            lambda: _arrays(self._infer(part, name, strength)),
        )
        return Output(kept["logits"], kept.get("features"))

    def _infer(self, part: Dataset, name: str, strength: int) -> Output:
        outputs, number = [], 0
        for canvases, columns in part.inputs(_BATCH):
            if strength:
                rngs = [
                    np.random.default_rng((self.seed, strength, number + offset)) for offset in range(len(canvases))
                ]
                canvases = np.stack(
                    [corrupt(one, name, strength, rng) for one, rng in zip(canvases, rngs, strict=True)]
                )
            number += len(canvases)
            outputs.append(self.subject.infer(canvases, columns if self.subject.columns else None))
        return _joined(outputs)

    def _foreign(self, name: str, canvases: Canvas) -> Output:
        batches = range(0, len(canvases), _BATCH)
        kept = self.parts.arrays(
            f"foreign {name} {sha256_bytes(canvases.tobytes())}",
            lambda: _arrays(_joined([self.subject.infer(canvases[at : at + _BATCH]) for at in batches])),
        )
        return Output(kept["logits"], kept.get("features"))

    def _sets(self) -> SetThresholds | None:
        """Conformal thresholds as `deploy` fits them, on val; None where it is too small."""
        val = self.data.subset("val")
        probabilities = calibrated_probabilities(
            self._ask("val", val).logits, self.subject.task, self.subject.temperature
        )
        try:
            return calibrate(self.subject.classes, val.labels, probabilities)
        except ValueError:
            return None

    def _heard(self, output: Output, sets: SetThresholds | None) -> ConditionResult:
        answers = predictions_of_logits(self.cases, output.logits, self.subject.temperature, self.subject.points[0])
        intervals, calibration = figures_of(self.cases, answers, seed=self.seed)
        figures: dict[str, Any] = {name: one.to_dict() for name, one in intervals.items()}
        figures["ece"] = calibration["ece"]
        if sets is not None:
            least = np.array([sets.least[name] for name in self.subject.classes])
            covered = coverage(sets, self.subject.classes, self.cases.labels, answers.probabilities)
            figures["covered"] = {name: null_for_nan(share) for name, share in covered.items()}
            figures["set_size"] = float((answers.probabilities >= least).sum(axis=1).mean())
        return ConditionResult(output, answers, figures)


def scores_of(train: Output, labels: NDArray[np.int64] | None) -> dict[str, Score]:
    """Scores of how unlike the training images an answer is: energy, Mahalanobis distance, nearest neighbours."""
    result: dict[str, Score] = {"energy": lambda output: energy(output.logits)}
    if train.features is None:
        return result
    space = fit_space(train.features, labels)
    result["mahalanobis"] = lambda output: space.distance(_features(output))
    result["knn"] = lambda output: nearest(_features(train), _features(output))
    return result


def nearest(known: NDArray[Any], unseen: NDArray[Any], neighbours: int = NEIGHBOURS) -> NDArray[np.float64]:
    """Distance to the k-th nearest training image, features at unit length (Sun et al., ICML 2022).

    Parameters
    ----------
    known : ndarray of shape (M, D)
        Features of training images.
    unseen : ndarray of shape (N, D)

    Returns
    -------
    ndarray of shape (N,), float64
    """
    unit, second = (_unit(np.asarray(values, np.float64)) for values in (known, unseen))
    count = min(neighbours, len(unit))
    squared = np.concatenate(
        [np.partition(2 - 2 * second[at : at + 256] @ unit.T, count - 1, axis=1)[:, count - 1]
         for at in range(0, len(second), 256)]
    )  # fmt: skip
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)))


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12))


def fpr95(inside: NDArray[Any], outside: NDArray[Any]) -> float:
    """Share of foreign images that pass where 95 % of the own images do; a greater score is more foreign."""
    return float(np.mean(outside <= np.quantile(inside, 0.95)))


def _told_apart(inside: NDArray[Any], outside: NDArray[Any]) -> dict[str, float]:
    truth = np.r_[np.zeros(len(inside)), np.ones(len(outside))]
    return {"auroc": roc_auc(truth, np.r_[inside, outside]), "fpr95": fpr95(inside, outside)}


def _lost(cases: Cases, first: Predictions, second: Predictions) -> dict[str, float | None]:
    drop: Interval = compare(cases, first, second).whole.auc.drop
    return drop.to_dict()


def _features(output: Output) -> NDArray[np.float32]:
    assert output.features is not None
    return output.features


def _arrays(output: Output) -> Arrays:
    return {"logits": output.logits} | ({} if output.features is None else {"features": output.features})


def _joined(outputs: Sequence[Output]) -> Output:
    features = [one.features for one in outputs if one.features is not None]
    return Output(
        np.concatenate([one.logits for one in outputs]),
        np.concatenate(features) if len(features) == len(outputs) else None,
    )
