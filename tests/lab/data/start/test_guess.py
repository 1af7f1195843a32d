"""`edgedx init`: folders, tables and headers as people have them become a recipe that reads all of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny

from edgedx.core.errors import DataError, UsageError
from edgedx.core.settings.recipe import Recipe, load_recipe
from edgedx.lab.data.sources import open_source
from edgedx.lab.data.start.guess import Guess, guess_recipe
from edgedx.lab.data.start.write_recipe import recipe_text


def _recipe(source: Path, tmp_path: Path, **options: str) -> tuple[Recipe, Guess]:
    guess = guess_recipe(source, **options)
    path = tmp_path / "guessed.yaml"
    path.write_text(recipe_text(guess), encoding="utf-8")
    assert len(path.read_text().splitlines()) <= 18
    return load_recipe(str(path)), guess


def _pictures(folder: Path, names: list[str]) -> None:
    for seed, name in enumerate(names):
        tiny.write_picture(folder / name, tiny.picture(seed, bright=seed % 2 == 1))


# Tables

NAMES = [f"scans/köln_{index:02d}.png" for index in range(24)]


def _rows(path_of: Callable[[str], str] = lambda name: name, columns: tuple[str, str, str, str] = (
    "Datei", "Diagnose class", "patient_id", "age")) -> list[list[str]]:  # fmt: skip
    body = [[path_of(name), ["normal", "größer"][index % 2], f"p{index // 2}", f"{50 + index},5"]
            for index, name in enumerate(NAMES)]  # fmt: skip
    return [list(columns), *body]


def _text(rows: list[list[str]], delimiter: str) -> str:
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter).writerows(rows)
    return stream.getvalue()


WAYS: dict[str, Callable[[str], str]] = {
    "relative": lambda name: name,
    "windows": lambda name: name.replace("/", "\\"),
    "another machine": lambda name: "D:\\study\\2024\\" + name.replace("/", "\\"),
    "another home": lambda name: f"/home/anna/study/{name}",
    "bare name": lambda name: Path(name).name,
    "no suffix": lambda name: Path(name).stem,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("delimiter", "encoding"),
    [(",", "utf-8"), (";", "utf-8-sig"), ("\t", "utf-16"), (";", "cp1252")],
)
def test_a_table_is_read_whole_however_it_was_saved(tmp_path: Path, way: str, delimiter: str, encoding: str) -> None:
    _pictures(tmp_path, NAMES)
    (tmp_path / "labels.csv").write_bytes(_text(_rows(WAYS[way]), delimiter).encode(encoding))
    recipe, guess = _recipe(tmp_path, tmp_path)
    assert recipe.task.classes == ["normal", "größer"] and recipe.task.positive == "größer"
    assert recipe.data.patient_column == "patient_id" and recipe.data.subgroup_columns == ["age"]
    rows = open_source(recipe).rows
    assert [row.problem for row in rows] == [""] * 24
    assert [row.name for row in rows] == NAMES and guess.classes == {"normal": 12, "größer": 12}


def test_a_table_without_a_header_row_is_noticed(tmp_path: Path) -> None:
    _pictures(tmp_path, NAMES)
    (tmp_path / "list.txt").write_text(_text(_rows()[1:], "\t"), encoding="utf-8")
    recipe, guess = _recipe(tmp_path / "list.txt", tmp_path)
    assert len(open_source(recipe).rows) == 24 and "no header row" in guess.remarks["data"]


def test_a_slip_of_the_pen_is_told_and_spellings_are_joined(tmp_path: Path) -> None:
    _pictures(tmp_path, NAMES)
    rows = [["image", "label"]] + [[name, ["Normal", "Pneumonia"][index % 2]] for index, name in enumerate(NAMES)]
    rows[2][1], rows[3][1], rows[4][1] = "Pnuemonia", "normal ", "PNEUMONIA"
    (tmp_path / "labels.csv").write_text(_text(rows, ","), encoding="utf-8")
    recipe, guess = _recipe(tmp_path, tmp_path)
    assert recipe.task.classes == ["Normal", "Pneumonia"]
    assert any("'Pnuemonia', 1 image(s): did you mean 'Pneumonia'?" in notice for notice in guess.notices)
    assert [row.problem for row in open_source(recipe).rows if row.problem] == [
        "label 'Pnuemonia' is no class of the recipe: did you mean 'Pneumonia'?"
    ]


def test_several_findings_are_recognised(tmp_path: Path) -> None:
    _pictures(tmp_path, NAMES)
    rows = [["Path", "Edema", "Cardiomegaly"]]
    rows += [[name, ["1.0", "-1.0", "", "0.0"][index % 4], str(index % 2)] for index, name in enumerate(NAMES)]
    (tmp_path / "train.csv").write_text(_text(rows, ","), encoding="utf-8")
    recipe, _ = _recipe(tmp_path, tmp_path)
    assert recipe.task.kind == "multilabel" and recipe.data.label_columns == ["Edema", "Cardiomegaly"]
    assert np.isnan(open_source(recipe).rows[1].label[0])


def test_the_table_of_chexpert_is_several_findings(tmp_path: Path) -> None:
    """Its column No Finding is one of the findings, and its paths begin with the name of the archive."""
    names = [f"train/patient{index // 2:05d}/study1/view{index % 2 + 1}_frontal.png" for index in range(24)]
    _pictures(tmp_path, names)
    rows = [["Path", "Sex", "Age", "AP/PA", "No Finding", "Edema"]]
    rows += [[f"CheXpert-v1.0-small/{name}", "Male", str(50 + index), "AP", ["1.0", ""][index % 2],
              ["", "-1.0", "1.0"][index % 3]] for index, name in enumerate(names)]  # fmt: skip
    (tmp_path / "train.csv").write_text(_text(rows, ","), encoding="utf-8")
    recipe, _ = _recipe(tmp_path, tmp_path)
    assert recipe.data.label_columns == ["No Finding", "Edema"] and recipe.data.subgroup_columns == ["Sex", "Age"]
    rows_read = open_source(recipe).rows
    assert {row.name for row in rows_read} == set(names) and len(
        {row.patient for row in rows_read if row.patient}
    ) == 12


def test_spellings_of_patients_are_merged_and_told(tmp_path: Path) -> None:
    _pictures(tmp_path, NAMES)
    rows = _rows()
    rows[1][2], rows[2][2] = "007", "7.0"
    (tmp_path / "labels.csv").write_text(_text(rows, ","), encoding="utf-8")
    recipe, guess = _recipe(tmp_path, tmp_path)
    assert recipe.data.patient_ids == "merge" and any("taken for 1 patients" in notice for notice in guess.notices)
    assert len({row.patient for row in open_source(recipe).rows[:2]}) == 1


def test_columns_may_be_named(tmp_path: Path) -> None:
    _pictures(tmp_path, NAMES)
    (tmp_path / "labels.csv").write_text(_text(_rows(columns=("f", "one", "two", "three")), ","), encoding="utf-8")
    recipe, _ = _recipe(tmp_path, tmp_path, label="one", patient="two")
    assert recipe.data.label_column == "one" and recipe.data.patient_column == "two"
    with pytest.raises(UsageError, match="no column 'four'") as caught:
        guess_recipe(tmp_path, label="four")
    assert "f, one, two, three" in str(caught.value.next_step)


# Folders


def test_one_folder_a_class(tmp_path: Path) -> None:
    _pictures(tmp_path / "set", [f"{name}/{index}.png" for name in ("Normal", "TB") for index in range(8)])
    recipe, guess = _recipe(tmp_path / "set", tmp_path)
    assert (recipe.task.classes, recipe.task.positive, recipe.name) == (["Normal", "TB"], "TB", "set")
    assert any("no patient is known" in notice for notice in guess.notices)
    assert [row.problem for row in open_source(recipe).rows] == [""] * 16


def test_kaggle_folders_training_and_testing(tmp_path: Path) -> None:
    names = [f"{split}/{name}/{index}.png" for split in ("Training", "Testing") for name in "abc" for index in range(4)]
    _pictures(tmp_path, names)
    recipe, _ = _recipe(tmp_path, tmp_path)
    rows = open_source(recipe).rows
    assert recipe.task.classes == ["a", "b", "c"]
    assert {row.split for row in rows if row.label} == {"train or val", "test"}


def test_patients_in_file_names(tmp_path: Path) -> None:
    names = [
        f"{name}/person{index:02d}_{shot}.png" for name in ("sick", "well") for index in range(8) for shot in (1, 2)
    ]
    _pictures(tmp_path, names)
    recipe, guess = _recipe(tmp_path, tmp_path)
    assert "patients by file names" in guess.remarks["data"]
    assert len({row.patient for row in open_source(recipe).rows}) == 9  # eight, and none of the recipe's own file


def test_a_class_that_is_none_is_asked_about(tmp_path: Path) -> None:
    _pictures(tmp_path, [f"{name}/{index}.png" for name in ("dark", "bright", "unsure") for index in range(4)])
    assert any("is 'unsure' a class (4 images)?" in notice for notice in guess_recipe(tmp_path).notices)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([f"{index}.png" for index in range(4)], "nothing says the class"),
        ([f"only/{index}.png" for index in range(4)], "nothing says the class"),
        ([f"patient{index}/1.png" for index in range(30)], "look like patients"),
    ],
)
def test_what_cannot_be_guessed_says_what_is_missing(tmp_path: Path, names: list[str], message: str) -> None:
    _pictures(tmp_path, names)
    with pytest.raises(DataError, match=message) as caught:
        guess_recipe(tmp_path)
    assert "image,label,patient_id" in str(caught.value.next_step)


def test_nothing_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        guess_recipe(tmp_path / "absent")
    with pytest.raises(DataError, match="no image file"):
        guess_recipe(tmp_path)
    _pictures(tmp_path, ["a.png"])
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="no column names image files"):
        guess_recipe(tmp_path / "other.csv")
