"""Figures agree with scikit-learn, with the papers' formulas, and say NaN where they do not exist."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, recall_score, roc_auc_score, roc_curve

from edgedx.core.stats.metrics import (
    Interval,
    auc,
    brier,
    class_aucs,
    expected_calibration_error,
    fit_temperature,
    roc_auc,
    roc_points,
    sensitivity_specificity,
    threshold_at_sensitivity,
    youden_threshold,
)

BOTH = np.array([True, False])


def _cases(seed: int = 0, count: int = 200, decimals: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Truth and scores with many ties (11 values)."""
    rng = np.random.default_rng(seed)
    truth = rng.random(count) < 0.3
    return truth, np.round((rng.random(count) + 0.4 * truth) / 1.4, decimals)


def _softmax(logits: np.ndarray) -> np.ndarray:
    scaled = np.exp(logits - logits.max(axis=1, keepdims=True))
    return scaled / scaled.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("decimals", [1, 6], ids=["tied", "untied"])
@pytest.mark.parametrize("seed", range(3))
def test_auc_is_that_of_scikit_learn_with_and_without_ties(seed: int, decimals: int) -> None:
    truth, score = _cases(seed, decimals=decimals)
    assert roc_auc(truth, score) == pytest.approx(roc_auc_score(truth, score), abs=1e-12)


def test_auc_depends_on_ranks_alone() -> None:
    truth, score = _cases()
    assert roc_auc(truth, np.exp(5 * score)) == roc_auc(truth, score)


def test_a_score_that_says_nothing_has_an_auc_of_one_half() -> None:
    assert roc_auc([1, 0, 1, 0, 0], np.ones(5)) == 0.5


@pytest.mark.parametrize("truth", [[1, 1, 1], [0, 0, 0], []])
def test_auc_of_one_class_does_not_exist(truth: list[int]) -> None:
    assert math.isnan(roc_auc(truth, np.arange(len(truth))))


def test_binary_auc_is_of_the_class_named_positive() -> None:
    truth, score = _cases()
    chance = np.stack([score, np.zeros_like(score)], axis=1)  # column 1 is useless on purpose
    assert auc(np.where(truth, 0, 1), chance, "binary", positive=0) == pytest.approx(roc_auc_score(truth, score))


def test_multiclass_auc_is_the_macro_mean_of_one_against_the_rest() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 300)
    chance = _softmax(rng.normal(size=(300, 4)) + 1.5 * np.eye(4)[labels])
    assert auc(labels, chance, "multiclass") == pytest.approx(roc_auc_score(labels, chance, multi_class="ovr"))


def test_unknown_labels_are_left_out_of_each_finding_apart() -> None:
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, (200, 3)).astype(float)
    labels[rng.random(labels.shape) < 0.3] = np.nan
    chance = rng.random((200, 3))
    known = ~np.isnan(labels)
    expected = [roc_auc_score(labels[known[:, k], k], chance[known[:, k], k]) for k in range(3)]
    assert class_aucs(labels, chance, "multilabel") == pytest.approx(expected)
    assert auc(labels, chance, "multilabel") == pytest.approx(np.mean(expected))


@pytest.mark.filterwarnings("error")
def test_a_finding_without_an_auc_is_left_out_of_the_mean() -> None:
    labels = np.array([[1, 1], [0, 1], [1, 1], [0, 1]], float)
    chance = np.array([[0.9, 0.1], [0.2, 0.2], [0.8, 0.3], [0.1, 0.4]])
    assert auc(labels, chance, "multilabel") == 1.0
    assert math.isnan(auc(labels[:, 1:], chance[:, 1:], "multilabel"))


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.3, 0.5, 2.0])
def test_sensitivity_and_specificity_are_the_recalls_of_both_classes(threshold: float) -> None:
    truth, score = _cases()
    called = score >= threshold
    expected = (recall_score(truth, called), recall_score(~truth, ~called))
    assert sensitivity_specificity(truth, score, threshold) == pytest.approx(expected)


def test_sensitivity_without_sick_and_specificity_without_well_do_not_exist() -> None:
    sensitivity, specificity = sensitivity_specificity([0, 0], [0.1, 0.9], 0.5)
    assert math.isnan(sensitivity) and specificity == 0.5
    sensitivity, specificity = sensitivity_specificity([1, 1], [0.1, 0.9], 0.5)
    assert sensitivity == 0.5 and math.isnan(specificity)


