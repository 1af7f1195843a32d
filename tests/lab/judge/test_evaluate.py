"""Operating points and figures agree with independent computation, and are JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import tiny
from sklearn.metrics import accuracy_score, recall_score, roc_auc_score

from edgedx.core.errors import RecipeError
from edgedx.core.settings.recipe_sections import Task
from edgedx.core.stats.points import OperatingPoint
from edgedx.lab.train.short_figures import auc_of_logits, operating_points, summary

BINARY = Task(**tiny.RECIPE["task"])
FINDINGS = Task(**tiny.FINDINGS)
THREE = Task(**tiny.THREE)


def _binary(count: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose common offset is noise: only their difference ranks the cases."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(count) < 0.4).astype(np.int64)
    difference = rng.normal(1.5 * labels, 1)
    offset = rng.normal(0, 5, count)
    return np.stack([offset, offset + difference], axis=1).astype(np.float32), labels


def _three(count: int = 150) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    labels = np.arange(count) % 3
    return (rng.normal(size=(count, 3)) + 1.5 * np.eye(3)[labels]).astype(np.float32), labels


def _findings(count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    labels = (rng.random((count, 2)) < 0.3).astype(float)
    logits = rng.normal(2 * labels, 1).astype(np.float32)
    labels[rng.random((count, 2)) < 0.2] = np.nan
    return logits, labels


def _softmax(logits: np.ndarray) -> np.ndarray:
    scaled = np.exp(logits.astype(float))
    return scaled / scaled.sum(axis=1, keepdims=True)


def _patients(count: int) -> list[str]:
    return [f"p{index // 2}" for index in range(count)]


def _points(*names: str, task: dict[str, Any] | None = None, **data: Any) -> list[OperatingPoint]:
    recipe = tiny.recipe(task=task or tiny.RECIPE["task"], gate={"points": list(names)})
    return operating_points(recipe, **data)


def test_auc_of_logits_is_of_probabilities_and_not_of_one_logit() -> None:
    logits, labels = _binary()
    expected = roc_auc_score(labels, logits[:, 1] - logits[:, 0])
    assert auc_of_logits(BINARY, logits, labels) == pytest.approx(expected)
    assert roc_auc_score(labels, logits[:, 1]) < expected - 0.1


def test_auc_of_logits_is_macro_for_more_classes() -> None:
    logits, labels = _three()
    expected = roc_auc_score(labels, _softmax(logits), multi_class="ovr")
    assert auc_of_logits(THREE, logits, labels) == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_points_of_a_binary_task_are_on_calibrated_probabilities(temperature: float) -> None:
    logits, labels = _binary()
    names = ("youden", "sensitivity-0.95", "specificity-0.90")
    youden, safe, sure = _points(*names, logits=logits, labels=labels, temperature=temperature)
    chance = _softmax(logits / temperature)[:, 1]
    for point in (youden, safe, sure):
        called = chance >= point.threshold["bright"]
        assert point.threshold.keys() == {"bright"}
        assert point.sensitivity == pytest.approx(recall_score(labels, called))
        assert point.specificity == pytest.approx(recall_score(1 - labels, ~called))
    assert safe.sensitivity is not None and safe.sensitivity >= 0.95
    assert sure.specificity is not None and sure.specificity >= 0.9
    best = max(recall_score(labels, chance >= t) + recall_score(1 - labels, chance < t) for t in chance)
    assert youden.sensitivity + youden.specificity == pytest.approx(best)  # type: ignore[operator]


def test_points_are_of_the_positive_class_even_where_it_comes_first() -> None:
    logits, labels = _binary()
    swapped = {"kind": "binary", "classes": ["bright", "dark"], "positive": "bright"}
    (one,) = _points("youden", logits=logits, labels=labels, temperature=1.0)
    (two,) = _points("youden", task=swapped, logits=logits[:, ::-1], labels=1 - labels, temperature=1.0)
    assert one.threshold["bright"] == pytest.approx(two.threshold["bright"])
    assert (one.sensitivity, one.specificity) == (two.sensitivity, two.specificity)


def test_argmax_is_a_threshold_of_one_half() -> None:
    logits, labels = _binary()
    (point,) = _points("argmax", logits=logits, labels=labels, temperature=1.0)
    assert point.threshold == {"bright": 0.5}


def test_several_classes_are_decided_by_argmax_alone() -> None:
    logits, labels = _three()
    (point,) = _points("youden", "sensitivity-0.95", task=tiny.THREE, logits=logits, labels=labels, temperature=1.0)
    assert point.name == "argmax" and point.threshold == {}


def test_each_finding_has_its_threshold_from_its_known_labels() -> None:
    logits, labels = _findings()
    (point,) = _points("sensitivity-0.9", task=tiny.FINDINGS, logits=logits, labels=labels, temperature=1.0)
    chance = 1 / (1 + np.exp(-logits.astype(float)))
    for column, name in enumerate("ab"):
        known = ~np.isnan(labels[:, column])
        found = recall_score(labels[known, column], chance[known, column] >= point.threshold[name])
        assert 0.9 <= found < 0.9 + 1 / 20
    assert point.sensitivity is None


@pytest.mark.parametrize(
    "name", ["youdn", "sensitivity-", "sensitivity-2", "specificity-0", "sensitivity-high", "sensitivity-nan"]
)
def test_an_unknown_point_is_refused(name: str) -> None:
    logits, labels = _binary()
    with pytest.raises(RecipeError, match=r"gate\.points"):
        _points(name, logits=logits, labels=labels, temperature=1.0)


def test_the_summary_of_a_binary_task_agrees_with_scikit_learn() -> None:
    logits, labels = _binary()
    point = OperatingPoint(name="mine", threshold={"bright": 0.3})
    found = summary(BINARY, logits, labels, _patients(200), 2.0, point, resamples=100)
    chance = _softmax(logits / 2.0)
    assert found["images"] == 200 and found["operating_point"] == "mine"
    assert found["auc"]["value"] == pytest.approx(roc_auc_score(labels, chance[:, 1]))
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, chance.argmax(axis=1)))
    assert found["brier"] == pytest.approx(2 * np.mean((chance[:, 1] - labels) ** 2))
    assert found["sensitivity"]["value"] == pytest.approx(recall_score(labels, chance[:, 1] >= 0.3))
    assert found["specificity"]["value"] == pytest.approx(recall_score(1 - labels, chance[:, 1] < 0.3))
    for name in ("auc", "sensitivity", "specificity"):
        assert found[name]["low"] <= found[name]["value"] <= found[name]["high"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_intervals_are_over_patients() -> None:
    logits, labels = _binary(60)
    point = OperatingPoint(name="argmax", threshold={"bright": 0.5})
    copies = np.repeat(np.arange(60), 5)
    one = summary(BINARY, logits, labels, [f"{i}" for i in range(60)], 1.0, point, resamples=200)
    many = summary(BINARY, logits[copies], labels[copies], [f"{i}" for i in copies], 1.0, point, resamples=200)
    naive = summary(BINARY, logits[copies], labels[copies], [f"{i}" for i in range(300)], 1.0, point, resamples=200)
    for name in ("auc", "sensitivity", "specificity"):
        assert many[name] == pytest.approx(one[name])
        assert naive[name]["high"] - naive[name]["low"] < 0.7 * (many[name]["high"] - many[name]["low"])


def test_the_summary_of_several_classes_tells_each() -> None:
    logits, labels = _three()
    found = summary(
        THREE, logits, labels, _patients(150), 1.0, OperatingPoint(name="argmax", threshold={}), resamples=50
    )
    called = logits.argmax(axis=1)
    expected = recall_score(labels, called, average=None)
    assert list(found["class_sensitivity"].values()) == pytest.approx(list(expected))
    for index, name in enumerate("abc"):
        assert found["class_auc"][name] == pytest.approx(roc_auc_score(labels == index, _softmax(logits)[:, index]))
    assert "sensitivity" not in found
    json.dumps(found, allow_nan=False)


def test_the_summary_of_findings_tells_each_and_is_json_even_without_an_auc() -> None:
    logits, labels = _findings()
    labels[:, 1] = np.where(labels[:, 1] == 1, np.nan, labels[:, 1])
    point = OperatingPoint(name="youden", threshold={"a": 0.5, "b": 0.5})
    found = summary(FINDINGS, logits, labels, _patients(200), 1.0, point, resamples=50)
    known = ~np.isnan(labels[:, 0])
    assert found["class_auc"] == {"a": pytest.approx(roc_auc_score(labels[known, 0], logits[known, 0])), "b": None}
    assert found["auc"]["value"] == pytest.approx(found["class_auc"]["a"])
    assert "accuracy" not in found
    json.dumps(found, allow_nan=False)


@pytest.mark.filterwarnings("error")
def test_the_summary_of_a_split_with_an_absent_class_is_json() -> None:
    logits, labels = _three()
    point = OperatingPoint(name="argmax", threshold={})
    some = labels != 2
    found = summary(THREE, logits[some], labels[some], _patients(int(some.sum())), 1.0, point, resamples=20)
    assert found["class_sensitivity"]["c"] is None and found["class_auc"]["c"] is None
    json.dumps(found, allow_nan=False)
