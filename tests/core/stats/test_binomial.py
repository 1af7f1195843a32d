"""What a count of cases shows: Wilson's interval against scipy, and ranks that are safe whatever the scores."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgedx.core.stats.binomial import least_cases, safe_rank, wilson

stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize(("hits", "count"), [(0, 10), (10, 10), (7, 10), (95, 100), (1, 1), (599, 600)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_wilson_is_that_of_scipy(hits: int, count: int, level: float) -> None:
    own = wilson(hits / count, count, level)
    theirs = stats.binomtest(hits, count).proportion_ci(level, method="wilson")
    assert own.value == hits / count
    assert (own.low, own.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_of_no_cases_nothing_is_known() -> None:
    none = wilson(0.0, 0)
    assert math.isnan(none.value) and (none.low, none.high) == (0.0, 1.0)


@pytest.mark.parametrize("count", [1, 28, 29, 58, 59, 60, 92, 93, 124, 300, 2000])
@pytest.mark.parametrize("share", [0.9, 0.95, 0.99])
def test_the_safe_rank_is_the_greatest_by_scipy_s_binomial(count: int, share: float) -> None:
    rank = safe_rank(count, share, 0.95)
    assert rank == 0 or stats.binom.sf(rank - 1, count, 1 - share) >= 0.95 - 1e-12
    assert stats.binom.sf(rank, count, 1 - share) < 0.95
    assert (rank > 0) == (count >= least_cases(share, 0.95))


def test_least_cases_are_those_of_the_rule_of_three() -> None:
    assert [least_cases(share, 0.95) for share in (0.9, 0.95, 0.97, 0.99)] == [29, 59, 99, 299]


def test_over_samples_it_holds_as_often_as_it_says_and_the_naive_choice_does_not() -> None:
    """Truth is known: scores are uniform, so that the share at or above a threshold is 1 - threshold."""
    rng, count, share = np.random.default_rng(0), 200, 0.9
    scores = np.sort(rng.random((4000, count)), axis=1)
    held = 1 - scores[:, safe_rank(count, share, 0.95) - 1] >= share
    naive = 1 - scores[:, int(np.floor(count * (1 - share)))] >= share
    assert 0.945 <= held.mean() <= 0.985
    assert naive.mean() < 0.6
