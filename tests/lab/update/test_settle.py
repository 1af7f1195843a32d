"""Answers to labels: nothing is learned twice, and nothing that contradicts is learned at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny

from edgedx.core.errors import UsageError
from edgedx.core.settings.recipe import Recipe
from edgedx.lab.data.reading.rows import Row
from edgedx.lab.data.split import PreparedImage
from edgedx.lab.update.feedback import FeedbackFile, Told
from edgedx.lab.update.settle import (
    DUPLICATE,
    KNOWN,
    NEAR,
    NEAR_OTHERWISE,
    OTHERWISE,
    PEOPLE,
    TWICE,
    Old,
    settle,
)

NOTHING = Old([], [], [], None)
RECIPE: Recipe = tiny.recipe(preprocess={"size": [40, 40]})


def _told(number: int, *labels: float, seed: int | None = None, site: str = "north", **more: object) -> Told:
    picture = tiny.picture(number if seed is None else seed)
    values = {"sha256": f"{number:064x}", "canvas": picture, "shape": (40, 40), **more}
    return Told(f"{site}/{number}", site=site, labels=tuple((one,) for one in labels), **values)  # type: ignore[arg-type]


def _file(*told: Told, name: str = "a", created: str = "2026-11-01") -> FeedbackFile:
    return FeedbackFile(Path(name), {"digest": name}, list(told), created)


def _old(*labels: float, first: int = 0) -> Old:
    cases = [
        PreparedImage(Row(f"old{number}", (label,), f"p{number}"), f"{first + number:064x}", 40, 40, number)
        for number, label in enumerate(labels)
    ]
    canvases = np.stack([tiny.picture(first + number) for number in range(len(labels))])
    return Old(cases, ["train"] * len(labels), [], canvases)


def test_people_who_disagree_are_listed_and_not_learned_from() -> None:
    found = settle(RECIPE, [_file(_told(1, 0, 1), _told(2, 1, 1), _told(3, 0))], NOTHING)
    assert [one.name for one in found.images] == ["north/2", "north/3"]
    assert found.excluded == [("north/1", PEOPLE)]
    assert found.contradictions == [("north/1", "", "north", "dark / bright", PEOPLE)]


def test_two_clinics_that_disagree_on_one_file_contradict() -> None:
    one, other = _told(1, 0), _told(1, 1, site="south")
    found = settle(RECIPE, [_file(one), _file(other, name="b")], NOTHING)
    assert found.images == []
    assert [why for _, why in found.excluded] == [PEOPLE]


def test_the_later_export_of_a_clinic_counts() -> None:
    early, late = _file(_told(1, 0), name="early"), _file(_told(1, 1), name="late", created="2026-12-01")
    found = settle(RECIPE, [late, early], NOTHING)
    assert [one.labels for one in found.images] == [((1.0,),)]


def test_a_file_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="given twice"):
        settle(RECIPE, [_file(_told(1, 0)), _file(_told(1, 0))], NOTHING)


def test_the_same_picture_counts_once_and_under_two_labels_never() -> None:
    same = [_told(1, 0), _told(2, 0, seed=1)]
    found = settle(RECIPE, [_file(*same)], NOTHING)
    assert [one.name for one in found.images] == ["north/1"]
    assert found.excluded == [("north/2", DUPLICATE)]
    found = settle(RECIPE, [_file(_told(1, 0), _told(2, 1, seed=1))], NOTHING)
    assert found.images == []
    assert {why for _, why in found.excluded} == {TWICE}


def test_rows_of_a_table_stand_each_for_itself() -> None:
    table = _file(_told(1, 0), _told(1, 0), created="")
    found = settle(RECIPE, [table], NOTHING)
    assert len(found.images) == 1
    assert [why for _, why in found.excluded] == [DUPLICATE]


@pytest.mark.parametrize(("label", "reason"), [(0.0, KNOWN), (1.0, OTHERWISE)])
def test_what_the_data_set_has_is_no_news(label: float, reason: str) -> None:
    by_file = _told(3, label, seed=77)  # another picture under the same hash: the file is the same
    by_picture = _told(900, label, seed=4)
    old = _old(0, 0, 0, 0, 0, 0)
    found = settle(RECIPE, [_file(by_file, by_picture, _told(50, 1))], old)
    assert dict(found.excluded) == {"north/3": reason, "north/900": reason}
    assert [one.name for one in found.images] == ["north/50"]
    assert len(found.contradictions) == (2 if reason == OTHERWISE else 0)


@pytest.mark.parametrize(("label", "reason"), [(0.0, NEAR), (1.0, NEAR_OTHERWISE)])
def test_near_duplicates_of_old_images_bring_nothing_new(label: float, reason: str) -> None:
    brighter = np.clip(tiny.picture(2).astype(int) + 6, 0, 255).astype(np.uint8)
    near = _told(500, label, canvas=brighter)
    others = [_told(number, 1) for number in range(100, 124)]
    found = settle(RECIPE, [_file(near, *others)], _old(*[0.0] * 24))
    assert dict(found.excluded) == {"north/500": reason}
    assert len(found.images) == 24


def test_near_duplicates_among_new_images_stay_in_one_part() -> None:
    brighter = np.clip(tiny.picture(1).astype(int) + 6, 0, 255).astype(np.uint8)
    told = [_told(1, 0), _told(2, 0, canvas=brighter), *(_told(number, 1) for number in range(100, 124))]
    found = settle(RECIPE, [_file(*told)], NOTHING)
    assert found.cases[0].unit == found.cases[1].unit
    assert len({case.unit for case in found.cases}) == len(told) - 1


def test_what_has_a_problem_is_counted_with_its_reason() -> None:
    found = settle(RECIPE, [_file(_told(1, 0), _told(2, canvas=None, problem="no label: nobody could tell"))], NOTHING)
    assert found.to_dict()["excluded"] == {"no label: nobody could tell": 1}
    assert found.to_dict()["images"] == 2
    assert found.to_dict()["used"] == 1
