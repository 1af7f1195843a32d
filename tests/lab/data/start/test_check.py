"""`edgedx data check`: all problems at once, each exclusion counted, sheets, and facts that give a class away."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny

from edgedx.lab.data.start.check import check_data
from edgedx.lab.data.start.confounders import find_confounders

folder = tiny.folder


def test_a_good_set_is_good(folder: Path, tmp_path: Path) -> None:
    found = check_data(tiny.recipe(folder), tmp_path / "out")
    assert found.good and found.images == found.listed == 60 and found.patients == "60 images of 30 patients"
    assert {name: sum(counts.values()) for name, counts in found.classes.items()} == {"dark": 30, "bright": 30}
    assert found.sizes == {"40 x 40": 60} and found.confounders == []
    for name in tiny.CLASSES:
        sheet = cv2.imread(str(tmp_path / "out" / f"contact-{name}.png"))
        assert sheet.shape[1] > 1000 and sheet.std() > 10
    assert json.loads((tmp_path / "out/check.json").read_text()) == found.to_dict()
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_every_problem_is_told_at_once(folder: Path, tmp_path: Path) -> None:
    entries = tiny.with_splits(tiny.write_set(folder))
    for entry in entries:
        if entry["split"] == "val" and entry["label"] == "bright":
            entry["label"] = "brihgt"
    entries[0]["patient_id"] = "P000"
    entries[2]["image"] = "gone.png"
    (folder / entries[4]["image"]).write_bytes(b"no image")
    tiny.write_table(folder, entries)
    found = check_data(tiny.recipe(folder, data={"split_column": "split", "patient_ids": "refuse"}), tmp_path / "out")
    messages = [problem.message for problem in found.problems]
    assert any("differ only in zeros" in message for message in messages)
    assert any("class 'bright' has no image in val" in message for message in messages)
    assert all(problem.next_step for problem in found.problems) and not found.good
    bright_val = sum(entry["label"] == "brihgt" for entry in entries)
    assert found.excluded["label 'brihgt' is no class of the recipe: did you mean 'bright'?"] == bright_val
    assert sum(found.excluded.values()) == bright_val + 2 and found.listed - found.images == bright_val + 2
    with (tmp_path / "out/excluded.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == bright_val + 2


def test_patients_that_are_not_known_are_not_counted(folder: Path, tmp_path: Path) -> None:
    found = check_data(tiny.recipe(folder, data={"patient_column": None}), tmp_path / "out")
    assert found.patients == "60 images, patients not known"
    assert any("60 images of unknown patients" in warning for warning in found.warnings)


def test_a_source_that_is_not_there_is_a_problem_and_no_traceback(tmp_path: Path) -> None:
    found = check_data(tiny.recipe(tmp_path / "absent"), tmp_path / "out")
    (problem,) = found.problems
    assert f"data set {str(tmp_path / 'absent')!r} not found" in problem.message and "EDGEDX_DATA" in problem.next_step


def test_a_size_that_only_one_class_has_is_told(tmp_path: Path) -> None:
    """IQ-OTH/NCCD: all images of 801 x 512 pixels are malignant."""
    entries = []
    for index in range(80):
        sick = index % 2 == 1
        tiny.write_picture(tmp_path / f"{index}.png", tiny.picture(index, side=60 if sick and index % 3 else 40))
        entries.append({"image": f"{index}.png", "label": tiny.CLASSES[sick], "patient_id": f"p{index}"})
    tiny.write_table(tmp_path, entries)
    found = check_data(tiny.recipe(tmp_path), tmp_path / "out")
    facts = {one.fact: one for one in found.confounders}
    assert "height" in facts and facts["height"].label == "bright"
    assert 0.65 < facts["height"].low < facts["height"].auc < facts["height"].high < 0.95
    assert any("tells bright" in warning for warning in found.warnings)


def test_chance_is_not_told_and_a_scanner_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    labels = np.repeat([0.0, 1.0], 100)
    scanner = np.where(rng.random(200) < 0.8, labels, 1 - labels)
    facts = [{"scanner": f"maker {value:g}", "kilobytes": float(size), "file": f"scan-{number}.png"}
             for number, (value, size) in enumerate(zip(scanner, rng.normal(size=200), strict=True))]  # fmt: skip
    found = find_confounders(facts, labels, ["well", "sick"], [f"p{number // 2}" for number in range(200)])
    assert [one.fact for one in found] == ["scanner"] and found[0].auc == pytest.approx(0.8, abs=0.06)


def test_of_several_classes_each_is_judged_against_the_rest() -> None:
    labels = np.repeat([0.0, 1.0, 2.0], 40)
    facts = [{"width": 100.0 + 50 * (label == 2)} for label in labels]
    found = find_confounders(facts, labels, ["a", "b", "c"], [str(number) for number in range(120)])
    best = found[0]
    assert (best.label, best.auc) == ("c", 1.0) and all(one.auc < 0.9 for one in found[1:])


def test_findings_that_are_not_known_are_left_out() -> None:
    labels = np.array([[1.0, np.nan], [0.0, 1.0]] * 40)
    facts = [{"width": float(row[0])} for row in labels]
    assert [one.label for one in find_confounders(facts, labels, ["a", "b"], [str(n) for n in range(80)])] == ["a"]
