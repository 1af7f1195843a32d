"""Each source lists its rows as they are, says what is wrong with a row, and reads one image."""

from __future__ import annotations

import hashlib
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

from edgedx.core.errors import DataError, InputOutputError
from edgedx.core.settings.recipe import Recipe
from edgedx.lab.data.download import have_or_fetch
from edgedx.lab.data.sources import Row, cache_folder, locate, open_source

folder = tiny.folder


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEDX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EDGEDX_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


def _table(root: Path, *entries: dict[str, str], **sections: Any) -> list[Row]:
    """Rows of a table; cells not given are those of a good row."""
    root.mkdir(exist_ok=True)
    good = {"image": "a.png", "label": "dark", "patient_id": "p1"}
    tiny.write_table(root, [{**good, **entry} for entry in entries])
    return open_source(tiny.recipe(root, **sections)).rows


# Finding the data


def test_data_is_looked_for_in_edgedx_data_then_here_then_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [tmp_path / "given", tmp_path / "here", tmp_path / "cache"]
    for place in places:
        (place / "set").mkdir(parents=True)
    monkeypatch.setenv("EDGEDX_DATA", str(places[0]))
    monkeypatch.chdir(places[1])
    for place in places:
        assert locate("set") == place / "set"
        (place / "set").rmdir()
    with pytest.raises(DataError) as caught:
        locate("set")
    assert all(str(place / "set") in str(caught.value) for place in places)
    assert "EDGEDX_DATA" in str(caught.value.next_step)


def test_a_source_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images found"):
        open_source(tiny.recipe(tmp_path / "empty", data={"source": "folders"}))


# One folder per class


def _folder_recipe(root: Path) -> Recipe:
    return tiny.recipe(root, data={"source": "folders"})


def test_a_folder_is_a_class(tmp_path: Path) -> None:
    for name in (
        "dark/1.png",
        "dark/deeper/2.PNG",
        "bright/3.png",
        "other/4.png",
        "bright/.hidden.png",
        "bright/notes.txt",
    ):
        tiny.write_picture(tmp_path / "set" / name.replace(".txt", ".png"), tiny.picture(len(name)))
    shutil.move(tmp_path / "set/bright/notes.png", tmp_path / "set/bright/notes.txt")
    rows = open_source(_folder_recipe(tmp_path / "set")).rows
    assert {(row.name, row.label) for row in rows} == {
        ("dark/1.png", (0.0,)),
        ("dark/deeper/2.PNG", (0.0,)),
        ("bright/3.png", (1.0,)),
        ("other/4.png", ()),
        ("bright/notes.txt", ()),
    }
    problems = {row.name: row.problem for row in rows if row.problem}
    assert problems == {
        "other/4.png": "folder 'other' is no class of the recipe",
        "bright/notes.txt": "no image file: .txt",
    }
    assert {(row.split, row.patient) for row in rows} == {("", "")}


