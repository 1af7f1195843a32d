"""Labelled images of the clinic: what they are called, what a device answered to them, and whether that will do."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.bundle import Manifest
from ..core.errors import DataError, UsageError
from ..core.files import sha256_file, storage_error
from ..core.metrics import Interval, auc, bootstrap

IMAGE, LABEL = "image", "label"
_SUFFIXES = {".dcm", ".png", ".jpg", ".jpeg", ".tif", ".tiff"}


@dataclass(frozen=True)
class Sample:
    """One labelled image.

    Attributes
    ----------
    name : str
        What it is called on the device: a number, because a clinic's file names may hold a patient's.
    labels : tuple of str
        One class; for multilabel tasks any number of them.
    """

    path: Path
    name: str
    sha256: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """What the device's answers to the samples are worth.

    Attributes
    ----------
    auc : Interval
        With its 95 % bootstrap interval over the samples.
    accuracy : float or None
        Of the likeliest class; None for multilabel tasks.
    promised_auc, promised_accuracy : float or None
        Of the bundle's manifest, on its test split.
    infer_ms, image_ms : float
        Median of inference alone, and of decoding, preprocessing and inference together, on the device.
    """

    samples: int
    answered: int
    auc: Interval
    accuracy: float | None
    promised_auc: float | None
    promised_accuracy: float | None
    budget: float
    infer_ms: float
    image_ms: float
    passed: bool
    sentence: str


def read_samples(path: Path, manifest: Manifest) -> list[Sample]:
    """Read labelled images: a folder for each class, or a CSV file with the columns ``image`` and ``label``.

    In a CSV file images are named relative to it; for multilabel tasks labels are joined by ``|``, and ``none``
    stands for none of them.

    Raises
    ------
    DataError
        Nothing there, no such column, an unknown class, fewer than two classes, or an image is missing.
    """
    rows = _of_table(path) if path.is_file() else _of_folders(path, manifest)
    if not rows:
        raise DataError(f"{path} holds no labelled image", next_step="a folder for each class, or a CSV: image,label")
    samples = []
    for number, (image, text) in enumerate(rows, start=1):
        labels = tuple(part for part in text.split("|") if part != "none") if manifest.task == "multilabel" else (text,)
        if unknown := [label for label in labels if label not in manifest.classes]:
            raise DataError(
                f"{path}: {unknown[0]!r} is no class of the bundle", next_step=f"use {', '.join(manifest.classes)}"
            )
        suffix = image.suffix.lower() if image.suffix.lower() in _SUFFIXES else ""
        samples.append(Sample(image, f"{number:06d}{suffix}", sha256_file(image), labels))
    if len({sample.labels for sample in samples}) < 2:
        raise DataError(f"{path}: all samples have the same label", next_step="give samples of every class")
    return samples


def _of_folders(path: Path, manifest: Manifest) -> list[tuple[Path, str]]:
    if manifest.task == "multilabel":
        raise UsageError("samples of a multilabel task need a table", next_step="give a CSV file: image,label")
    try:
        folders = sorted(item for item in path.iterdir() if item.is_dir())
        return [(image, folder.name) for folder in folders for image in sorted(folder.rglob("*")) if image.is_file()]
    except OSError as error:
        raise storage_error(path, error) from error


def _of_table(path: Path) -> list[tuple[Path, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            entries, columns = list(reader), list(reader.fieldnames or [])
    except OSError as error:
        raise storage_error(path, error) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8: {error}", next_step="save it so") from error
    if missing := [column for column in (IMAGE, LABEL) if column not in columns]:
        raise DataError(f"{path}: no column {missing[0]!r}", next_step=f"its columns must be {IMAGE} and {LABEL}")
    return [(path.parent / (entry[IMAGE] or "").strip(), (entry[LABEL] or "").strip()) for entry in entries]


def judge_answers(manifest: Manifest, samples: Sequence[Sample], answers: Mapping[str, dict[str, Any]]) -> Verdict:
    """Compare a device's answers with the labels, and with what the bundle promises. No input or output.

    The gate says no when a sample was not answered, or when the AUC is lower than promised by more than the budget
    and by more than chance explains: the upper end of its 95 % interval lies below the promised AUC less the budget.

    Parameters
    ----------
    answers : mapping of str to dict
        By SHA-256 of the image: ``status``, ``probabilities``, ``reason``, and times in milliseconds.

    Raises
    ------
    DataError
        The device answered to no sample, or to samples of one label only.
    """
    done = [sample for sample in samples if answers.get(sample.sha256, {}).get("status") == "done"]
    reasons = Counter(str(answers.get(sample.sha256, {}).get("reason") or "no answer") for sample in samples
                      if sample not in done)  # fmt: skip
    refused = ", ".join(f"{count} {code}" for code, count in sorted(reasons.items()))
    if len({sample.labels for sample in done}) < 2:
        raise DataError(
            f"the device answered {len(done)} of {len(samples)} samples ({refused}): too few to judge",
            next_step="give samples that the bundle accepts",
        )
    chance = np.array([[answers[one.sha256]["probabilities"][name] for name in manifest.classes] for one in done])
    truth = _truth(manifest, done)
    positive = manifest.classes.index(manifest.positive) if manifest.positive else 1
    area = bootstrap(lambda rows: auc(truth[rows], chance[rows], manifest.task, positive), np.arange(len(done)))
    accuracy = None if manifest.task == "multilabel" else float((chance.argmax(axis=1) == truth).mean())
    promised = manifest.metrics.get("test_auc")
    budget = float(manifest.gate.get("budget", 0.0))
    below = promised is not None and not area.high >= promised - budget  # an AUC that is not a number is below
    sentence = _sentence(area, promised, budget, refused)
    times = [answers[one.sha256] for one in done]
    parts = ("decode_ms", "preprocess_ms", "infer_ms")
    return Verdict(
        samples=len(samples),
        answered=len(done),
        auc=area,
        accuracy=accuracy,
        promised_auc=promised,
        promised_accuracy=manifest.metrics.get("test_accuracy"),
        budget=budget,
        infer_ms=float(np.median([one["infer_ms"] or 0.0 for one in times])),
        image_ms=float(np.median([sum(one[part] or 0.0 for part in parts) for one in times])),
        passed=not reasons and not below,
        sentence=sentence,
    )


def _truth(manifest: Manifest, samples: Sequence[Sample]) -> NDArray[np.int64]:
    if manifest.task == "multilabel":
        return np.array([[int(name in sample.labels) for name in manifest.classes] for sample in samples])
    return np.array([manifest.classes.index(sample.labels[0]) for sample in samples])


def _sentence(area: Interval, promised: float | None, budget: float, refused: str) -> str:
    parts = [f"AUC on the samples is {area}"]
    if promised is None:
        parts.append("the bundle promises none")
    else:
        parts.append(f"the bundle promises {promised:.3f}, with a budget of {budget:g}")
    if refused:
        parts.append(f"not answered: {refused}")
    return "; ".join(parts)
