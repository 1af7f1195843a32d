"""Tests of two models, against definitions written out separately, scipy, and worked numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from edgedx.core.stats.metrics import roc_auc
from edgedx.lab.evidence.compare.significance import cohen_dz, delong, holm, mcnemar, rank_biserial


def _cases(seed: int, count: int = 90, ties: bool = False) -> tuple[np.ndarray, list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    truth = rng.random(count) < 0.4
    common = rng.normal(size=count)
    scores = [common + strength * truth + rng.normal(size=count) for strength in (0.3, 0.9, 1.4)]
    return truth, [np.round(one) if ties else one for one in scores]


def _brute_delong(truth: np.ndarray, scores: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """DeLong 1988 as it is written: every pair of a sick and a well image, O(m n), no ranks."""
    v10, v01 = [], []
    for score in scores:
        x, y = score[truth], score[~truth]
        psi = np.array([[1.0 if a > b else 0.5 if a == b else 0.0 for b in y] for a in x])
        v10.append(psi.mean(axis=1))
        v01.append(psi.mean(axis=0))
    areas = np.array([one.mean() for one in v10])
    return areas, np.cov(np.array(v10)) / truth.sum() + np.cov(np.array(v01)) / (~truth).sum()


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_delong_by_ranks_is_delong_by_pairs(seed: int, ties: bool) -> None:
    truth, scores = _cases(seed, ties=ties)
    found = delong(truth, scores)
    areas, covariance = _brute_delong(truth, scores)
    np.testing.assert_allclose(found.values, areas, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.covariance, covariance, rtol=0, atol=1e-12)
    variance = covariance[0, 0] + covariance[2, 2] - 2 * covariance[0, 2]
    test = found.test(0, 2)
    z = (areas[2] - areas[0]) / math.sqrt(variance)
    assert test.z == pytest.approx(z, abs=1e-9) and test.p == pytest.approx(2 * stats.norm.sf(abs(z)), abs=1e-9)
    reach = stats.norm.ppf(0.975) * math.sqrt(variance)
    assert test.difference.low == pytest.approx(areas[2] - areas[0] - reach, abs=1e-9)
    assert test.difference.high == pytest.approx(areas[2] - areas[0] + reach, abs=1e-9)
    assert found.values[1] == pytest.approx(roc_auc(truth, scores[1]), abs=1e-12)
    assert found.test(2, 0).z == -test.z and found.test(2, 0).p == test.p


def test_delong_by_hand() -> None:
    """Two sick (3, 1) and two well (2, 0): V10 = (1, 1/2), V01 = (1/2, 1); 1/8 / 2 + 1/8 / 2 = 1/8."""
    found = delong([1, 1, 0, 0], [[3.0, 1.0, 2.0, 0.0], [3.0, 2.0, 1.0, 0.0]])
    assert found.values.tolist() == [0.75, 1.0]
    assert found.covariance.tolist() == [[0.125, 0.0], [0.0, 0.0]]
    assert found.test(0, 1).z == pytest.approx(0.25 / math.sqrt(0.125))
    assert found.interval(1).low == found.interval(1).high == 1.0


def test_a_model_against_itself_is_no_difference_and_what_has_no_variance_is_not_tested() -> None:
    truth, scores = _cases(0)
    same = delong(truth, [scores[0], scores[0] * 3 + 1]).test(0, 1)
    assert (same.p, same.z, same.difference.low) == (1.0, 0.0, 0.0)
    perfect = delong(truth, [np.zeros(len(truth)), truth.astype(float)]).test(0, 1)
    assert perfect.difference.value == 0.5 and math.isnan(perfect.p) and perfect.to_dict()["p"] is None
    assert math.isnan(delong(np.ones(5, bool), [np.arange(5.0)] * 2).test(0, 1).p)
    assert math.isnan(delong([1, 0, 0, 0], [np.arange(4.0)] * 2).test(0, 1).p)  # one sick image has no variance


def _brute_clustered(truth: np.ndarray, scores: list[np.ndarray], groups: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Obuchowski 1997, equations 2 to 5, in loops over patients."""
    m, n = int(truth.sum()), int((~truth).sum())
    areas, x, y = [], [], []
    patients = sorted(set(groups))
    for score in scores:
        psi = lambda a, b: float(a > b) + 0.5 * float(a == b)  # noqa: E731
        v10 = {i: sum(psi(score[i], b) for b in score[~truth]) / n for i in np.flatnonzero(truth)}
        v01 = {i: sum(psi(a, score[i]) for a in score[truth]) / m for i in np.flatnonzero(~truth)}
        area = sum(v10.values()) / m
        areas.append(area)
        x.append([sum(v10[i] - area for i in v10 if groups[i] == patient) for patient in patients])
        y.append([sum(v01[i] - area for i in v01 if groups[i] == patient) for patient in patients])
    clusters = len(patients)
    sick = len({groups[i] for i in np.flatnonzero(truth)})
    well = len({groups[i] for i in np.flatnonzero(~truth)})
    found = np.zeros((len(scores), len(scores)))
    for r in range(len(scores)):
        for s in range(len(scores)):
            s10 = sick / ((sick - 1) * m) * sum(a * b for a, b in zip(x[r], x[s], strict=True))
            s01 = well / ((well - 1) * n) * sum(a * b for a, b in zip(y[r], y[s], strict=True))
            s11 = clusters / (clusters - 1) * sum(a * b for a, b in zip(x[r], y[s], strict=True))
            s11_turned = clusters / (clusters - 1) * sum(a * b for a, b in zip(x[s], y[r], strict=True))
            found[r, s] = s10 / m + s01 / n + (s11 + s11_turned) / (m * n)
    return np.array(areas), found