def test_folders_below_train_val_and_test_give_the_split(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for name in tiny.CLASSES:
            tiny.write_picture(tmp_path / "set" / split / name / "1.png", tiny.picture(1))
    rows = open_source(_folder_recipe(tmp_path / "set")).rows
    assert len(rows) == 6
    assert all(row.name == f"{row.split}/{tiny.CLASSES[int(row.label[0])]}/1.png" for row in rows)


# A table


def test_a_table_gives_label_patient_split_and_subgroups(folder: Path) -> None:
    entries = tiny.with_splits(tiny.write_set(folder, patients=10))
    tiny.write_table(folder, entries)
    rows = open_source(tiny.recipe(folder, data={"split_column": "split", "subgroup_columns": ["sex"]})).rows
    assert [row.problem for row in rows] == [""] * 20
    for row, entry in zip(rows, entries, strict=True):
        assert (row.name, row.patient, row.split) == (entry["image"], entry["patient_id"], entry["split"])
        assert tiny.CLASSES[int(row.label[0])] == entry["label"] and row.subgroups == {"sex": entry["sex"]}


def test_an_image_comes_with_the_hash_of_its_file(folder: Path) -> None:
    source = open_source(tiny.recipe(folder))
    image, digest = source.read(source.rows[3])
    assert digest == hashlib.sha256((folder / source.rows[3].name).read_bytes()).hexdigest()
    np.testing.assert_array_equal(image.pixels, tiny.picture(101, bright=True))


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"label": ""}, "missing label"),
        ({"label": "grey"}, "label 'grey' is no class of the recipe"),
        ({"label": "none"}, "label 'none' is no class of the recipe"),
        ({"label": "dark|bright"}, "label 'dark|bright' is no class of the recipe"),
        ({"label": "unsure"}, "ambiguous label"),
        ({"image": ""}, "no image named"),
        ({"image": "/etc/passwd"}, "path leaves the data set"),
        ({"image": "../elsewhere.png"}, "path leaves the data set"),
        ({"image": "a/../../elsewhere.png"}, "path leaves the data set"),
        ({"patient_id": " "}, "incomplete metadata: patient_id"),
        ({"age": ""}, "incomplete metadata: age"),
        ({"split": "holdout"}, "split 'holdout' is none of train, val, test"),
    ],
)
def test_a_row_that_cannot_be_used_says_why(tmp_path: Path, entry: dict[str, str], problem: str) -> None:
    data = {"ambiguous_labels": ["unsure"], "required_columns": ["age"], "split_column": "split"}
    bad, good = _table(
        tmp_path / "set", {"age": "40", "split": "val", **entry}, {"age": "40", "split": "val"}, data=data
    )
    assert bad.problem == problem
    assert good.problem == ""


def test_spaces_around_cells_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes(b"\xef\xbb\xbfimage,label,patient_id\n a.png , bright , p1 \n")
    (row,) = open_source(tiny.recipe(tmp_path)).rows
    assert row == Row("a.png", (1.0,), "p1")


def test_a_row_that_is_too_short_is_missing_its_label(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("image,patient_id,label\na.png,p1\nb.png\n")
    assert [row.problem for row in open_source(tiny.recipe(tmp_path)).rows] == ["missing label", "missing label"]


def test_labels_may_be_spelled_otherwise_and_several_become_one(tmp_path: Path) -> None:
    names = {"0": "dark", "1": "bright", "2": "bright"}
    rows = _table(tmp_path / "set", *({"label": text} for text in "0123"), data={"label_names": names})
    assert [row.label for row in rows] == [(0,), (1,), (1,), ()]
    assert rows[3].problem == "label '3' is no class of the recipe"


def test_findings_may_be_put_aside(tmp_path: Path) -> None:
    names = {"Mass": "a", "Cyst": "none"}
    entries = [{"label": text} for text in ("Mass|b", "Cyst", "Cyst|Mass")]
    rows = _table(tmp_path / "set", *entries, task=tiny.FINDINGS, data={"label_names": names})
    assert [row.label for row in rows] == [(1, 1), (0, 0), (1, 0)]


def test_without_a_patient_column_each_image_is_its_own(tmp_path: Path) -> None:
    (row,) = _table(tmp_path / "set", {"patient_id": ""}, data={"patient_column": None})
    assert row.problem == "" and row.patient == ""


@pytest.mark.parametrize("option", ["patient_column", "split_column", "label_column", "image_column"])
def test_a_column_that_is_not_there_is_named_beside_those_that_are(tmp_path: Path, option: str) -> None:
    with pytest.raises(DataError, match=r"no column 'nope'; it has image, label, patient_id"):
        _table(tmp_path / "set", {}, data={option: "nope"})


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match=r"labels\.csv"):
        open_source(tiny.recipe(tmp_path))


