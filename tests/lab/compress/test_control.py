"""The gain of distillation is a paired difference by patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny

from edgedx.core.files import write_json
from edgedx.core.preprocess import PreprocessSpec
from edgedx.core.settings.recipe_sections import Task
from edgedx.core.stats.metrics import roc_auc
from edgedx.lab.compress.control import gains, paired_gain, sentence
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.run.card import ModelCard
from edgedx.lab.run.model_folder import save_logits

TASK = Task(kind="binary", classes=["a", "b"], positive="b")


def _part(count: int, patients: int) -> Dataset:
    data = tiny.dataset(np.arange(count) % 2, side=8)
    data.patients[:] = [f"p{index % patients}" for index in range(count)]
    return data


def _logits(scores: np.ndarray) -> np.ndarray:
    return np.stack([np.zeros_like(scores), scores], axis=1).astype(np.float32)


def _scores(labels: np.ndarray, strength: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=len(labels)) + strength * labels


def test_the_gain_is_the_difference_of_the_areas() -> None:
    part = _part(400, 400)
    good, weak = _scores(part.labels, 2.0), _scores(part.labels, 0.5)
    gain = paired_gain(_logits(good), _logits(weak), part, TASK)
    assert gain["value"] == pytest.approx(roc_auc(part.labels, good) - roc_auc(part.labels, weak))
    assert 0 < gain["low"] < gain["value"] < gain["high"]
    assert paired_gain(_logits(good), _logits(good), part, TASK) == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_pairs_are_tighter_than_two_intervals_and_patients_are_drawn_whole() -> None:
    part = _part(400, 400)
    noise = np.random.default_rng(1).normal(size=400)
    one, other = noise + 1.5 * part.labels, noise + 1.2 * part.labels  # wrong about the same images
    paired = paired_gain(_logits(one), _logits(other), part, TASK)
    apart = paired_gain(_logits(one), _logits(_scores(part.labels, 1.2, seed=9)), part, TASK)
    assert paired["high"] - paired["low"] < 0.5 * (apart["high"] - apart["low"])
    few = _part(400, 8)
    shift = np.random.default_rng(2).normal(size=8)[np.arange(400) % 8] * part.labels  # each patient has its own gain
    wide = paired_gain(_logits(_scores(part.labels, 1.0) + shift), _logits(_scores(part.labels, 1.0)), few, TASK)
    many = paired_gain(_logits(_scores(part.labels, 1.0) + shift), _logits(_scores(part.labels, 1.0)), part, TASK)
    assert wide["high"] - wide["low"] > many["high"] - many["low"]


def test_gains_are_read_from_both_folders_each_at_its_own_temperature(tmp_path: Path) -> None:
    task = Task(kind="multiclass", classes=["a", "b", "c"])  # the AUC of three classes depends on it
    data = tiny.dataset(np.arange(120) // 3 % 3, side=8)
    data.splits[:] = ["train", "val", "test"] * 40
    rng = np.random.default_rng(0)
    kept = {}
    for name in ("student", "control"):
        kept[name] = {split: rng.normal(size=(40, 3)).astype(np.float32) for split in ("val", "test")}
        save_logits(tmp_path / name, kept[name])
        temperature = {"student": 0.25, "control": 2.0}[name]
        card = ModelCard(
            backbone="x", task=task, preprocess=PreprocessSpec(), role=name, weights_from="", temperature=temperature
        )
        write_json(tmp_path / name / "model.json", card.model_dump(mode="json"))
    found = gains(tmp_path / "student", tmp_path / "control", task, data)
    for split in ("val", "test"):
        part = data.subset(split)
        expected = paired_gain(kept["student"][split] / 0.25, kept["control"][split] / 2.0, part, task)
        assert found[split] == expected
        assert expected != paired_gain(kept["student"][split], kept["control"][split], part, task)


@pytest.mark.parametrize(
    ("entry", "begin"),
    [
        ({"value": 0.012, "low": 0.003, "high": 0.021}, "distillation gains 0.012 [0.003, 0.021] AUC on test"),
        ({"value": -0.004, "low": -0.01, "high": 0.0}, "distillation gains -0.004 [-0.010, 0.000] AUC on test"),
        ({"value": -0.0001, "low": -0.0002, "high": 0.0004}, "distillation gains 0.000 [0.000, 0.000] AUC on test"),
        ({"value": None, "low": None, "high": None}, "the gain of distillation cannot be told"),
    ],
)
def test_the_sentence_says_what_it_is_and_against_what(entry: dict[str, float | None], begin: str) -> None:
    assert sentence({"test": entry}).startswith(begin)