def test_patients_with_several_images_are_obuchowskis_clusters() -> None:
    truth, scores = _cases(1)
    groups = [f"p{index // 3}" for index in range(len(truth))]
    found = delong(truth, scores, groups)
    areas, covariance = _brute_clustered(truth, scores, groups)
    np.testing.assert_allclose(found.values, areas, atol=1e-12)
    np.testing.assert_allclose(found.covariance, covariance, rtol=0, atol=1e-12)
    alone = delong(truth, scores, [str(index) for index in range(len(truth))])
    np.testing.assert_array_equal(alone.covariance, delong(truth, scores).covariance)


def test_copies_of_every_image_prove_nothing_more_when_they_are_known_to_be_copies() -> None:
    truth, scores = _cases(2)
    groups = [str(index) for index in range(len(truth))]
    once = delong(truth, scores).test(0, 1)
    three = [np.repeat(one, 3) for one in scores]
    known = delong(np.repeat(truth, 3), three, np.repeat(groups, 3).tolist()).test(0, 1)
    naive = delong(np.repeat(truth, 3), three).test(0, 1)
    assert known.p == pytest.approx(once.p, rel=0.05) and naive.p < 0.5 * once.p


def test_delong_keeps_its_level_where_models_are_equally_good() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        truth = np.arange(120) % 3 == 0
        common = rng.normal(size=120) + truth
        hits += delong(truth, [common + rng.normal(size=120), common + rng.normal(size=120)]).test(0, 1).p < 0.05
    assert 8 <= hits <= 36  # 20 expected


@pytest.mark.parametrize(("b", "c"), [(1, 5), (0, 3), (10, 10), (12, 12), (0, 24)])
def test_few_discordant_images_make_an_exact_binomial_test(b: int, c: int) -> None:
    found = mcnemar([True] * b + [False] * c + [True] * 9, [False] * b + [True] * c + [True] * 9)
    assert found.exact and (found.only_first, found.only_second) == (b, c)
    assert found.p == pytest.approx(stats.binomtest(b, b + c, 0.5).pvalue, abs=1e-12)


