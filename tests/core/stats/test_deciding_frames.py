"""Which frame decides for an object."""

from __future__ import annotations

import numpy as np
import pytest

from edgedx.core.stats.frames import MOST_FRAMES, deciding_frames, most_frames, rule_in_words, shown_class
from edgedx.core.stats.points import label_at


def test_of_a_binary_task_one_frame_decides_for_both_classes() -> None:
    values = [[0.9, 0.1], [0.3, 0.7], [0.6, 0.4], [0.3, 0.7]]
    assert deciding_frames("binary", ["normal", "sick"], "sick", values).tolist() == [1, 1], "the first of equal ones"
    assert deciding_frames("binary", ["sick", "normal"], "sick", values).tolist() == [0, 0]


def test_each_finding_has_its_own_frame_and_none_is_lost() -> None:
    values = np.array([[0.9, 0.1, 0.2], [0.2, 0.8, 0.3], [0.1, 0.1, 0.1]])
    by_class = deciding_frames("multilabel", ["a", "b", "c"], None, values)
    assert by_class.tolist() == [0, 1, 1]
    chosen = values[by_class, range(3)]
    label = label_at("multilabel", ["a", "b", "c"], None, {"a": 0.5, "b": 0.5, "c": 0.5}, chosen)
    assert label == "a|b" and shown_class(["a", "b", "c"], label, chosen) == 0


@pytest.mark.parametrize("seed", range(20))
def test_the_class_that_is_shown_is_that_of_its_frame_alone(seed: int) -> None:
    random = np.random.default_rng(seed)
    classes, values = ["a", "b", "c", "d"], random.random((7, 4))
    points = {name: float(chance) for name, chance in zip(classes, random.random(4), strict=True)}
    by_class = deciding_frames("multilabel", classes, None, values)
    chosen = values[by_class, range(4)]
    shown = shown_class(classes, label_at("multilabel", classes, None, points, chosen), chosen)
    frame = values[by_class[shown]]
    assert shown_class(classes, label_at("multilabel", classes, None, points, frame), frame) == shown


def test_more_frames_never_make_an_object_less_suspicious() -> None:
    random = np.random.default_rng(1)
    sick = random.random(50)
    values = np.stack([1 - sick, sick], axis=1)
    highest = [
        values[deciding_frames("binary", ["n", "s"], "s", values[:count])[1], 1] for count in range(1, len(values) + 1)
    ]
    assert highest == sorted(highest)


def test_many_classes_without_a_positive_one_have_no_rule() -> None:
    with pytest.raises(ValueError, match="binary and multilabel"):
        deciding_frames("multiclass", ["a", "b", "c"], None, [[0.2, 0.3, 0.5]])


@pytest.mark.parametrize(
    ("size", "most"), [(16 * 16, MOST_FRAMES), (224 * 224 * 3, MOST_FRAMES), (1024 * 1024 * 3, 42), (1 << 30, 1)]
)
def test_memory_bounds_the_frames_too(size: int, most: int) -> None:
    assert most_frames(size) == most


def test_the_rule_is_told_with_what_it_costs() -> None:
    assert "frame 7" in rule_in_words("binary", "sick", 7, 60) and "sick" in rule_in_words("binary", "sick", 7, 60)
    assert "false alarms" in rule_in_words("multilabel", None, 7, 60)
