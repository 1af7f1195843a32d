"""The best temperature on val is kept; a finished trial is not repeated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from edgedx.core.settings.recipe_sections import Task
from edgedx.lab.compress.trials import best, negative_log_likelihood, try_temperatures

TASK = Task(kind="binary", classes=["a", "b"], positive="b")
LABELS = np.array([0, 1] * 8)


def _logits(right: float) -> np.ndarray:
    """Logits that put the true class `right` above the other."""
    return np.where(np.eye(2)[LABELS] == 1, right, 0.0).astype(np.float32)


def _result(auc: float, nll: float) -> dict[str, float]:
    return {"val_auc": auc, "val_nll": nll}


def test_auc_decides_and_likelihood_only_between_equals() -> None:
    low, high = _result(0.9, 0.1), _result(0.95, 0.7)
    assert best([low, high]) is high
    sure, unsure = _result(0.9, 0.2), _result(0.9, 0.3)
    assert best([unsure, sure]) is sure
    assert best([sure, dict(sure)]) is sure  # the first of equals


def test_each_temperature_is_tried_once_and_the_best_is_marked(tmp_path: Path) -> None:
    asked = []

    def trial(temperature: float, state: Path) -> np.ndarray:
        asked.append((temperature, state.name))
        return _logits(temperature - 2)  # 1 is wrong throughout, 4 and 10 right

    results = try_temperatures([1.0, 4.0, 10.0], trial, TASK, LABELS, tmp_path)
    assert asked == [(1.0, "trial-0.safetensors"), (4.0, "trial-1.safetensors"), (10.0, "trial-2.safetensors")]
    assert [result["val_auc"] for result in results] == [0.0, 1.0, 1.0]
    assert [result["chosen"] for result in results] == [False, False, True]
    again = try_temperatures([1.0, 4.0, 10.0], trial, TASK, LABELS, tmp_path)
    assert again == results and len(asked) == 3


def test_a_killed_grid_goes_on_at_the_trial_that_was_not_finished(tmp_path: Path) -> None:
    asked: list[float] = []

    def trial(temperature: float, state: Path) -> np.ndarray:
        asked.append(temperature)
        if temperature == 4.0 and asked.count(4.0) == 1:
            raise KeyboardInterrupt
        return _logits(temperature)

    with pytest.raises(KeyboardInterrupt):
        try_temperatures([1.0, 4.0], trial, TASK, LABELS, tmp_path)
    results = try_temperatures([1.0, 4.0], trial, TASK, LABELS, tmp_path)
    assert asked == [1.0, 4.0, 4.0]
    assert [result["temperature"] for result in results] == [1.0, 4.0]


def test_the_likelihood_is_torchs() -> None:
    logits = np.random.default_rng(0).normal(size=(16, 2)).astype(np.float32)
    expected = F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(LABELS))
    assert negative_log_likelihood(TASK, logits, LABELS) == pytest.approx(float(expected), rel=1e-5)
    findings = np.array([[1.0, np.nan]] * 16)
    task = Task(kind="multilabel", classes=["a", "b"])
    expected = F.softplus(-torch.from_numpy(logits[:, 0])).mean()
    assert negative_log_likelihood(task, logits, findings) == pytest.approx(float(expected), rel=1e-5)