def test_a_table_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes("image,label,patient_id\nfrüh.png,dark,p1\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"labels\.csv"):
        open_source(tiny.recipe(tmp_path))


# Several findings


def test_findings_are_joined_in_one_column(tmp_path: Path) -> None:
    entries = [{"label": text} for text in ("a", "b|a", "none", "", "c")]
    rows = _table(tmp_path / "set", *entries, task=tiny.FINDINGS)
    assert [row.label for row in rows[:3]] == [(1, 0), (1, 1), (0, 0)]
    assert [row.problem for row in rows] == ["", "", "", "missing label", "label 'c' is no class of the recipe"]


def test_an_empty_cell_of_a_finding_is_unknown(tmp_path: Path) -> None:
    cells = [("1", "0"), ("1.0", ""), ("", "0.0"), ("", ""), ("2", "0")]
    rows = _table(
        tmp_path / "set",
        *({"has_a": one, "has_b": two} for one, two in cells),
        task=tiny.FINDINGS,
        data={"label_columns": ["has_a", "has_b"]},
    )
    assert rows[0].label == (1, 0)
    assert rows[1].label[0] == 1 and math.isnan(rows[1].label[1])
    assert math.isnan(rows[2].label[0]) and rows[2].label[1] == 0
    assert [row.problem for row in rows] == ["", "", "", "missing label", "label '2' is not 0, 1, -1 or empty"]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({}, "nan"),
        ({"*": "positive"}, 1.0),
        ({"has_a": "negative", "*": "positive"}, 0.0),
        ({"has_b": "positive"}, "nan"),
    ],
)
def test_minus_one_is_uncertain_as_each_finding_says(tmp_path: Path, policy: dict[str, str], expected: Any) -> None:
    """CheXpert has -1 for what its reports leave open: U-Ignore, U-Ones or U-Zeros, by finding."""
    data = {"label_columns": ["has_a", "has_b"], "uncertain": policy}
    cells = [("-1.0", "1"), ("-1", "0"), ("0,0", "1,0")]
    rows = _table(tmp_path / "set", *({"has_a": a, "has_b": b} for a, b in cells), task=tiny.FINDINGS, data=data)
    assert [str(row.label[0]) for row in rows] == [str(expected), str(expected), "0.0"]
    assert [row.problem for row in rows] == ["", "", ""]


def test_a_row_that_is_all_uncertain_is_left_out_with_a_reason(tmp_path: Path) -> None:
    (row,) = _table(
        tmp_path / "set", {"has_a": "-1", "has_b": ""}, task=tiny.FINDINGS, data={"label_columns": ["has_a", "has_b"]}
    )
    assert row.problem == "every finding is uncertain"
    with pytest.raises(DataError, match="data.uncertain: 'has_c'"):
        _table(
            tmp_path / "set",
            {"has_a": "1", "has_b": ""},
            task=tiny.FINDINGS,
            data={"label_columns": ["has_a", "has_b"], "uncertain": {"has_c": "positive"}},
        )


# What users do to tables and folders


@pytest.mark.parametrize("name", ["\x00a.png", "a\x00.png", "a\x1b[2J.png", "a\x7f.png"])
def test_a_damaged_path_is_an_exclusion(tmp_path: Path, name: str) -> None:
    """backblaze-backup-checker 298, sqlite-utils PR 804: a NUL in a table ended the run with a traceback."""
    bad, good = _table(tmp_path / "set", {"image": name}, {})
    assert bad.problem.startswith("damaged image path") and good.problem == ""


def test_a_path_of_another_machine_is_made_one_of_this(tmp_path: Path) -> None:
    cells = [r"C:\study\cxr\a.png", "C:/study/cxr/a.png", r"cxr\a.png", "cxr/a.png"]
    rows = _table(tmp_path / "set", *({"image": cell} for cell in cells), data={"image_prefix": "C:\\study\\"})
    assert [row.name for row in rows] == ["cxr/a.png"] * 4
    rows = _table(tmp_path / "set", {"image": "ISIC_1"}, data={"image_format": "images/{}.jpg"})
    assert rows[0].name == "images/ISIC_1.jpg"


