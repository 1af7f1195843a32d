"""Figures at a threshold: counted by hand, at other prevalences, with costs, and in the width of patients."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sites import drawn, finding

from edgedx.core.stats.binomial import wilson
from edgedx.core.stats.patients import independent_cases
from edgedx.device.threshold.cutoffs import Costs, all_thresholds, cutoff_at, finding_of, short_between

SICK = [True, True, True, True, False, False, False, False, False, False]
SCORE = [0.9, 0.8, 0.7, 0.2, 0.6, 0.5, 0.4, 0.3, 0.1, 0.1]


def test_counts_and_shares_are_those_of_the_table() -> None:
    found = cutoff_at(finding(SICK, SCORE), 0.55)
    assert (found.true_positives, found.missed, found.false_positives, found.true_negatives) == (3, 1, 1, 5)
    assert found.sensitivity == wilson(3 / 4, 4)
    assert found.specificity == wilson(5 / 6, 6)
    assert found.ppv == wilson(3 / 4, 4)
    assert found.npv == wilson(5 / 6, 6)
    assert found.called == wilson(4 / 10, 10)
    assert found.prevalence == 0.4 and found.cost_per_image is None


def test_a_score_that_is_the_threshold_is_positive() -> None:
    assert cutoff_at(finding(SICK, SCORE), 0.6).false_positives == 1
    assert cutoff_at(finding(SICK, SCORE), np.nextafter(0.6, 1)).false_positives == 0


def test_predictive_values_at_another_prevalence_are_bayes_and_their_interval_holds_the_corners() -> None:
    found = cutoff_at(drawn(100, 100, 1), 0.5, prevalence=0.05)
    a, b = found.sensitivity.value, found.specificity.value
    assert found.ppv.value == pytest.approx(0.05 * a / (0.05 * a + 0.95 * (1 - b)))
    assert found.npv.value == pytest.approx(0.95 * b / (0.95 * b + 0.05 * (1 - a)))
    assert found.called.value == pytest.approx(0.05 * a + 0.95 * (1 - b))
    low = 0.05 * found.sensitivity.low / (0.05 * found.sensitivity.low + 0.95 * (1 - found.specificity.low))
    assert found.ppv.low < low < found.ppv.value < found.ppv.high
    assert found.prevalence == 0.05


def test_the_interval_at_another_prevalence_holds_at_least_as_often_as_it_says() -> None:
    held, truth = 0, cutoff_at(drawn(200_000, 200_000, 99), 0.5, prevalence=0.1).ppv.value
    for seed in range(300):
        ppv = cutoff_at(drawn(60, 90, seed), 0.5, prevalence=0.1).ppv
        held += ppv.low <= truth <= ppv.high
    assert held / 300 >= 0.95


def test_costs() -> None:
    found = cutoff_at(finding(SICK, SCORE), 0.55, costs=Costs(image=2, test=10, miss=100))
    assert found.cost_per_image is not None and found.cost_per_case is not None
    assert found.cost_per_image.value == pytest.approx(2 + 0.4 * 10 + 0.1 * 100)
    assert found.cost_per_case.value == pytest.approx((2 + 0.4 * 10) / 0.3)
    assert found.cost_per_image.low < found.cost_per_image.value < found.cost_per_image.high
    nothing = cutoff_at(finding(SICK, SCORE), 0.99, costs=Costs(image=2, test=10))
    assert nothing.cost_per_case is not None and nothing.cost_per_case.value == math.inf
    assert nothing.to_dict()["cost_per_case"] == {"value": None, "low": nothing.cost_per_case.low, "high": None}


def test_images_of_one_patient_count_as_one_in_the_width() -> None:
    alone = cutoff_at(finding(SICK, SCORE), 0.55)
    pairs = cutoff_at(finding(SICK * 2, SCORE * 2, [str(n) for n in range(10)] * 2), 0.55)
    assert pairs.true_positives == 6
    assert (pairs.sensitivity, pairs.specificity, pairs.ppv) == (alone.sensitivity, alone.specificity, alone.ppv)


def test_independent_cases_are_those_of_kish() -> None:
    assert independent_cases([0, 1, 2]) == 3
    assert independent_cases([5, 5, 5]) == 1
    assert independent_cases([0, 0, 0, 1]) == pytest.approx(16 / 10)
    assert independent_cases([]) == 0


def test_every_threshold_decides_differently_and_all_are_there() -> None:
    values = finding(SICK, SCORE)
    thresholds = all_thresholds(values.score)
    called = [tuple(values.score >= one) for one in thresholds]
    assert {type(one) for one in thresholds} == {float}, "a person types what repr shows"
    assert thresholds == sorted(thresholds)
    assert len(set(called)) == len(called) == len(set(SCORE)) + 1
    assert all(called[0]) and not any(called[-1])
    many = all_thresholds(np.random.default_rng(0).random(5000), most=100)
    assert len(many) == 101 and many == sorted(many)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.2, 0.4, 0.3), (0.112, 0.113, 0.1125), (0.0, 0.05, 0.02), (0.3, 0.3000001, 0.30000005)],
)
def test_a_threshold_is_short_and_between_two_scores(low: float, high: float, expected: float) -> None:
    value = short_between(low, high)
    assert low < value <= high and value == pytest.approx(expected, abs=(high - low) / 4)
    assert len(repr(value)) <= 13


def test_where_there_is_no_room_it_is_the_higher_score_itself() -> None:
    low = 0.7
    high = float(np.nextafter(low, 1))
    assert short_between(low, high) == high
    assert short_between(1.0, 1.0, above=True) > 1.0


def test_unknown_findings_are_left_out() -> None:
    from edgedx.core.stats.cases import Cases

    labels = np.array([[1, np.nan], [0, 1], [np.nan, 0]])
    cases = Cases(["a", "b", "c"], ["a", "b", "c"], labels, [{}, {}, {}], "multilabel", ["x", "y"])
    only = finding_of(cases, np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]), "y")
    assert only.present.tolist() == [True, False] and only.score.tolist() == [0.8, 0.5]
    assert only.patients.tolist() == ["b", "c"]
