"""Every figure of an evaluation agrees with scikit-learn, weighted resamples too, and unknown labels are left out."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sk

from edgedx.core.stats.cases import Cases, predictions_of
from edgedx.core.stats.metrics import brier, expected_calibration_error, threshold_at_specificity
from edgedx.core.stats.weighted import Ranked, of_all, quadratic_kappa
from edgedx.lab.judge.figures import figures_with_intervals

EXACT = {"rel": 0, "abs": 1e-9}


def _cases(
    task: str, classes: list[str], count: int = 300, seed: int = 0, patients: int = 0
) -> tuple[Cases, np.ndarray]:
    rng = np.random.default_rng(seed)
    names = [str(index) for index in range(count)]
    owners = [str(index % patients) for index in range(count)] if patients else names
    labels: np.ndarray
    if task == "multilabel":
        labels = (rng.random((count, len(classes))) < 0.3).astype(float)
        probabilities = np.round(np.clip(rng.normal(0.3 + 0.3 * labels, 0.2), 0, 1), 2)
        labels[rng.random(labels.shape) < 0.1] = np.nan
    else:
        labels = rng.integers(0, len(classes), count)
        raw = np.round(np.exp(rng.normal(1.2 * np.eye(len(classes))[labels], 1)), 1) + 0.05
        probabilities = raw / raw.sum(axis=1, keepdims=True)
    positive = classes[-1] if task == "binary" else None
    return Cases(names, owners, labels, [{}] * count, task, classes, positive), probabilities


@pytest.mark.parametrize(("task", "classes"), [("binary", ["well", "sick"]), ("multiclass", ["a", "b", "c", "d"])])
def test_figures_of_single_labels_are_those_of_scikit_learn(task: str, classes: list[str]) -> None:
    cases, probabilities = _cases(task, classes)
    said = predictions_of(cases, probabilities, {"sick": 0.35} if task == "binary" else {})
    found = figures_with_intervals(cases, said, resamples=20)
    truth = [classes[int(label)] for label in cases.labels]
    scores = {
        "accuracy": sk.accuracy_score(truth, said.decisions),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, said.decisions),
        "macro_precision": sk.precision_score(truth, said.decisions, average="macro"),
        "macro_f1": sk.f1_score(truth, said.decisions, average="macro"),
        "ece": expected_calibration_error(probabilities.argmax(axis=1) == cases.labels, probabilities.max(axis=1)),
        "brier": brier(cases.labels, probabilities),
    }
    for name, value in scores.items():
        assert found.overall[name].value == pytest.approx(value, **EXACT), name
    for index, name in enumerate(classes):
        positive, called = np.array(truth) == name, np.array(said.decisions) == name
        one = found.classes[name]
        assert one["auc_roc"].value == pytest.approx(sk.roc_auc_score(positive, said.scores[:, index]), **EXACT)
        assert one["auc_pr"].value == pytest.approx(
            sk.average_precision_score(positive, said.scores[:, index]), **EXACT
        )
        assert one["sensitivity"].value == pytest.approx(sk.recall_score(positive, called), **EXACT)
        assert one["specificity"].value == pytest.approx(sk.recall_score(~positive, ~called), **EXACT)
        assert one["precision"].value == pytest.approx(sk.precision_score(positive, called), **EXACT)
        assert one["f1"].value == pytest.approx(sk.f1_score(positive, called), **EXACT)
        assert one["auc_roc"].low < one["auc_roc"].value < one["auc_roc"].high
    assert found.confusion["counts"] == sk.confusion_matrix(truth, said.decisions, labels=classes).tolist()
    lead = found.classes["sick"]["auc_pr"] if task == "binary" else found.overall["macro_auc_pr"]
    assert found.overall["auc_pr"] == lead


def test_findings_leave_out_what_is_not_known() -> None:
    classes = ["a", "b", "c"]
    cases, probabilities = _cases("multilabel", classes)
    said = predictions_of(cases, probabilities, dict.fromkeys(classes, 0.5))
    found = figures_with_intervals(cases, said, resamples=20)
    losses, briers = [], []
    for index, name in enumerate(classes):
        known = ~np.isnan(cases.labels[:, index])
        truth, score = cases.labels[known, index] == 1, probabilities[known, index]
        one = found.classes[name]
        assert one["auc_roc"].value == pytest.approx(sk.roc_auc_score(truth, score), **EXACT)
        assert one["auc_pr"].value == pytest.approx(sk.average_precision_score(truth, score), **EXACT)
        assert one["f1"].value == pytest.approx(sk.f1_score(truth, score >= 0.5), **EXACT)
        assert found.confusion["findings"][name] == sk.confusion_matrix(truth, score >= 0.5).tolist()
        losses.append(expected_calibration_error(truth, score))
        briers.append(sk.brier_score_loss(truth, score))
    assert found.overall["ece"].value == pytest.approx(np.mean(losses), **EXACT)
    assert found.overall["brier"].value == pytest.approx(np.mean(briers), **EXACT)
    complete = ~np.isnan(cases.labels).any(axis=1)
    exact = sk.accuracy_score(cases.labels[complete].astype(int), (probabilities[complete] >= 0.5).astype(int))
    assert found.overall["exact_match"].value == pytest.approx(exact, **EXACT)


def test_curves_under_weights_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    truth = rng.random(200) < 0.4
    score = np.round(rng.normal(truth, 1), 1)  # with ties
    weights = rng.integers(0, 4, (6, 200)).astype(float)
    ranked = Ranked(truth, score, specificities=[0.9])
    assert ranked.auc(weights) == pytest.approx(
        [sk.roc_auc_score(truth, score, sample_weight=row) for row in weights], **EXACT
    )
    assert ranked.average_precision(weights) == pytest.approx(
        [sk.average_precision_score(truth, score, sample_weight=row) for row in weights], **EXACT
    )
    threshold = threshold_at_specificity(truth, score, 0.9)
    expected = (score[truth] >= threshold).mean()
    assert ranked.sensitivity_at(0.9)(np.ones((1, 200)))[0] == pytest.approx(expected, **EXACT)


def test_patients_are_drawn_whole() -> None:
    """Ten images of each patient are hardly more evidence than one: their interval is much wider."""
    alone, probabilities = _cases("binary", ["well", "sick"], 400)
    repeated = Cases(
        *[[item for item in part for _ in range(10)] for part in (alone.names, alone.patients)],
        np.repeat(alone.labels, 10),
        [{}] * 4000,
        "binary",
        alone.classes,
        "sick",
    )
    strangers = Cases(
        repeated.names,
        [str(i) for i in range(4000)],
        *[getattr(repeated, name) for name in ("labels", "subgroups", "task", "classes", "positive")],
    )
    widths = []
    for cases in (repeated, strangers):
        area = figures_with_intervals(
            cases, predictions_of(cases, np.repeat(probabilities, 10, axis=0), {"sick": 0.5}), resamples=200
        ).overall["auc_roc"]
        widths.append(area.high - area.low)
    assert 2.5 < widths[0] / widths[1] < 4.0  # the square root of ten


def test_a_class_that_is_never_called_has_precision_zero_and_an_absent_one_none() -> None:
    cases, probabilities = _cases("multiclass", ["a", "b", "c"])
    probabilities[:, 1] = 0
    cases.labels[cases.labels == 2] = 0
    found = figures_with_intervals(cases, predictions_of(cases, probabilities, {}), resamples=20)
    assert found.classes["b"]["precision"].value == 0
    assert np.isnan(found.classes["c"]["auc_roc"].value) and found.to_dict()["classes"]["c"]["auc_roc"]["value"] is None


def test_nothing_to_judge_is_an_error() -> None:
    cases, probabilities = _cases("binary", ["well", "sick"])
    probabilities[3, 0] = np.nan
    with pytest.raises(ValueError, match="1 answers that are not numbers"):
        figures_with_intervals(cases, predictions_of(cases, probabilities, {}))


def test_ten_thousand_images_take_seconds() -> None:
    cases, probabilities = _cases("binary", ["well", "sick"], 10_000)
    said = predictions_of(cases, probabilities, {"sick": 0.5})
    start = time.perf_counter()
    figures_with_intervals(cases, said, resamples=200)
    assert time.perf_counter() - start < 5.0  # a loop over scikit-learn takes minutes


def test_grades_in_order_have_the_quadratic_kappa_of_scikit_learn() -> None:
    cases, probabilities = _cases("multiclass", ["a", "b", "c", "d"])
    answers = predictions_of(cases, probabilities, {})
    assert "quadratic_kappa" not in figures_with_intervals(cases, answers, resamples=2).overall
    found = figures_with_intervals(replace(cases, ordered=True), answers, resamples=200).overall["quadratic_kappa"]
    called = probabilities.argmax(axis=1)
    assert found.value == pytest.approx(sk.cohen_kappa_score(cases.labels, called, weights="quadratic"), **EXACT)
    assert found.low < found.value < found.high
    weights = np.random.default_rng(1).integers(0, 4, len(cases)).astype(float)
    expected = sk.cohen_kappa_score(cases.labels, called, weights="quadratic", sample_weight=weights)
    assert quadratic_kappa(cases.labels, called)(weights[None])[0] == pytest.approx(expected, **EXACT)


def test_the_kappa_of_one_grade_alone_does_not_exist() -> None:
    assert np.isnan(of_all(quadratic_kappa([2, 2, 2], [2, 2, 2]), 3))
    assert of_all(quadratic_kappa([0, 1, 2], [0, 1, 2]), 3) == 1.0