def test_a_row_with_more_cells_than_columns_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("image,label,patient_id\na,b.png,dark,p1\nc.png,dark,p1\n")
    rows = open_source(tiny.recipe(tmp_path)).rows
    assert [bool(row.problem) for row in rows] == [True, False] and "more cells" in rows[0].problem


def test_a_misspelt_label_names_the_class_that_may_be_meant(tmp_path: Path) -> None:
    (row,) = _table(tmp_path / "set", {"label": "brihgt"})
    assert row.problem == "label 'brihgt' is no class of the recipe: did you mean 'bright'?"


def test_folders_of_another_spelling_are_named(tmp_path: Path) -> None:
    """fastai PR 938, torchvision 2831: folders that the classes do not name vanished."""
    for name in ("Dark", "Bright"):
        tiny.write_picture(tmp_path / "set" / name / "1.png", tiny.picture(1))
    recipe = _folder_recipe(tmp_path / "set")
    with pytest.raises(DataError, match="there are Bright, Dark") as caught:
        open_source(recipe)
    assert "label_names: {Bright: bright, Dark: dark}" in str(caught.value.next_step)
    named = tiny.recipe(
        tmp_path / "set", data={"source": "folders", "label_names": {"Dark": "dark", "Bright": "bright"}}
    )
    assert [row.label for row in open_source(named).rows] == [(1.0,), (0.0,)]


def test_files_in_no_class_are_listed(tmp_path: Path) -> None:
    for name in ("train/dark/1.png", "train/bright/1.png", "val/grey/1.png", "extra/dark/1.png", "1.png"):
        tiny.write_picture(tmp_path / "set" / name, tiny.picture(1))
    problems = {row.name: row.problem for row in open_source(_folder_recipe(tmp_path / "set")).rows if row.problem}
    assert problems == {
        "val/grey/1.png": "folder 'grey' is no class of the recipe",
        "extra/dark/1.png": "in no folder of a split: train, val or test",
        "1.png": "in no folder of a split: train, val or test",
    }


# MedMNIST


def _npz(path: Path, labels: int = 2, **changes: Any) -> Path:
    arrays: dict[str, Any] = {}
    for index, split in enumerate(("train", "val", "test")):
        arrays[f"{split}_images"] = np.stack([tiny.picture(10 * index + shot, side=28) for shot in range(4)])
        arrays[f"{split}_labels"] = (np.arange(4) % labels)[:, None].astype(np.uint8)
    np.savez(path, **{**arrays, **changes})
    return path


def _medmnist(path: Path, **sections: Any) -> Recipe:
    return tiny.recipe(path, data={"source": "medmnist", "patient_column": None}, **sections)


def test_an_npz_gives_the_official_split_and_its_pixels(tmp_path: Path) -> None:
    source = open_source(_medmnist(_npz(tmp_path / "x.npz")))
    assert [row.name for row in source.rows] == [f"{split}/{i}" for split in ("train", "val", "test") for i in range(4)]
    assert [row.label[0] for row in source.rows] == [0, 1, 0, 1] * 3
    image, digest = source.read(source.rows[6])
    np.testing.assert_array_equal(image.pixels, tiny.picture(12, side=28))
    assert digest == hashlib.sha256(tiny.picture(12, side=28).tobytes()).hexdigest()


def test_an_npz_may_hold_several_findings(tmp_path: Path) -> None:
    labels = np.array([[0, 1], [1, 1], [0, 0], [1, 0]])
    path = _npz(tmp_path / "x.npz", **{f"{split}_labels": labels for split in ("train", "val", "test")})
    rows = open_source(_medmnist(path, task=tiny.FINDINGS)).rows
    assert [row.label for row in rows[:4]] == [(0, 1), (1, 1), (0, 0), (1, 0)]


