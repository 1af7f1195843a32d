"""Files of answers: what names them, and how labelled images from outside are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tiny

from edgedx.lab.update.feedback import feedback_digest, read_feedback
from edgedx.lab.update.label_check import check, check_labels
from edgedx.lab.update.settle import Old, settle

NOTHING = Old([], [], [], None)


def _table(folder: Path, site: bool = True) -> Path:
    entries = []
    for number in range(8):
        tiny.write_picture(folder / f"i{number}.png", tiny.picture(number, number % 2 == 1))
        row = {
            "image": f"i{number}.png",
            "label": tiny.CLASSES[number % 2],
            "patient_id": f"{number // 2:03d}",
            "sex": "F",
        }
        entries.append({**row, "site": "east" if number < 4 else "west"} if site else row)
    entries[5]["label"] = ""
    entries[6]["image"] = "gone.png"
    tiny.write_table(folder, entries)
    return folder / "labels.csv"


def test_a_table_is_read_with_its_sites_patients_and_subgroups(tmp_path: Path) -> None:
    recipe = tiny.recipe()
    found = read_feedback(_table(tmp_path), recipe, [], [])
    assert found.facts["site"] == "east, west"
    assert found.facts["signed_by"] is None
    assert [one.problem for one in found.images] == ["", "", "", "", "", "no label", "no such file", ""]
    first = found.images[0]
    assert (first.name, first.site, first.patient, dict(first.groups)) == ("east/i0.png", "east", "000", {"sex": "F"})
    assert first.canvas is not None and first.canvas.shape == (32, 32)
    assert first.shape == (40, 40)
    assert first.labels == ((0.0,),)


def test_without_a_site_the_table_is_one(tmp_path: Path) -> None:
    found = read_feedback(_table(tmp_path, site=False), tiny.recipe(), [], [])
    assert {one.site for one in found.images} == {"labels"}


def test_a_digest_knows_listed_images_and_nothing_beside_them(tmp_path: Path) -> None:
    """An update may write its run beside the table."""
    table = _table(tmp_path)
    before = feedback_digest(table)
    (tmp_path / "run-update-1").mkdir()
    (tmp_path / "run-update-1" / "log.txt").write_text("new")
    assert feedback_digest(table) == before
    tiny.write_picture(tmp_path / "i0.png", tiny.picture(99))
    assert feedback_digest(table) != before


def test_labels_of_too_few_images_are_not_checked(tmp_path: Path) -> None:
    recipe = tiny.recipe()
    assert check(recipe.task, np.eye(3), np.array([[0.0], [0.0], [1.0]]), ["a", "b", "c"]).note.startswith("too few")
    empty = settle(recipe, [], NOTHING)
    assert check_labels(recipe, None, empty).note == "no image is left to check"  # type: ignore[arg-type]


def test_findings_are_checked_each_by_itself() -> None:
    rng = np.random.default_rng(0)
    truth = np.stack([np.arange(300) % 2, np.arange(300) // 2 % 2], axis=1).astype(float)
    features = truth * 4 + rng.normal(0, 0.8, (300, 2))
    labels = truth.copy()
    wrong = list(range(5, 300, 20))
    labels[wrong, 1] = 1 - labels[wrong, 1]
    labels[11, 0] = np.nan
    recipe = tiny.recipe(task=tiny.FINDINGS)
    found = check(recipe.task, features, labels, [f"p{row}" for row in range(300)])
    named = {row for row, *_ in found.suspects}
    assert len(named & set(wrong)) > 0.4 * len(wrong)  # of those that are wrong half are as sure as the mean
    assert len(named - set(wrong)) < 0.3 * len(wrong)
    assert all({given, likely} == {"b", "no b"} for row, given, likely, _ in found.suspects if row in wrong)
    assert found.agreement > 0.9
