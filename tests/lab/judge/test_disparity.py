"""Subgroups: the one that is served worst is named, and chance is told from harm."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from edgedx.core.stats.cases import Cases, Predictions, predictions_of
from edgedx.lab.judge.disparity import disparity


def _sites(harm: float, count: int = 600) -> tuple[Cases, Predictions]:
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, count)
    site = np.arange(count) % 3
    score = 1 / (1 + np.exp(-rng.normal((labels - 0.5) * np.where(site == 2, 3 - harm, 3), 1)))
    groups = [{"site": "ABC"[one], "age": f"{20 + index % 60}", "same": "x"} for index, one in enumerate(site)]
    names = [str(index) for index in range(count)]
    cases = Cases(names, names, labels, groups, "binary", ["well", "sick"], "sick")
    return cases, predictions_of(cases, np.stack([1 - score, score], axis=1), {"sick": 0.5})


def test_the_site_that_is_harmed_is_named() -> None:
    cases, said = _sites(harm=2.5)
    found = disparity(cases, said, resamples=300)
    assert found.gap is not None and found.gap.proven
    assert (found.gap.column, found.gap.worse) == ("site", "C")
    assert "of site C is" in found.gap.sentence and "chance" not in found.gap.sentence
    (one,) = [part for part in found.subgroups if part.name == "site C"]
    rows = np.arange(len(cases)) % 3 == 2
    expected = roc_auc_score(cases.labels[rows], said.probabilities[rows, 1])
    assert one.figures["auc_roc"].value == pytest.approx(expected, abs=1e-9)
    assert one.images == 200 and ("same x", "all images have it") in found.not_judged


def test_chance_is_not_called_a_gap() -> None:
    found = disparity(*_sites(harm=0.0), resamples=300)
    assert found.gap is not None and not found.gap.proven
    assert found.gap.sentence.endswith("chance alone could explain it")
    assert {part.column for part in found.subgroups} == {"site", "age"}  # ages became bands
    assert len([part for part in found.subgroups if part.column == "age"]) == 4


def test_without_columns_there_is_nothing() -> None:
    cases, said = _sites(harm=0.0)
    bare = Cases(cases.names, cases.patients, cases.labels, [{}] * len(cases), "binary", cases.classes, "sick")
    assert disparity(bare, said, resamples=10).to_dict() == {"subgroups": [], "not_judged": [], "largest_gap": None}


def test_subgroups_of_many_classes_are_judged_by_those_that_all_of_them_have() -> None:
    rng = np.random.default_rng(5)
    labels = np.tile(np.repeat([0, 1, 2], [40, 30, 10]), 3)
    site = np.repeat(["A", "B", "C"], 80)
    labels[(site == "B") & (labels == 2)] = 0  # no image of the rare class at B
    labels[site == "C"] = 2  # nothing but the rare class at C
    chance = rng.dirichlet([1, 1, 1], len(labels))
    names = [str(index) for index in range(len(labels))]
    cases = Cases(names, names, labels, [{"site": one} for one in site], "multiclass", ["a", "b", "rare"], None)
    found = disparity(cases, predictions_of(cases, chance, {}), resamples=20)
    assert [part.name for part in found.subgroups] == ["site A", "site B"]
    for part in found.subgroups:
        rows = site == part.value
        areas = [roc_auc_score(labels[rows] == index, chance[rows, index]) for index in (0, 1)]  # not of the rare class
        assert part.figures["auc_roc"].value == pytest.approx(np.mean(areas), abs=1e-9)
    assert dict(found.not_judged) == {
        "site C": "at most 0 images of a class, 10 needed",
        "site: rare": "not 10 images with and without it in every subgroup",
    }


def test_subgroups_without_a_class_in_common_are_not_compared() -> None:
    labels = np.array([0, 1] * 40 + [2, 3] * 20)
    chance = np.random.default_rng(5).dirichlet([1, 1, 1, 1], len(labels))
    names = [str(index) for index in range(len(labels))]
    groups = [{"site": "A" if label < 2 else "B"} for label in labels]
    cases = Cases(names, names, labels, groups, "multiclass", list("abcd"), None)
    found = disparity(cases, predictions_of(cases, chance, {}), resamples=5)
    assert [part.name for part in found.subgroups] == ["site A"] and found.gap is None
    assert ("site B", "no class with 10 images in common with the larger subgroups") in found.not_judged
