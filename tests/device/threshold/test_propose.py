"""Proposals: they keep what they promise over resampled sites, and say how many more where they cannot."""

from __future__ import annotations

import numpy as np
import pytest
from sites import drawn, finding

from edgedx.core.errors import DataError, UsageError
from edgedx.device.threshold.cutoffs import Costs, cutoff_at
from edgedx.device.threshold.propose import Target, lowest_of_patients, patients_missing, propose, shows_sensitivity

AT_90 = Target("sensitivity", 0.9)


def test_over_sites_the_promised_sensitivity_is_there_on_everybody_else() -> None:
    rng = np.random.default_rng(7)
    everybody = np.concatenate([rng.beta(4, 2, 200_000)])
    reached = 0
    for seed in range(400):
        threshold = propose(drawn(80, 80, seed), AT_90).threshold
        reached += (everybody >= threshold).mean() >= 0.9
    assert reached / 400 >= 0.93  # 0.95 less three standard errors of 400 sites


def test_it_is_the_highest_threshold_that_is_shown() -> None:
    site = drawn(120, 100, 3)
    found = propose(site, AT_90, before=0.5)
    assert shows_sensitivity(site, found.threshold, AT_90)
    above = np.sort(site.score[site.present & (site.score > found.threshold)])[1]
    assert not shows_sensitivity(site, float(above), AT_90)
    assert found.before is not None and found.before.threshold == 0.5
    assert found.cutoff.sensitivity.value > 0.9


@pytest.mark.parametrize(("cases", "more"), [(0 + 1, 28), (20, 9), (28, 1)])
def test_too_few_patients_and_how_many_more(cases: int, more: int) -> None:
    with pytest.raises(DataError, match=f"{cases} patients with bright are too few.*29 are the least") as caught:
        propose(drawn(cases, 50, 0), AT_90)
    assert caught.value.next_step is not None and f"{more} more patients" in caught.value.next_step
    assert patients_missing(drawn(cases, 50, 0), AT_90) == more
    propose(drawn(29, 50, 0), AT_90)


def test_patients_count_and_not_their_images() -> None:
    site = drawn(20, 20, 0)
    patients = [str(number // 2) for number in range(40)]
    twice = finding(site.present.tolist(), site.score.tolist(), patients)
    assert lowest_of_patients(twice).size == 10
    with pytest.raises(DataError, match="10 patients with bright"):
        propose(twice, AT_90)
    lowest = [min(site.score[2 * number : 2 * number + 2]) for number in range(10)]
    assert lowest_of_patients(twice).tolist() == sorted(lowest)


def test_scores_that_tie_are_found_together() -> None:
    site = finding([True] * 60 + [False] * 40, [0.5] * 60 + [0.1] * 40)
    found = propose(site, AT_90)
    assert 0.1 < found.threshold <= 0.5 and found.cutoff.missed == 0


def test_a_model_that_gives_nothing_to_cases_gets_no_threshold() -> None:
    with pytest.raises(DataError, match="probability of 0"):
        propose(finding([True] * 40 + [False] * 10, [0.0] * 40 + [0.5] * 10), AT_90)


def test_the_cheapest_is_the_least_of_all_thresholds() -> None:
    site, costs = drawn(80, 120, 5), Costs(image=1, test=4, miss=30)
    target = Target("cost", costs=costs, prevalence=0.2)
    found = propose(site, target)
    every = [cutoff_at(site, float(value), prevalence=0.2, costs=costs) for value in np.unique(site.score)]
    least = min(one.cost_per_image.value for one in every if one.cost_per_image)
    assert found.cutoff.cost_per_image is not None
    assert found.cutoff.cost_per_image.value == pytest.approx(least)
    assert found.moves is not None and found.moves.low < found.threshold < found.moves.high
    assert propose(site, target) == found


@pytest.mark.parametrize(
    ("costs", "whom"), [(Costs(test=1, miss=1e6), "everybody"), (Costs(test=1, miss=0.1), "nobody")]
)
def test_costs_for_which_the_model_is_of_no_use_are_told(costs: Costs, whom: str) -> None:
    with pytest.raises(DataError, match=f"test {whom}"):
        propose(finding([True, False] * 40, [0.2, 0.3, 0.8, 0.6] * 20), Target("cost", costs=costs, prevalence=0.3))


@pytest.mark.parametrize("prevalence", [None, 0.1])
def test_no_more_positives_than_asked_for(prevalence: float | None) -> None:
    site, target = drawn(100, 300, 2), Target("positives", 0.3, prevalence=prevalence)
    found = propose(site, target)
    assert found.cutoff.called.high <= 0.3
    lower = float(site.score[site.score < found.threshold].max())
    assert cutoff_at(site, lower, prevalence=prevalence).called.high > 0.3


def test_so_few_positives_need_more_images() -> None:
    with pytest.raises(DataError, match="20 images are too few"):
        propose(drawn(10, 10, 0), Target("positives", 0.01))


def test_without_both_kinds_of_images_nothing_is_proposed() -> None:
    with pytest.raises(DataError, match="no labelled image has bright"):
        propose(finding([False] * 9, [0.1] * 9), AT_90)
    with pytest.raises(DataError, match="every labelled image has bright"):
        propose(finding([True] * 9, [0.1] * 9), AT_90)


@pytest.mark.parametrize(
    "wrong",
    [
        ("sensitivity", 1.0),
        ("sensitivity", 0.0),
        ("given", 1.0),
        ("given", float("nan")),
        ("positives", 1.2),
        ("cost", 0.0),
    ],
)
def test_targets_that_cannot_be_are_refused(wrong: tuple) -> None:
    with pytest.raises(UsageError):
        Target(*wrong)
    with pytest.raises(UsageError, match="prevalence"):
        Target("given", 0.5, prevalence=1.5)
