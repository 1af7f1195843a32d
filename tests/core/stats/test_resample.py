"""Figures of weighted images agree with scikit-learn, and resamples are of patients and paired."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import recall_score, roc_auc_score

from edgedx.core.stats.metrics import expected_calibration_error, roc_auc
from edgedx.core.stats.resample import draw
from edgedx.core.stats.weighted import Ranked, calibration_error, mean_of, mean_of_values, share

RNG = np.random.default_rng(0)
TRUTH = RNG.random(200) < 0.4
SCORE = np.round(RNG.normal(TRUTH, 1), 1)  # with ties


def test_a_weighted_area_is_that_of_scikit_learn() -> None:
    weights = RNG.integers(0, 4, (5, 200)).astype(float)
    expected = [roc_auc_score(TRUTH, SCORE, sample_weight=row) for row in weights]
    assert Ranked(TRUTH, SCORE).auc(weights) == pytest.approx(expected)


def test_an_area_of_some_rows_leaves_out_the_others() -> None:
    rows = np.flatnonzero(RNG.random(200) < 0.5)
    assert Ranked(TRUTH, SCORE, rows).auc(np.ones((1, 200)))[0] == pytest.approx(
        roc_auc_score(TRUTH[rows], SCORE[rows])
    )


def test_a_share_is_a_weighted_recall() -> None:
    weights = RNG.integers(0, 4, (5, 200)).astype(float)
    expected = [recall_score(TRUTH, SCORE > 0.5, sample_weight=row) for row in weights]
    assert share(SCORE > 0.5, TRUTH)(weights) == pytest.approx(expected)


@pytest.mark.filterwarnings("error")
def test_what_cannot_be_computed_is_not_a_number() -> None:
    ones = np.ones((2, 200))
    assert np.isnan(Ranked(np.zeros(200, bool), SCORE).auc(ones)).all()
    assert np.isnan(Ranked(TRUTH, np.where(SCORE > 2, np.nan, SCORE)).auc(ones)).all()
    assert np.isnan(Ranked(TRUTH, SCORE, np.array([], int)).auc(ones)).all()
    assert np.isnan(share(TRUTH, np.zeros(200, bool))(ones)).all()
    assert np.isnan(mean_of([Ranked(np.zeros(200, bool), SCORE).auc])(ones)).all()


def test_a_macro_mean_leaves_out_what_does_not_exist() -> None:
    ones = np.ones((1, 200))
    both = mean_of([Ranked(TRUTH, SCORE).auc, Ranked(np.zeros(200, bool), SCORE).auc])
    assert both(ones)[0] == pytest.approx(roc_auc_score(TRUTH, SCORE))


def test_the_interval_is_that_of_the_plain_bootstrap() -> None:
    patients = [f"p{index // 2}" for index in range(200)]
    rng, drawn = np.random.default_rng(1), []  # drawn and counted one by one
    for _ in range(2000):
        rows = np.concatenate([[2 * patient, 2 * patient + 1] for patient in rng.integers(0, 100, 100)])
        drawn.append(roc_auc_score(TRUTH[rows], SCORE[rows]))
    found = draw({"auc": Ranked(TRUTH, SCORE).auc}, patients, resamples=2000)["auc"].interval()
    assert found.value == pytest.approx(roc_auc_score(TRUTH, SCORE))
    assert (found.low, found.high) == pytest.approx(np.percentile(drawn, [2.5, 97.5]).tolist(), abs=0.008)


def test_copies_of_an_image_do_not_narrow_the_interval() -> None:
    copies = np.repeat(np.arange(200), 3)
    one = draw({"auc": Ranked(TRUTH, SCORE).auc}, [str(index) for index in range(200)])["auc"].interval()
    many = draw({"auc": Ranked(TRUTH[copies], SCORE[copies]).auc}, [str(index) for index in copies])["auc"].interval()
    naive = draw({"auc": Ranked(TRUTH[copies], SCORE[copies]).auc}, [str(index) for index in range(600)])[
        "auc"
    ].interval()
    assert many.high - many.low == pytest.approx(one.high - one.low, abs=0.02)
    assert naive.high - naive.low < 0.7 * (many.high - many.low)


def test_an_interval_of_a_mean_has_the_width_that_theory_gives() -> None:
    values = np.random.default_rng(0).normal(5, 2, 400)
    patients = [str(index) for index in range(400)]
    draws = draw({"mean": mean_of_values(values)}, patients, resamples=2000)["mean"]
    wide, narrow = draws.interval(), draws.interval(0.5)
    assert wide.value == pytest.approx(values.mean())
    assert wide.high - wide.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert wide.low < narrow.low < narrow.high < wide.high
    again = draw({"mean": mean_of_values(values)}, patients, resamples=2000)["mean"]
    assert again.interval() == wide, "the same seed, the same interval"


def test_patients_need_no_order() -> None:
    seen: list[list[float]] = []

    def record(weights: np.ndarray) -> np.ndarray:
        seen.extend(weights.tolist())
        return weights[:, 0]

    draw({"x": record}, ["b", "a", "b", "a"], resamples=50)
    assert {tuple(row) for row in seen} == {(1, 1, 1, 1), (2, 0, 2, 0), (0, 2, 0, 2)}


def test_calibration_error_of_weighted_images_is_that_of_copies() -> None:
    rng = np.random.default_rng(0)
    sure, right = rng.random(60), rng.random(60) < 0.5
    weights = rng.integers(0, 3, (4, 60))
    expected = [expected_calibration_error(np.repeat(right, row), np.repeat(sure, row)) for row in weights]
    assert calibration_error(right, sure)(weights.astype(float)) == pytest.approx(expected)


def test_a_difference_is_paired() -> None:
    """Two models that fail on the same images differ by less than chance moves each of them."""
    other = SCORE + RNG.normal(0, 0.1, 200)
    groups = [str(index) for index in range(200)]
    both = draw({"one": Ranked(TRUTH, SCORE).auc, "two": Ranked(TRUTH, other).auc}, groups)
    drop = both["one"].minus(both["two"]).interval()
    alone = both["one"].interval()
    assert drop.value == pytest.approx(roc_auc(TRUTH, SCORE) - roc_auc(TRUTH, other))
    assert drop.high - drop.low < 0.3 * (alone.high - alone.low)
    assert drop.low <= both["one"].minus(both["two"]).upper() <= drop.high


def test_a_large_set_is_drawn_in_blocks_like_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = [str(index) for index in range(200)]
    whole = draw({"auc": Ranked(TRUTH, SCORE).auc}, groups, resamples=50)["auc"]
    monkeypatch.setattr("edgedx.core.stats.resample._BLOCK", 200 * 7)
    parts = draw({"auc": Ranked(TRUTH, SCORE).auc}, groups, resamples=50)["auc"]
    assert parts.samples == pytest.approx(whole.samples)


def test_a_figure_that_most_resamples_lack_has_no_interval() -> None:
    truth = np.zeros(20, bool)
    truth[0] = True
    rare = draw({"auc": Ranked(truth, np.arange(20)).auc}, [str(index) for index in range(20)])["auc"]
    assert not np.isnan(rare.interval().low)  # one of twenty is drawn in two of three resamples
    patients = ["a"] * 19 + ["b"]
    gone = draw({"auc": Ranked(truth[::-1], np.arange(20)).auc}, patients)["auc"]  # both are drawn in half of them
    assert np.isnan(gone.interval().low) or gone.samples[~np.isnan(gone.samples)].size > 500
