"""Names of operating points, their thresholds, and decisions."""

from __future__ import annotations

import numpy as np
import pytest

from edgedx.core.stats.metrics import sensitivity_specificity, threshold_at_specificity
from edgedx.core.stats.points import label_at, parse_point, threshold_of


def _scores(count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    truth = rng.random(count) < 0.3
    return truth, 1 / (1 + np.exp(-rng.normal(2.0 * truth - 1, 1)))


@pytest.mark.parametrize(
    ("name", "meaning"),
    [("youden", ("youden", 0.0)), ("argmax", ("argmax", 0.0)), ("sensitivity-0.95", ("sensitivity", 0.95)),
     ("specificity-1", ("specificity", 1.0))],
)  # fmt: skip
def test_names(name: str, meaning: tuple[str, float]) -> None:
    assert parse_point(name) == meaning


@pytest.mark.parametrize("name", ["", "Youden", "sensitivity", "specificity-", "specificity-1.1", "precision-0.9",
                                  "sensitivity-0", "sensitivity-nan"])  # fmt: skip
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="specificity-X"):
        parse_point(name)


@pytest.mark.parametrize("target", [0.5, 0.8, 0.9, 0.95, 1.0])
def test_a_fixed_specificity_is_reached_with_the_best_sensitivity_there(target: float) -> None:
    truth, score = _scores()
    threshold = threshold_of(f"specificity-{target}", truth, score)
    sensitivity, specificity = sensitivity_specificity(truth, score, threshold)
    assert specificity >= target
    every = [sensitivity_specificity(truth, score, one) for one in [*score, 1.1]]
    assert sensitivity == pytest.approx(max(found for found, held in every if held >= target))
    assert not np.isclose(threshold, score).any()  # midway: no case of val flips with the last bit


def test_a_specificity_that_the_highest_score_breaks_calls_nothing() -> None:
    truth, score = np.array([True, False, False]), np.array([0.2, 0.9, 0.9])
    threshold = threshold_at_specificity(truth, score, 0.95)
    assert 0.9 < threshold < 1.0
    assert threshold_at_specificity(truth, np.array([0.2, 1.0, 1.0]), 0.95) > 1.0


def test_decisions() -> None:
    classes = ["a", "b", "c"]
    assert label_at("multiclass", classes, None, {}, [0.2, 0.3, 0.5]) == "c"
    assert label_at("binary", ["x", "y"], "x", {"x": 0.3}, [0.3, 0.7]) == "x"
    assert label_at("binary", ["x", "y"], "x", {"x": 0.3}, [0.29, 0.71]) == "y"
    assert label_at("multilabel", classes, None, {"a": 0.9, "b": 0.1}, [0.8, 0.2, 0.5]) == "b|c"
    assert label_at("multilabel", classes, None, {}, [0.1, 0.2, 0.3]) == "none"
