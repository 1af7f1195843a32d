"""How many patients have it: against the truth, and against QuaPy."""

from __future__ import annotations

import numpy as np
import pytest
from monitored import chances

from edgedx.core.stats.prevalence import (
    corrected,
    expected_accuracy,
    predictive_values,
    prevalence,
    prevalence_interval,
)


def told(count: int, share: float, seed: int) -> np.ndarray:
    _, chance = chances(count, share, np.random.default_rng(seed))
    return np.stack([1 - chance, chance], axis=1)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.9])
def test_the_share_of_patients_is_found_wherever_it_is(share: float) -> None:
    assert prevalence(told(20_000, share, 1), [0.5, 0.5])[1] == pytest.approx(share, abs=0.02)


def test_its_interval_holds_it_as_often_as_it_says() -> None:
    held = 0
    for seed in range(200):
        found = prevalence_interval([(told(200, 0.2, seed), [0.5, 0.5])], resamples=100)[1]
        held += found.low <= 0.2 <= found.high
        assert found.low <= found.value <= found.high
    assert held >= 180  # 95 % of 200, and the noise of 200


def test_corrections_that_differ_widen_it() -> None:
    values = told(300, 0.3, 2)
    alone = prevalence_interval([(values, [0.5, 0.5])])[1]
    others = [(corrected(values, [1, 1], [0, bias], "binary"), [0.5, 0.5]) for bias in (-0.5, 0.0, 0.5)]
    widened = prevalence_interval([(values, [0.5, 0.5]), *others])[1]
    assert widened.value == alone.value and widened.high - widened.low > 1.2 * (alone.high - alone.low)


def test_a_correction_shifts_and_scales_odds() -> None:
    values = np.array([[0.2, 0.8], [0.5, 0.5]])
    same = corrected(values, [1, 1], [0, 0], "binary")
    assert same == pytest.approx(values) and corrected(values, [1, 1], [0, 0], "multilabel") == pytest.approx(values)
    moved = corrected(values, [2, 2], [0, 1], "binary")
    assert moved.sum(axis=1) == pytest.approx([1, 1])
    assert np.log(moved[0, 1] / moved[0, 0]) == pytest.approx(2 * np.log(4) + 1)
    assert np.isfinite(corrected([[0.0, 1.0]], [1, 1], [0, 0], "multilabel")).all()


@pytest.mark.slow
def test_it_is_what_quapy_finds() -> None:
    pytest.importorskip("quapy")
    from quapy.method.aggregative import EMQ

    for share in (0.1, 0.4, 0.8):
        values = told(500, share, 3)
        other, _ = EMQ.EM(np.array([0.5, 0.5]), values, epsilon=1e-8)
        assert prevalence(values, [0.5, 0.5]) == pytest.approx(other, abs=1e-3)


def test_what_an_answer_is_worth_follows_bayes() -> None:
    ppv, npv = predictive_values(0.9, 0.8, 0.1)
    assert ppv == pytest.approx(0.09 / (0.09 + 0.18)) and npv == pytest.approx(0.72 / (0.72 + 0.01))
    assert np.isnan(predictive_values(0.0, 1.0, 0.5)[0])


def test_accuracy_without_labels_is_right_where_probabilities_are() -> None:
    present, chance = chances(4000, 0.5, np.random.default_rng(4))
    called = chance >= 0.5
    found = expected_accuracy(chance, called)
    assert found.sensitivity.value == pytest.approx(called[present].mean(), abs=0.02)
    assert found.specificity.value == pytest.approx((~called)[~present].mean(), abs=0.02)
    assert found.sensitivity.low < found.sensitivity.value < found.sensitivity.high
