"""Drift statistics against scipy's, and the noise that pure sampling makes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from edgedx.core.stats.binomial import wilson
from edgedx.core.stats.charts import chart, limit_for
from edgedx.core.stats.drift import (
    category_shift,
    chi_square_p,
    distance,
    holm,
    kolmogorov_p,
    number_floor,
    number_shift,
    quantile_grid,
    share_below,
    turning_point,
)

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0])
def test_distance_to_a_whole_sample_is_that_of_scipy(shift: float) -> None:
    kept, window = RNG.normal(size=201), RNG.normal(shift, 1, 280)
    # A grid with a step for each value is the sample, but for its steps being ramps: no more than one step apart.
    assert distance(np.sort(kept), window) == pytest.approx(stats.ks_2samp(kept, window).statistic, abs=1 / 200)


def test_values_that_many_images_share_are_no_drift() -> None:
    """A third of all images has exactly no clipped pixel: both samples jump there."""
    kept = np.where(RNG.random(4000) < 0.35, 0.0, RNG.random(4000))
    window = np.where(RNG.random(3000) < 0.35, 0.0, RNG.random(3000))
    assert distance(quantile_grid(kept, 201), window) < 0.05
    assert share_below([0, 0, 0, 1, 2], [0.0, 0.5]) == pytest.approx([0.5, 0.625])
    assert share_below([0, 0, 0, 1, 2], [0.0, 0.5, 3.0], inclusive=False) == pytest.approx([0, 0.625, 1])
    assert distance([1.0, 1.0], [1.0] * 50) == 0 and distance([1.0, 1.0], [2.0] * 50) == 1


@pytest.mark.parametrize("sizes", [(200, 200), (280, 357), (1000, 500)])
def test_p_values_are_those_of_scipy(sizes: tuple[int, int]) -> None:
    for apart in (0.05, 0.1, 0.15, 0.2):
        exact = stats.ks_2samp(*_apart(apart, sizes), method="exact")
        assert kolmogorov_p(exact.statistic, *sizes) == pytest.approx(exact.pvalue, rel=0.3)
    for value, freedom in ((0.3, 7), (3.0, 1), (12.3, 4), (60.0, 9), (400.0, 3)):
        assert chi_square_p(value, freedom) == pytest.approx(stats.chi2.sf(value, freedom), rel=1e-9)


def _apart(statistic: float, sizes: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Two samples with that distance: one is moved against the other."""
    one, other = (np.arange(size) / size for size in sizes)
    return one, other + statistic


def test_the_noise_floor_is_what_sampling_does() -> None:
    grid = quantile_grid(RNG.normal(size=100_000), 201)
    floor = number_floor(grid, 400, 250)
    drawn = [stats.ks_2samp(RNG.normal(size=400), RNG.normal(size=250)).statistic for _ in range(400)]
    assert np.quantile(drawn, 0.97) < floor < np.quantile(drawn, 1.0) + 0.02
    assert number_floor(grid, 400, 1000) < floor < number_floor(grid, 100, 100)


def test_under_no_change_p_is_uniform_enough_and_a_change_is_seen() -> None:
    p = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        grid = quantile_grid(rng.normal(size=400), 201)
        p.append(number_shift(grid, 400, rng.normal(size=250), resamples=0).p)
    assert np.mean(np.array(p) < 0.05) <= 0.09 and np.mean(np.array(p) < 0.5) > 0.3
    found = number_shift(quantile_grid(RNG.normal(size=400), 201), 400, RNG.normal(0.6, 1, 250))
    assert found.p < 1e-6 and found.effect > found.floor > 0.05


def test_categories_are_compared_as_scipy_does_and_rare_ones_together() -> None:
    kept, seen = {"PA": 300, "AP": 100}, {"PA": 150, "AP": 130}
    found = category_shift(kept, seen)
    expected = stats.chi2_contingency([[300, 100], [150, 130]], correction=False)
    assert found is not None and found.p == pytest.approx(expected.pvalue)
    assert found.effect == pytest.approx(np.sqrt(expected.statistic / 680)) and found.effect > found.floor > 0
    rare = category_shift(
        {"PA": 300, **{f"x{k}": 1 for k in range(20)}}, {"PA": 190, **{f"y{k}": 1 for k in range(10)}}
    )
    assert rare is not None and rare.p > 0.05  # twenty categories that nobody saw twice are no drift
    assert category_shift({"PA": 300}, {"PA": 10}) is None and category_shift({"PA": 3}, {}) is None


def test_holm_is_never_below_the_plain_p_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == [] and holm([0.9, 0.8]) == [1.0, 1.0]


def test_the_turning_point_is_found_and_not_made_up() -> None:
    series = np.concatenate([RNG.normal(size=120), RNG.normal(2, 1, 60)])
    place = turning_point(series)
    assert place is not None and abs(place - 120) <= 5
    assert turning_point(np.zeros(100)) is None and turning_point([1, 2]) is None
    assert sum(turning_point(np.random.default_rng(seed).normal(size=200)) is not None for seed in range(100)) <= 4


def test_a_chart_sums_small_evidence_and_stays_quiet_without_any() -> None:
    limit = limit_for(365.25 * 2)
    rng, alarms = np.random.default_rng(0), 0
    for _ in range(100):  # years
        days = [(int(rng.binomial(40, 0.1)), 40) for _ in range(365)]
        alarms += chart(days, 0.1, up=True, limit=limit).alarm
    assert alarms <= 20  # fewer than one in two years
    doubled = [(4, 40)] * 30 + [(8, 40)] * 10
    found = chart(doubled, 0.1, up=True, limit=limit)
    assert found.alarm and found.begun == 30
    assert not chart(doubled, 0.1, up=False, limit=limit).alarm
    assert chart([(4, 40)] * 9, 0.2, up=False, limit=limit).alarm
    assert not chart([], 0.0, up=True, limit=limit).alarm and not chart([(0, 0)] * 5, 1.0, up=False, limit=limit).alarm


def test_wilson_is_that_of_scipy() -> None:
    exact = stats.binomtest(17, 60).proportion_ci(method="wilson")
    own, none = wilson(17 / 60, 60), wilson(0.0, 0)
    assert (own.low, own.high) == pytest.approx((exact.low, exact.high), abs=1e-6)
    assert (none.low, none.high) == (0.0, 1.0)