def test_a_score_on_the_threshold_is_positive() -> None:
    assert sensitivity_specificity(BOTH, [0.5, 0.4], 0.5) == (1.0, 1.0)


def test_roc_points_are_those_of_scikit_learn() -> None:
    truth, score = _cases()
    false_rate, true_rate, thresholds = roc_curve(truth, score, drop_intermediate=False)
    own = roc_points(truth, score)
    np.testing.assert_allclose(own, [thresholds[1:], true_rate[1:], 1 - false_rate[1:]], atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_no_threshold_beats_youdens(seed: int) -> None:
    truth, score = _cases(seed, decimals=3)
    best = max(sum(sensitivity_specificity(truth, score, value)) for value in np.unique(score))
    chosen = youden_threshold(truth, score)
    assert sum(sensitivity_specificity(truth, score, chosen)) == pytest.approx(best)
    assert chosen not in score  # midway, so that the last bit of a score decides nothing


@pytest.mark.parametrize("target", [0.5, 0.8, 0.95, 1.0])
def test_the_threshold_at_a_sensitivity_has_the_best_specificity_there(target: float) -> None:
    truth, score = _cases(decimals=3)
    chosen = threshold_at_sensitivity(truth, score, target)
    sensitivity, specificity = sensitivity_specificity(truth, score, chosen)
    pairs = [sensitivity_specificity(truth, score, value) for value in np.unique(score)]
    assert sensitivity >= target
    assert specificity == pytest.approx(max(well for sick, well in pairs if sick >= target))


def test_thresholds_exist_even_where_all_scores_are_equal() -> None:
    assert youden_threshold(BOTH, [0.3, 0.3]) == 0.3
    assert threshold_at_sensitivity(BOTH, [0.3, 0.3], 0.95) == 0.3


def test_calibration_error_is_the_weighted_gap_of_each_bin() -> None:
    # Bins of a tenth: [0.9, 1] is right half of the time at 0.95, [0.6, 0.7) always at 0.65.
    assert expected_calibration_error([1, 0, 1, 1], [0.95, 0.95, 0.65, 0.65], bins=10) == pytest.approx(
        0.5 * abs(0.5 - 0.95) + 0.5 * abs(1.0 - 0.65)
    )


def test_certainty_belongs_to_the_last_bin() -> None:
    assert expected_calibration_error([1, 1], [1.0, 1.0]) == 0.0
    assert expected_calibration_error([0, 0], [1.0, 1.0]) == 1.0


def test_brier_of_two_classes_is_twice_scikit_learns() -> None:
    truth, score = _cases()
    assert brier(truth.astype(int), np.stack([1 - score, score], 1)) == pytest.approx(
        2 * brier_score_loss(truth, score)
    )


def test_brier_is_between_certainly_right_and_certainly_wrong() -> None:
    assert brier([2], [[0, 0, 1]]) == 0.0
    assert brier([2], [[1, 0, 0]]) == 2.0


def test_an_interval_reads_well() -> None:
    assert str(Interval(0.91234, 0.85, 0.96)) == "0.912 [0.850, 0.960]"


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_a_known_temperature_is_found(temperature: float) -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, (20_000, 3))
    labels = (rng.random(20_000)[:, None] > _softmax(honest).cumsum(axis=1)).sum(axis=1).clip(max=2)
    assert fit_temperature(honest * temperature, labels, "multiclass") == pytest.approx(temperature, rel=0.05)


def test_a_known_temperature_is_found_for_several_findings_with_unknown_labels() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, (20_000, 2))
    labels = (rng.random((20_000, 2)) < 1 / (1 + np.exp(-honest))).astype(float)
    labels[:5000, 0] = np.nan
    found = fit_temperature(honest * 2.5, labels, "multilabel")
    assert found == pytest.approx(2.5, rel=0.05)
    honest[:5000, 0] = 1000  # where the label is unknown, the logit plays no part
    assert fit_temperature(honest * 2.5, labels, "multilabel") == pytest.approx(found)


def test_a_temperature_stays_in_its_bounds() -> None:
    right, wrong = np.eye(2)[[0, 1]], np.eye(2)[[1, 0]]
    assert fit_temperature(right, [0, 1], "binary") == pytest.approx(0.05, rel=0.01)
    assert fit_temperature(wrong, [0, 1], "binary") == pytest.approx(20, rel=0.01)
