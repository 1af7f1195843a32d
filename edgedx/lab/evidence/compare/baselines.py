"""Classical baselines of a run: what its data set yields without deep learning, on the same split and judged alike.

A baseline is a yardstick and never ships, so no model is kept (scikit-learn's own form is a pickle): its answers are,
as `edgedx compare` reads them, with the settings that were chosen. Settings, features and seed make it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from edgedx.core.files import write_text
from edgedx.core.progress import progress
from edgedx.core.settings.recipe import Recipe
from edgedx.core.stats.cases import predictions_of_logits
from edgedx.core.stats.metrics import fit_temperature
from edgedx.core.table import null_for_nan
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.data.prepare import open_data
from edgedx.lab.judge.evaluation_files import predictions_csv
from edgedx.lab.judge.teacher_answers import cases_of
from edgedx.lab.run.stage import Stage, stage_settings
from edgedx.lab.train.short_figures import auc_of_logits, operating_points, summary

from .baseline_features import frozen_features, hog_features, pixel_features

FOLDER = "baselines"
FEATURES = ("pixels", "hog", "frozen")
COMPONENTS = 100
"""Principal components of the pixels."""
MOST_FOR_SVM = 10_000
"""Training images of an SVM, whose time grows with their square; drawn by the seed where there are more."""
GRIDS: dict[str, list[dict[str, Any]]] = {
    "knn": [{"neighbours": count, "weights": kind} for count in (5, 15, 45, 135) for kind in ("uniform", "distance")],
    "svm": [{"C": c, "gamma": gamma} for c in (1.0, 10.0) for gamma in (0.25, 1.0)],
    "logistic": [{"C": c} for c in (0.0001, 0.001, 0.01, 0.1, 1.0)],
}
"""Settings to try; the best AUC on val is kept. gamma is in units of 1 / (features x their variance)."""

_LEAST = 1e-12
"""Probability of a class that could not be learned."""

Floats = NDArray[np.float32]
Features = dict[str, Floats]


@dataclass(frozen=True)
class Baseline:
    """One way: features and method."""

    feature: str
    method: str

    @property
    def name(self) -> str:
        """``hog-svm``."""
        return f"{self.feature}-{self.method}"


@dataclass(frozen=True)
class Setting:
    """One setting of a method to try: `values` is an entry of its grid."""

    method: str
    values: Mapping[str, Any]
    seed: int


def baselines(recipe: Recipe, run: Path, *, overwrite: bool = False) -> dict[str, dict[str, Any]]:
    """Train all of them into ``run/baselines/NAME`` and return the stages' records by name.

    Finished ones are not repeated. Frozen features are left out where the recipe has no pretrained weights.

    Raises
    ------
    DataError
        The run has no data set.
    """
    data = open_data(recipe, run)
    parts = {split: data.subset(split) for split in ("train", "val", "test")}
    results: dict[str, dict[str, Any]] = {}
    wanted = [name for name in FEATURES if name != "frozen" or recipe.model.weights != "none"]
    with progress("classical baselines", len(wanted) * len(GRIDS)) as bar:
        for feature in wanted:
            features = cache(partial(features_of, feature, parts, recipe))  # once, and only where a stage needs them
            for method in GRIDS:
                one = Baseline(feature, method)
                stage = _stage(recipe, run, one, data)
                work = partial(_train, recipe, one, parts, features, stage.folder)
                results[one.name] = stage.run(work, overwrite=overwrite, restartable=True)
                bar.advance(note=one.name)
    return results


def _stage(recipe: Recipe, run: Path, one: Baseline, data: Dataset) -> Stage:
    settings = stage_settings(recipe, "task", "preprocess")
    settings |= {"feature": one.feature, "method": one.method, "grid": GRIDS[one.method], "seed": recipe.train.seed}
    if one.feature == "frozen":
        settings["model"] = [recipe.model.backbone, recipe.model.weights]
    return Stage(run / FOLDER / one.name, settings, {"data": data.digest})


def features_of(feature: str, parts: Mapping[str, Dataset], recipe: Recipe) -> Features:
    """Features of each split, each of mean 0 and variance 1 on train; of pixels their principal components."""
    bits = recipe.preprocess.bits
    if feature == "frozen":
        raw = {split: frozen_features(part, recipe) for split, part in parts.items()}
    else:
        of = hog_features if feature == "hog" else pixel_features
        raw = {split: of(part, bits) for split, part in parts.items()}
    steps: list[Any] = [StandardScaler()]
    if feature == "pixels":
        count = min(COMPONENTS, *raw["train"].shape)
        steps.insert(0, PCA(count, svd_solver="randomized", random_state=recipe.train.seed))
    pipeline = make_pipeline(*steps).fit(raw["train"])
    return {split: pipeline.transform(values).astype(np.float32) for split, values in raw.items()}


def _train(
    recipe: Recipe, one: Baseline, parts: Mapping[str, Dataset], made: Callable[[], Features], folder: Path
) -> dict[str, Any]:
    task, val, features = recipe.task, parts["val"], made()
    tried, best = [], None
    for settings in GRIDS[one.method]:
        logits = logits_of(
            Setting(one.method, settings, recipe.train.seed), task.kind, len(task.classes), features, parts
        )
        area = auc_of_logits(task, logits["val"], val.labels)
        tried.append({**settings, "val_auc": null_for_nan(area)})
        if best is None or area > best[0]:
            best = (area, settings, logits)
    assert best is not None
    _, chosen, logits = best
    temperature = fit_temperature(logits["val"], val.labels, task.kind)
    points = operating_points(recipe, logits["val"], val.labels, temperature)
    metrics: dict[str, Any] = {"chosen": chosen, "tried": tried, "temperature": temperature}
    metrics["features"] = int(features["train"].shape[1])
    metrics["training_images"] = len(_rows_for(one.method, parts["train"].labels, recipe.train.seed))
    for split in ("val", "test"):
        part = parts[split]
        metrics[split] = summary(task, logits[split], part.labels, part.patients, temperature, points[0])
        cases = cases_of(part, task)
        table = predictions_csv(cases, predictions_of_logits(cases, logits[split], temperature, points[0]))
        write_text(folder / f"{split}.csv", table)
    return metrics


def logits_of(
    setting: Setting, task: str, classes: int, features: Features, parts: Mapping[str, Dataset]
) -> dict[str, Floats]:
    """Train one setting and return logits of shape (N, classes) for val and test, as a network would give them.

    Findings of a multilabel task are learned one by one, each from the images where it is known.
    """
    labels = {split: parts[split].labels for split in ("train", "val")}
    if task != "multilabel":
        return _log_probabilities(setting, classes, features, labels["train"], labels["val"])
    columns = []
    for index in range(classes):
        known = {split: ~np.isnan(values[:, index]) for split, values in labels.items()}
        subset = {split: values[known[split]] if split == "train" else values for split, values in features.items()}
        train, val = (labels[split][known[split], index].astype(np.int64) for split in ("train", "val"))
        pair = _log_probabilities(setting, 2, subset, train, val, known["val"])
        columns.append({split: values[:, 1] - values[:, 0] for split, values in pair.items()})
    return {split: np.stack([column[split] for column in columns], axis=1) for split in ("val", "test")}


def _log_probabilities(
    setting: Setting,
    classes: int,
    features: Features,
    train: NDArray[Any],
    val: NDArray[Any],
    known: NDArray[np.bool_] | None = None,
) -> dict[str, Floats]:
    """Log probabilities of shape (N, classes); of classes that were not there to be learned, next to none."""
    method = setting.method
    rows = _rows_for(method, train, setting.seed)
    if len(np.unique(train[rows])) < 2:
        return {split: np.zeros((len(features[split]), classes), np.float32) for split in ("val", "test")}
    model = _model(setting, features["train"]).fit(features["train"][rows], train[rows])
    if method == "svm":
        scores_by_split = {split: _columns(model.decision_function(features[split])) for split in ("val", "test")}
        judged, truth = scores_by_split["val"] if known is None else scores_by_split["val"][known], val
        if len(np.unique(val)) < 2:  # nothing there to learn from
            judged, truth = _columns(model.decision_function(features["train"][rows])), train[rows]
        # Platt 1999: a logistic regression on its decision values
        model = LogisticRegression(C=1e6, max_iter=1000).fit(judged, truth)
        results = {split: model.predict_proba(values) for split, values in scores_by_split.items()}
    else:
        results = {split: model.predict_proba(features[split]) for split in ("val", "test")}
    if method == "knn":  # no neighbour of a class is not never
        votes = setting.values["neighbours"]
        results = {split: (values * votes + 1 / values.shape[1]) / (votes + 1) for split, values in results.items()}
    whole = {split: np.full((len(values), classes), _LEAST) for split, values in results.items()}
    for split, values in results.items():
        whole[split][:, model.classes_] = np.maximum(values, _LEAST)
    # As precise as a network's: in float64 images that are alike differ in the last bit, another one on each processor.
    return {split: np.log(values).astype(np.float32) for split, values in whole.items()}


def _columns(values: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(len(values), -1)


def _rows_for(method: str, labels: NDArray[Any], seed: int) -> NDArray[np.int64]:
    count = len(labels)
    if method != "svm" or count <= MOST_FOR_SVM:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).permutation(count)[:MOST_FOR_SVM])


def _model(setting: Setting, features: Floats) -> Any:
    method, settings = setting.method, setting.values
    if method == "knn":
        return KNeighborsClassifier(min(settings["neighbours"], len(features)), weights=settings["weights"])
    if method == "logistic":
        return LogisticRegression(C=settings["C"], class_weight="balanced", max_iter=2000)
    gamma = settings["gamma"] / (features.shape[1] * float(features.var()) or 1.0)
    return SVC(C=settings["C"], gamma=gamma, class_weight="balanced", cache_size=500)
