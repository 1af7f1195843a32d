"""What a model says of a set's held-out images and of changed ones: made once, for `drift.py` to draw clinics from."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgedx.core.bundle.manifest import Bundle, open_bundle
from edgedx.core.image_statistics import FIGURES, image_figures
from edgedx.core.preprocess import PreprocessSpec, canvas, normalise
from edgedx.core.settings.recipe import Recipe
from edgedx.core.stats.cases import calibrated_probabilities
from edgedx.core.stats.ood import energy, unpack_space
from edgedx.core.stats.points import label_at
from edgedx.device.runtime.open_runner import open_runner
from edgedx.dicom.reading.open import open_image
from edgedx.lab.data.prepare import open_data
from edgedx.lab.run.run import Run

BATCH = 64
OTHER_SET = {
    "cxr_pneumonia_kermany": "chest-xray3",  # adults, other machines
    "brain_tumour_mri4": "ct_lung_iqothnccd",  # another scanner of slices altogether
    "skin_ham10000": "fundus_idrid",  # colour, round, and of another organ
}
MISSING = {"skin_ham10000": ("localization", "back")}
"""Column and value of what no longer comes; where a set has no such column, the smaller of two clusters of pictures."""


@dataclass(frozen=True)
class Answered:
    """Everything that is watched of N images.

    Attributes
    ----------
    probabilities : ndarray of shape (N, K)
    numbers : dict of str to ndarray of shape (N,)
        Figures, distance and energy.
    features : ndarray of shape (N, D)
    called : ndarray of shape (N,) of int
        Index of the class decided for.
    unlike : ndarray of shape (N,) of bool
    """

    probabilities: np.ndarray
    numbers: dict[str, np.ndarray]
    features: np.ndarray
    called: np.ndarray
    unlike: np.ndarray


@dataclass(frozen=True)
class Material:
    """A set, its model, and what that says of held-out images, as they are and changed."""

    name: str
    bundle: Bundle
    labels: np.ndarray
    patients: list[str]
    keeps: np.ndarray
    """Whether an image still comes where one view is missing."""
    answers: dict[str, Answered]


def detector(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another detector: blurred by one pixel, with noise of 3 % of the range."""
    soft = cv2.GaussianBlur(image, (0, 0), 1.0).astype(np.float32)
    return np.clip(soft + rng.normal(0, 0.03 * 255, image.shape), 0, 255).astype(np.uint8)


def setting(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another window: three quarters of the contrast, and a gamma of 1.3."""
    return np.rint(255 * (0.125 + 0.75 * (image / 255.0) ** 1.3)).astype(np.uint8)


PIXELS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "inverted polarity": lambda image, rng: 255 - image,
    "another detector": detector,
    "another window": setting,
    "turned by 90 degrees": lambda image, rng: np.ascontiguousarray(np.rot90(image)),
}


def gather(run: Path, recipe: Recipe, folder: Path) -> Material:
    """Answers of the shipped variant to val and test, to changed copies of them, and to another set."""
    bundle, data = open_bundle(Run(run).build().bundle), open_data(recipe, run)
    parts = [data.subset(name) for name in ("val", "test")]
    images = np.concatenate([np.concatenate(list(part.batches(256))) for part in parts])
    labels, names = np.concatenate([part.labels for part in parts]), [name for part in parts for name in part.names]
    patients = [patient for part in parts for patient in part.patients]
    rng = np.random.default_rng(0)
    sources = {"stable": images} | {
        name: np.stack([change(image, rng) for image in images]) for name, change in PIXELS.items()
    }
    sources["another set"] = other_images(folder.parent / OTHER_SET[folder.name], recipe.preprocess)
    noise = rng.normal(0, 2, (64, *images[0].shape))
    sources["calibration image"] = np.clip(images[:1] + noise, 0, 255).astype(np.uint8)
    answers = {name: ask(bundle, one) for name, one in sources.items()}
    return Material(folder.name, bundle, labels, patients, still_come(folder, names, images), answers)


def still_come(folder: Path, names: list[str], images: np.ndarray) -> np.ndarray:
    """Which images are not of the view that will be missing."""
    if folder.name in MISSING:
        column, value = MISSING[folder.name]
        with (folder / "labels.csv").open(newline="") as stream:
            found = {Path(row["image"]).name: row[column] for row in csv.DictReader(stream)}
        return np.array([found[Path(name).name] != value for name in names])
    small = np.stack([cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA).ravel() for image in images])
    _, group, _ = cv2.kmeans(small.astype(np.float32), 2, None, (3, 50, 0.1), 5, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
    return group.ravel() == np.bincount(group.ravel()).argmax()


def other_images(folder: Path, spec: PreprocessSpec) -> np.ndarray:
    """Canvases of up to 400 images of another set."""
    with (folder / "labels.csv").open(newline="") as stream:
        rows = [row["image"] for row in csv.DictReader(stream)]
    chosen = np.random.default_rng(0).permutation(len(rows))[:400]
    return np.stack([canvas(open_image(folder / rows[index]).image, spec) for index in chosen])


def ask(bundle: Bundle, images: np.ndarray) -> Answered:
    """All that is watched, by the variant that serves."""
    manifest, name = bundle.manifest, bundle.manifest.default_variant
    limits = manifest.doubt.ood[name]
    assert limits.file is not None and limits.distance is not None and manifest.features is not None
    space = unpack_space(bundle.read(limits.file), manifest.features, limits.file)
    logits, features = [], []
    with open_runner(bundle, variant=name, threads=1) as runner:
        for start in range(0, len(images), BATCH):
            output = runner.infer(normalise(images[start : start + BATCH], manifest.preprocess))
            logits.append(output.logits)
            features.append(np.asarray(output.features))
    every, known = np.concatenate(logits), np.concatenate(features)
    chances = calibrated_probabilities(every, manifest.task, manifest.temperature)
    point = manifest.operating_points[0]
    labels = [label_at(manifest.task, manifest.classes, manifest.positive, point.threshold, row) for row in chances]
    figures = [image_figures(image) for image in images]
    numbers = {key: np.array([one[key] for one in figures]) for key in FIGURES}
    numbers |= {"energy": energy(every), "distance": space.distance(known)}
    called = np.array([manifest.classes.index(label) for label in labels])
    return Answered(chances, numbers, known, called, numbers["distance"] > limits.distance)