def test_a_label_that_is_no_class_is_a_problem_of_its_row(tmp_path: Path) -> None:
    rows = open_source(_medmnist(_npz(tmp_path / "x.npz", labels=3))).rows
    assert [row.problem for row in rows[:4]] == ["", "", "label '2' is no class of the recipe", ""]


def test_an_npz_of_another_task_is_refused(tmp_path: Path) -> None:
    labels = {f"{split}_labels": np.zeros((4, 5)) for split in ("train", "val", "test")}
    with pytest.raises(DataError, match="5"):
        open_source(_medmnist(_npz(tmp_path / "x.npz", **labels)))


def test_an_npz_with_more_labels_than_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a MedMNIST npz"):
        open_source(_medmnist(_npz(tmp_path / "x.npz", val_labels=np.zeros((3, 1)))))


def _cut(path: Path) -> None:
    path.write_bytes(_npz(path).read_bytes()[:-200])


def _flip(path: Path) -> None:
    data = bytearray(_npz(path).read_bytes())
    data[200] ^= 255
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    "write",
    [
        _cut,
        _flip,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("<html>404</html>"),
        lambda path: np.savez(path, pixels=np.zeros(3)),
        lambda path: np.save(path.open("wb"), np.zeros(3)),
        lambda path: _npz(path, train_labels=np.array([{"a": 1}] * 4)),
    ],
    ids=["cut", "flipped", "empty", "web page", "other arrays", "npy", "pickled"],
)
def test_a_damaged_npz_is_refused(tmp_path: Path, write: Any) -> None:
    path = tmp_path / "x.npz"
    write(path)
    with pytest.raises(DataError, match=r"x\.npz is not a MedMNIST npz"):
        open_source(_medmnist(path))


# Phantoms


def test_phantoms_are_made_once_into_the_cache(tmp_path: Path) -> None:
    recipe = tiny.recipe(
        data={"source": "phantom", "phantom_patients": 12},
        task={"kind": "binary", "classes": ["normal", "opacity"], "positive": "opacity"},
    )
    source = open_source(recipe)
    assert len({row.patient for row in source.rows}) == 12
    image, _ = source.read(source.rows[0])
    assert image.meta and image.pixels.dtype != np.uint8
    before = {path: path.stat().st_mtime_ns for path in cache_folder().rglob("*")}
    assert open_source(recipe).rows == source.rows
    assert {path: path.stat().st_mtime_ns for path in cache_folder().rglob("*")} == before


# Downloads; a file:// address takes the same way as https://


def _download(tmp_path: Path, content: bytes, **data: Any) -> Recipe:
    (tmp_path / "official.npz").write_bytes(content)
    options = {"download": (tmp_path / "official.npz").as_uri(), "md5": hashlib.md5(content).hexdigest()}
    return tiny.recipe("set.npz", data={"source": "medmnist", **options, **data})


def test_a_download_goes_into_the_cache(tmp_path: Path) -> None:
    assert have_or_fetch(_download(tmp_path, b"pixels" * 400_000))
    assert locate("set.npz") == cache_folder() / "set.npz"
    assert locate("set.npz").read_bytes() == b"pixels" * 400_000


def test_what_is_here_is_not_downloaded_again(tmp_path: Path) -> None:
    (tmp_path / "set.npz").write_bytes(b"mine")
    assert have_or_fetch(_download(tmp_path, b"theirs"))
    assert (tmp_path / "set.npz").read_bytes() == b"mine" and not cache_folder().exists()


def test_a_download_that_is_not_the_official_file_is_refused_and_not_kept(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not the official file"):
        have_or_fetch(_download(tmp_path, b"forged", md5="0" * 32))
    assert not list(cache_folder().iterdir())


@pytest.mark.parametrize("data", [{"download": "file:///nowhere/at/all"}, {"download": None}, {"md5": None}])
def test_offline_or_without_an_address_nothing_is_there(tmp_path: Path, data: dict[str, Any]) -> None:
    assert not have_or_fetch(_download(tmp_path, b"x", **data))
