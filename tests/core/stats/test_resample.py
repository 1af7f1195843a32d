"""Figures of weighted images agree with scikit-learn, and resamples are of patients and paired."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import recall_score, roc_auc_score

from edgedx.core.stats.metrics import bootstrap, roc_auc
from edgedx.core.stats.resample import area, draw, mean_of, share

RNG = np.random.default_rng(0)
TRUTH = RNG.random(200) < 0.4
SCORE = np.round(RNG.normal(TRUTH, 1), 1)  # with ties


def test_a_weighted_area_is_that_of_scikit_learn() -> None:
    weights = RNG.integers(0, 4, (5, 200)).astype(float)
    expected = [roc_auc_score(TRUTH, SCORE, sample_weight=row) for row in weights]
    assert area(TRUTH, SCORE)(weights) == pytest.approx(expected)


def test_an_area_of_some_rows_leaves_out_the_others() -> None:
    rows = np.flatnonzero(RNG.random(200) < 0.5)
    assert area(TRUTH, SCORE, rows)(np.ones((1, 200)))[0] == pytest.approx(roc_auc_score(TRUTH[rows], SCORE[rows]))


def test_a_share_is_a_weighted_recall() -> None:
    weights = RNG.integers(0, 4, (5, 200)).astype(float)
    expected = [recall_score(TRUTH, SCORE > 0.5, sample_weight=row) for row in weights]
    assert share(SCORE > 0.5, TRUTH)(weights) == pytest.approx(expected)


@pytest.mark.filterwarnings("error")
def test_what_cannot_be_computed_is_not_a_number() -> None:
    ones = np.ones((2, 200))
    assert np.isnan(area(np.zeros(200, bool), SCORE)(ones)).all()
    assert np.isnan(area(TRUTH, np.where(SCORE > 2, np.nan, SCORE))(ones)).all()
    assert np.isnan(area(TRUTH, SCORE, np.array([], int))(ones)).all()
    assert np.isnan(share(TRUTH, np.zeros(200, bool))(ones)).all()
    assert np.isnan(mean_of([area(np.zeros(200, bool), SCORE)])(ones)).all()


def test_a_macro_mean_leaves_out_what_does_not_exist() -> None:
    ones = np.ones((1, 200))
    both = mean_of([area(TRUTH, SCORE), area(np.zeros(200, bool), SCORE)])
    assert both(ones)[0] == pytest.approx(roc_auc_score(TRUTH, SCORE))


def test_the_interval_is_that_of_the_plain_bootstrap() -> None:
    patients = [f"p{index // 2}" for index in range(200)]
    plain = bootstrap(lambda rows: roc_auc(TRUTH[rows], SCORE[rows]), patients, resamples=2000)
    found = draw({"auc": area(TRUTH, SCORE)}, patients, resamples=2000)["auc"].interval()
    assert found.value == pytest.approx(plain.value)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.006)


def test_copies_of_an_image_do_not_narrow_the_interval() -> None:
    copies = np.repeat(np.arange(200), 3)
    one = draw({"auc": area(TRUTH, SCORE)}, [str(index) for index in range(200)])["auc"].interval()
    many = draw({"auc": area(TRUTH[copies], SCORE[copies])}, [str(index) for index in copies])["auc"].interval()
    naive = draw({"auc": area(TRUTH[copies], SCORE[copies])}, [str(index) for index in range(600)])["auc"].interval()
    assert many.high - many.low == pytest.approx(one.high - one.low, abs=0.02)
    assert naive.high - naive.low < 0.7 * (many.high - many.low)


def test_a_difference_is_paired() -> None:
    """Two models that fail on the same images differ by less than chance moves each of them."""
    other = SCORE + RNG.normal(0, 0.1, 200)
    groups = [str(index) for index in range(200)]
    both = draw({"one": area(TRUTH, SCORE), "two": area(TRUTH, other)}, groups)
    drop = both["one"].minus(both["two"]).interval()
    alone = both["one"].interval()
    assert drop.value == pytest.approx(roc_auc(TRUTH, SCORE) - roc_auc(TRUTH, other))
    assert drop.high - drop.low < 0.3 * (alone.high - alone.low)
    assert drop.low <= both["one"].minus(both["two"]).upper() <= drop.high


def test_a_large_set_is_drawn_in_blocks_like_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = [str(index) for index in range(200)]
    whole = draw({"auc": area(TRUTH, SCORE)}, groups, resamples=50)["auc"]
    monkeypatch.setattr("edgedx.core.stats.resample._BLOCK", 200 * 7)
    parts = draw({"auc": area(TRUTH, SCORE)}, groups, resamples=50)["auc"]
    assert parts.samples == pytest.approx(whole.samples)


def test_a_figure_that_most_resamples_lack_has_no_interval() -> None:
    truth = np.zeros(20, bool)
    truth[0] = True
    rare = draw({"auc": area(truth, np.arange(20))}, [str(index) for index in range(20)])["auc"]
    assert not np.isnan(rare.interval().low)  # one of twenty is drawn in two of three resamples
    patients = ["a"] * 19 + ["b"]
    gone = draw({"auc": area(truth[::-1], np.arange(20))}, patients)["auc"]  # both are drawn in half of them
    assert np.isnan(gone.interval().low) or gone.samples[~np.isnan(gone.samples)].size > 500
