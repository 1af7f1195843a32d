"""Confident learning: the joint counted by hand, and planted errors found."""

from __future__ import annotations

import numpy as np

from edgedx.lab.update.confident import confident_joint, likely_wrong


def test_the_joint_is_what_the_paper_says() -> None:
    labels = np.array([0, 0, 0, 1, 1])
    chance = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.65, 0.35]])
    # Means by given class: 0.6 of class 0; (0.7 + 0.35) / 2 = 0.525 of class 1.
    counts, confident = confident_joint(labels, chance)
    assert counts.tolist() == [[2, 1], [1, 1]]
    assert confident.tolist() == [0, 0, 1, 1, 0]


def test_an_image_that_reaches_no_mean_is_counted_nowhere() -> None:
    labels = np.array([0, 0, 1, 1, 0])
    chance = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9], [0.5, 0.5]])
    counts, confident = confident_joint(labels, chance)
    assert confident[4] == -1
    assert counts.sum() == 4


def _planted(classes: int, count: int, share: float, sharpness: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(classes)
    truth = np.arange(count) % classes
    scores = rng.normal(0, 1, (count, classes))
    scores[np.arange(count), truth] += sharpness
    chance = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    wrong = rng.random(count) < share
    given = np.where(wrong, (truth + rng.integers(1, classes, count)) % classes, truth)
    return given, chance, wrong


def test_planted_errors_are_found_and_clean_labels_left() -> None:
    given, chance, wrong = _planted(3, 1500, 0.1, 6.0)
    found = likely_wrong(given, chance)
    rows = np.array([one.row for one in found])
    assert wrong[rows].mean() > 0.95
    assert wrong[rows].sum() / wrong.sum() > 0.95
    assert [one.margin for one in found] == sorted(one.margin for one in found)
    assert all(given[one.row] == one.given != one.likely for one in found)


def test_sure_and_clean_answers_name_nobody() -> None:
    given, chance, _ = _planted(2, 400, 0.0, 12.0)
    assert likely_wrong(given, chance) == []


def test_no_class_is_emptied() -> None:
    labels = np.array([0] * 20 + [1] * 2)
    chance = np.tile([0.9, 0.1], (22, 1))  # everything looks like class 0
    assert len([one for one in likely_wrong(labels, chance) if one.given == 1]) < 2


def test_a_class_that_nobody_gave_is_suspected_of_nothing() -> None:
    labels = np.array([0, 0, 1, 1])
    chance = np.array([[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.1, 0.2, 0.7]])
    assert all(one.likely != 2 for one in likely_wrong(labels, chance))
