"""The data set of an update: who is judged on was never learned from, before and after."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny

from edgedx.core.errors import DataError, UsageError
from edgedx.core.settings.recipe import Recipe
from edgedx.lab.data.dataset import build_dataset, load_dataset
from edgedx.lab.run.run import Run
from edgedx.lab.update.combine import SINCE, SITE, divide_new, is_new, open_old, shown_old, write_combined
from edgedx.lab.update.feedback import FeedbackFile, Told
from edgedx.lab.update.settle import Old, settle

NOTHING = Old([], [], [], None)


def _recipe(path: Path, method: str = "rehearsal", **update: object) -> Recipe:
    return tiny.recipe(path, preprocess={"size": [40, 40]}, data={"subgroup_columns": ["sex"]}, version="2",
                       update={"method": method, "least_judged": 4, **update})  # type: ignore[arg-type]  # fmt: skip


def _new(count: int, first: int = 9000) -> FeedbackFile:
    told = [
        Told(f"north/{n}", f"{first + n:064x}", "north", ((float(n % 2),),), tiny.picture(first + n, n % 2 == 1),
             (40, 40), patient=f"north:{n // 2}")
        for n in range(count)
    ]  # fmt: skip
    return FeedbackFile(Path("north"), {"digest": "north"}, told, "2026-11-01")


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Run:
    made = Run(tmp_path / "run")
    recipe = tiny.recipe(folder, preprocess={"size": [40, 40]}, data={"subgroup_columns": ["sex"]})
    made.keep_recipe(recipe)
    build_dataset(recipe, made.data)
    return made


folder = tiny.folder


@pytest.mark.parametrize("method", ["rehearsal", "distil", "naive"])
def test_old_images_keep_their_place_and_only_rehearsal_learns_from_them(
    folder: Path, run: Run, tmp_path: Path, method: str
) -> None:
    recipe, out = _recipe(folder, method), tmp_path / "out"
    out.mkdir()
    old = open_old(recipe, run)
    settled = settle(recipe, [_new(60)], old)
    write_combined(recipe, run, old, settled, out, source="both", leave_out=set(), fitted=())
    data = load_dataset(out, recipe.task.kind, recipe.preprocess)
    before = load_dataset(run.data, recipe.task.kind, recipe.preprocess)
    new = is_new(data, "2")
    assert new.sum() == 60
    places = dict(zip(data.names, data.splits, strict=True))
    kept = {name: split for name, split in zip(before.names, before.splits, strict=True) if name in places}
    assert {name: places[name] for name in kept} == kept
    assert ("train" in kept.values()) == (method == "rehearsal")
    for row, name in enumerate(data.names):  # every canvas is its image's own
        source = before.canvases[before.rows[before.names.index(name)]] if not new[row] else settled.images[
            [one.name for one in settled.images].index(name)].canvas  # fmt: skip
        assert np.array_equal(data.canvases[data.rows[row]], source)
    patients = {split: {p for p, its in zip(data.patients, data.splits, strict=True) if its == split} for split in
                ("train", "val", "test")}  # fmt: skip
    assert not patients["train"] & (patients["val"] | patients["test"])
    groups = {(one[SITE], one[SINCE]) for one in data.subgroups}
    assert groups == {("development", "1"), ("north", "2")}
    assert {one["sex"] for one, is_it in zip(data.subgroups, new, strict=True) if not is_it} == {"F", "M"}


def test_a_patient_whom_the_data_set_knows_keeps_his_split(folder: Path, run: Run) -> None:
    recipe = _recipe(folder)
    old = open_old(recipe, run)
    split_of = {case.row.patient: split for case, split in zip(old.cases, old.splits, strict=True)}
    file = _new(60)
    known = sorted(split_of)[:20]
    images = [
        Told(**{**vars(one), "patient": known[number // 2].replace("p0", "P")}) if number < 40 else one
        for number, one in enumerate(file.images)
    ]
    settled = settle(recipe, [FeedbackFile(file.path, file.facts, images, file.created)], old)
    splits, warnings = divide_new(recipe, settled.cases, old)
    for number in range(40):
        assert splits[number] == split_of[known[number // 2]]
    assert "40 new images are of patients whom the data set knows" in warnings[0]


def test_too_few_images_say_how_many_more(folder: Path) -> None:
    recipe = _recipe(folder)
    settled = settle(recipe, [_new(12)], NOTHING)
    with pytest.raises(DataError) as caught:
        divide_new(recipe, settled.cases, NOTHING)
    assert "dark has 6, of which" in caught.value.message
    assert "more are needed" in caught.value.message


def test_suspects_are_left_out_of_learning_and_stay_in_judging(folder: Path, run: Run, tmp_path: Path) -> None:
    recipe, out = _recipe(folder), tmp_path / "out"
    out.mkdir()
    old = open_old(recipe, run)
    settled = settle(recipe, [_new(60)], old)
    splits, _ = divide_new(recipe, settled.cases, old)
    suspects = {splits.index("train"), splits.index("test")}
    write_combined(recipe, run, old, settled, out, source="both", leave_out=suspects, fitted=())
    names = load_dataset(out, recipe.task.kind, recipe.preprocess).names
    assert settled.images[splits.index("train")].name not in names
    assert settled.images[splits.index("test")].name in names
    assert "likely wrong label: not learned from" in (out / "excluded.csv").read_text()


def test_without_old_images_only_what_needs_none_goes_on(folder: Path, run: Run) -> None:
    (run.data / "canvases.npy").unlink()
    recipe = _recipe(folder)
    with pytest.raises(UsageError, match="needs the run's own images") as caught:
        shown_old(recipe, open_old(recipe, run))
    assert "--method distil" in str(caught.value.next_step)
    distil = _recipe(folder, "distil")
    assert shown_old(distil, open_old(distil, run)) == []
