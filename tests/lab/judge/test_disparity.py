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