def test_many_discordant_images_make_a_corrected_chi_squared_test() -> None:
    """Agresti, Categorical Data Analysis, table 10.1: 1600 people asked twice, 150 and 86 changed their minds."""
    first = [True] * 794 + [True] * 150 + [False] * 86 + [False] * 570
    second = [True] * 794 + [False] * 150 + [True] * 86 + [False] * 570
    found = mcnemar(first, second)
    assert not found.exact and found.statistic == pytest.approx(63**2 / 236)
    assert found.p == pytest.approx(stats.chi2.sf(63**2 / 236, 1), rel=1e-9)
    assert found.odds_ratio.value == pytest.approx(86 / 150)
    same = mcnemar([True, False] * 20, [False, True] * 20)
    assert (same.statistic, same.p, same.odds_ratio.value) == (0, 1, 1)


def test_models_that_never_differ_are_not_told_apart() -> None:
    found = mcnemar([True, False, True], [True, False, True])
    assert found.p == 1.0 and found.to_dict()["odds_ratio"]["value"] is None


def test_odds_ratio_and_its_interval() -> None:
    found = mcnemar([True] * 10 + [False] * 30, [False] * 10 + [True] * 30).odds_ratio
    reach = stats.norm.ppf(0.975) * math.sqrt(1 / 10 + 1 / 30)
    assert found.value == 3 and found.low == pytest.approx(3 * math.exp(-reach))
    none = mcnemar([False] * 4, [True] * 4).odds_ratio
    assert none.value == 9 and none.high > 100


def _pairs(counts: list[tuple[int, int]]) -> tuple[list[bool], list[bool], list[str]]:
    """Images on which one model alone is right, from such counts of each patient."""
    first, second, groups = [], [], []
    for number, (b, c) in enumerate(counts):
        first += [True] * b + [False] * c
        second += [False] * b + [True] * c
        groups += [f"p{number}"] * (b + c)
    return first, second, groups


def test_decisions_on_one_patient_count_once() -> None:
    """Sums by patient +2, +1, -1, +3: of 16 patterns of signs 6 reach 5 on either side."""
    counts = [(1, 3), (0, 1), (2, 1), (0, 3)]
    found = mcnemar(*_pairs(counts))
    assert found.exact and (found.only_first, found.only_second) == (3, 8) and found.p == 6 / 16
    reach = stats.norm.ppf(0.975) * math.sqrt(sum((c / 8 - b / 3) ** 2 for b, c in counts))
    assert found.odds_ratio.high == pytest.approx(8 / 3 * math.exp(reach))
    many = [(int(b), int(c)) for b, c in np.random.default_rng(0).integers(0, 4, (60, 2))]
    d = np.array([c - b for b, c in many])
    expected = (abs(d.sum()) - 1) ** 2 / (d**2).sum()  # Yang et al. 2010, with continuity correction
    assert mcnemar(*_pairs(many)).statistic == pytest.approx(expected)


@pytest.mark.parametrize("scale", [1, 10])
def test_copies_of_every_decision_prove_nothing_more(scale: int) -> None:
    first, second, groups = _pairs([(1, 0)] * (3 * scale) + [(0, 1)] * (7 * scale))
    copies = [[value for value in values for _ in range(4)] for values in (first, second, groups)]
    once, known = mcnemar(first, second), mcnemar(*copies)  # type: ignore[arg-type]
    assert known.p == pytest.approx(once.p) and known.odds_ratio.low == pytest.approx(once.odds_ratio.low)
    assert once.exact == (scale == 1) and mcnemar(*copies[:2]).p < once.p


def test_effect_sizes_of_paired_differences() -> None:
    assert cohen_dz([1.0, 2.0, 3.0]) == pytest.approx(2.0)
    assert cohen_dz([0.0, 0.0]) == 0 and math.isnan(cohen_dz([0.1, 0.1, 0.1])) and math.isnan(cohen_dz([0.2]))
    differences = [0.3, -0.1, 0.2, 0.0, 0.4]
    assert rank_biserial(differences) == pytest.approx((9 - 1) / 10) and rank_biserial([0, 0]) == 0
    less = float(stats.wilcoxon(differences).statistic)  # the smaller of the two sums of ranks
    assert rank_biserial(differences) == pytest.approx(1 - 2 * less / 10)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0] and holm([]) == []
    found = holm([0.02, math.nan, 0.01])
    assert found[0] == found[2] == pytest.approx(0.02) and math.isnan(found[1])
