"""A data set is read whole or not at all; each exclusion is counted and listed; leaks are refused."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny

from edgedx.core.errors import DataError, EdgedxError
from edgedx.core.image import Image
from edgedx.core.preprocess import canvas
from edgedx.core.settings.recipe import Recipe
from edgedx.lab.data.dataset import FILES, Dataset, build_dataset, load_dataset
from edgedx.lab.data.prepare import data_stage

folder = tiny.folder
SPLIT = {"split_column": "split"}


def _build(recipe: Recipe, out: Path) -> tuple[Dataset, dict[str, Any]]:
    summary = build_dataset(recipe, out)
    return load_dataset(out, recipe.task.kind, recipe.preprocess), summary


def _excluded(out: Path) -> dict[str, str]:
    with (out / "excluded.csv").open(newline="") as stream:
        return {row["image"]: row["reason"] for row in csv.DictReader(stream)}


def _content(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


def _given(folder: Path, change: Callable[[list[tiny.Entry]], None] = lambda entries: None) -> list[tiny.Entry]:
    """The tiny data set with a split column, after `change` of its rows."""
    entries = tiny.with_splits(tiny.write_set(folder))
    change(entries)
    tiny.write_table(folder, entries)
    return entries


# What is read


def test_each_image_has_its_canvas_label_and_patient(folder: Path, tmp_path: Path) -> None:
    recipe = tiny.recipe(folder, data={"subgroup_columns": ["sex"]})
    data, summary = _build(recipe, tmp_path / "data")
    assert len(data) == summary["images"] == 60 and summary["patients"] == 30 and summary["excluded"] == {}
    for index in (0, 7, 59):
        pixels = cv2.imread(str(folder / data.names[index]), cv2.IMREAD_UNCHANGED)
        expected = canvas(Image.of_array(pixels), recipe.preprocess)
        np.testing.assert_array_equal(data.canvases[data.rows[index]], expected)
        assert data.patients[index] == data.names[index][7:11]
        assert data.labels[index] == int(data.patients[index][1:]) % 2
        assert data.subgroups[index] == {"sex": "FM"[index % 2]}


def test_the_summary_counts_splits_and_classes(folder: Path, tmp_path: Path) -> None:
    data, summary = _build(tiny.recipe(folder), tmp_path / "data")
    assert summary["splits"] == {split: data.splits.count(split) for split in ("train", "val", "test")}
    assert {name: sum(counts.values()) for name, counts in summary["classes"].items()} == {"dark": 30, "bright": 30}
    (warning,) = summary["warnings"]
    assert "test images of" in warning and "95 % interval" in warning
    assert json.loads((tmp_path / "data/dataset.json").read_text()) == summary


def test_patients_are_not_divided(folder: Path, tmp_path: Path) -> None:
    data, _ = _build(tiny.recipe(folder), tmp_path / "data")
    assert set(data.splits) == {"train", "val", "test"}
    assert len({(patient, split) for patient, split in zip(data.patients, data.splits, strict=True)}) == 30


@pytest.mark.parametrize(
    ("options", "dtype", "shape"),
    [
        ({"bits": 8}, np.uint8, (32, 32)),
        ({"bits": 16}, np.uint16, (32, 32)),
        ({"colour": "rgb", "mean": [0.5] * 3, "std": [0.2] * 3}, np.uint8, (32, 32, 3)),
        ({"size": [24, 40]}, np.uint8, (24, 40)),
    ],
)
def test_canvases_are_kept_at_the_depth_and_size_of_the_recipe(
    folder: Path, tmp_path: Path, options: dict[str, Any], dtype: type, shape: tuple[int, ...]
) -> None:
    data, _ = _build(tiny.recipe(folder, preprocess=options), tmp_path / "data")
    assert data.canvases.dtype == dtype and data.canvases.shape[1:] == shape
    assert isinstance(data.canvases, np.memmap)


def test_a_subset_holds_one_split_and_batches_keep_its_order(folder: Path, tmp_path: Path) -> None:
    data, _ = _build(tiny.recipe(folder), tmp_path / "data")
    val = data.subset("val")
    assert set(val.splits) == {"val"} and len(val) == data.splits.count("val")
    batches = list(val.batches(4))
    assert [len(batch) for batch in batches[:-1]] == [4] * (len(batches) - 1)
    np.testing.assert_array_equal(np.concatenate(batches), val.canvases[val.rows])
    picked = val.take([2, 0])
    assert picked.names == [val.names[2], val.names[0]] and picked.labels.tolist() == [val.labels[2], val.labels[0]]


def test_unknown_labels_come_back_as_nan(folder: Path, tmp_path: Path) -> None:
    entries = tiny.write_set(folder)
    for index, entry in enumerate(entries):
        entry |= {"a": str(index // 2 % 2), "b": ["0", "1", ""][index // 2 % 3]}
    tiny.write_table(folder, entries)
    recipe = tiny.recipe(folder, task=tiny.FINDINGS, data={"label_columns": ["a", "b"]})
    data, summary = _build(recipe, tmp_path / "data")
    assert data.labels.shape == (60, 2) and np.isnan(data.labels[:, 1]).sum() == 20
    assert sum(summary["classes"]["a"].values()) == 30 and sum(summary["classes"]["b"].values()) == 20
    assert 6 <= summary["splits"]["val"] <= 12


def test_folders_need_no_table(folder: Path, tmp_path: Path) -> None:
    for index in range(40):
        tiny.write_picture(tmp_path / "by-class" / tiny.CLASSES[index % 2] / f"{index}.png", tiny.picture(index))
    data, summary = _build(tiny.recipe(tmp_path / "by-class", data={"source": "folders"}), tmp_path / "data")
    assert summary["splits"] == {"train": 28, "val": 6, "test": 6}
    assert all(name.startswith(tiny.CLASSES[label]) for name, label in zip(data.names, data.labels, strict=True))


def test_folders_may_give_the_split(tmp_path: Path) -> None:
    for index, split in enumerate(("train", "train", "val", "test")):
        for name in tiny.CLASSES:
            pixels = tiny.picture(index + 10 * len(name))
            tiny.write_picture(tmp_path / "set" / split / name / f"{index}.png", pixels)
    data, summary = _build(tiny.recipe(tmp_path / "set", data={"source": "folders"}), tmp_path / "data")
    assert summary["splits"] == {"train": 4, "val": 2, "test": 2}
    assert all(name.startswith(split) for name, split in zip(data.names, data.splits, strict=True))


def test_a_medmnist_file_is_read(tmp_path: Path) -> None:
    arrays = {}
    for index, split in enumerate(("train", "val", "test")):
        arrays[f"{split}_images"] = np.stack([tiny.picture(10 * index + shot, side=32) for shot in range(6)])
        arrays[f"{split}_labels"] = np.arange(6)[:, None] % 2
    np.savez(tmp_path / "x.npz", **arrays)
    data, _ = _build(tiny.recipe(tmp_path / "x.npz", data={"source": "medmnist"}), tmp_path / "data")
    np.testing.assert_array_equal(data.subset("val").canvases[data.subset("val").rows], arrays["val_images"])


# What is left out


def test_every_exclusion_is_counted_and_listed(folder: Path, tmp_path: Path) -> None:
    entries = tiny.write_set(folder)
    good = {"label": "dark", "patient_id": "q", "sex": "F"}
    picture = tiny.picture(9001)
    (folder / "garbage.png").write_bytes(b"no picture")
    (folder / "cut.png").write_bytes((folder / entries[0]["image"]).read_bytes()[:400])
    tiny.write_picture(folder / "small.png", tiny.picture(1, side=15))
    tiny.write_picture(folder / "blank.png", np.full((40, 40), 7, np.uint8))
    for name in ("once.png", "twice.png"):
        tiny.write_picture(folder / name, picture)
    for name in ("sick.png", "well.png"):
        tiny.write_picture(folder / name, tiny.picture(9002))
    bad = [
        {"image": "garbage.png"},
        {"image": "cut.png"},
        {"image": "nowhere.png"},
        {"image": "small.png"},
        {"image": "blank.png"},
        {"image": "ambiguous.png", "label": "unsure"},
        {"image": "unlabelled.png", "label": ""},
        {"image": "mistyped.png", "label": "drak"},
        {"image": "incomplete.png", "sex": ""},
        {"image": "nobody.png", "patient_id": ""},
        {"image": str(folder / "once.png")},
        {"image": "../set/once.png"},
        {"image": "twice.png"},
        {"image": "sick.png", "label": "bright"},
        {"image": "well.png"},
    ]
    tiny.write_table(folder, [*entries, {"image": "once.png", **good}, *({**good, **entry} for entry in bad)])
    recipe = tiny.recipe(folder, data={"ambiguous_labels": ["unsure"], "required_columns": ["sex"]})
    data, summary = _build(recipe, tmp_path / "data")
    found = _excluded(tmp_path / "data")
    assert found.pop("cut.png").startswith("unreadable")
    assert found == {
        "garbage.png": "unreadable: UNKNOWN_FORMAT",
        "nowhere.png": "unreadable: file",
        "small.png": "too small",
        "blank.png": "blank",
        "ambiguous.png": "ambiguous label",
        "unlabelled.png": "missing label",
        "mistyped.png": "label 'drak' is no class of the recipe",
        "incomplete.png": "incomplete metadata: sex",
        "nobody.png": "incomplete metadata: patient_id",
        str(folder / "once.png"): "path leaves the data set",
        "../set/once.png": "path leaves the data set",
        "twice.png": "duplicate",
        "sick.png": "same image under two labels",
        "well.png": "same image under two labels",
    }
    assert sum(summary["excluded"].values()) == 15 and summary["excluded"]["path leaves the data set"] == 2
    assert len(data) == 61 and "once.png" in data.names


def test_identical_images_with_unknown_labels_do_not_contradict_each_other(folder: Path, tmp_path: Path) -> None:
    entries = [
        {**entry, "a": str(index % 2), "b": str(index % 3 % 2)} for index, entry in enumerate(tiny.write_set(folder))
    ]
    for name in ("once.png", "twice.png"):
        tiny.write_picture(folder / name, tiny.picture(9001))
        entries.append({"image": name, "label": "", "patient_id": "q", "sex": "F", "a": "1", "b": ""})
    tiny.write_table(folder, entries)
    build_dataset(tiny.recipe(folder, task=tiny.FINDINGS, data={"label_columns": ["a", "b"]}), tmp_path / "data")
    assert _excluded(tmp_path / "data") == {"twice.png": "duplicate"}


def test_a_source_with_nothing_usable_says_why(folder: Path, tmp_path: Path) -> None:
    tiny.write_table(folder, [{**entry, "label": ""} for entry in tiny.write_set(folder)])
    with pytest.raises(DataError, match=r"none of 60 images is usable: missing label \(60\)"):
        build_dataset(tiny.recipe(folder), tmp_path / "data")


def test_an_empty_class_is_refused(folder: Path, tmp_path: Path) -> None:
    tiny.write_table(folder, [entry for entry in tiny.write_set(folder) if entry["label"] == "dark"])
    with pytest.raises(DataError, match="class 'bright' has no usable image"):
        build_dataset(tiny.recipe(folder), tmp_path / "data")


def test_a_class_missing_from_a_given_split_is_refused(folder: Path, tmp_path: Path) -> None:
    entries = [e for e in tiny.with_splits(tiny.write_set(folder)) if (e["split"], e["label"]) != ("val", "dark")]
    tiny.write_table(folder, entries)
    with pytest.raises(DataError, match="class 'dark' has no image in val"):
        build_dataset(tiny.recipe(folder, data=SPLIT), tmp_path / "data")


# Leaks


def _copy(folder: Path, entries: list[tiny.Entry], from_split: str, to_split: str) -> tuple[str, str]:
    """Make the first image of one split also an image of another patient of the other."""
    one = next(entry for entry in entries if entry["split"] == from_split)
    two = next(entry for entry in entries if (entry["split"], entry["label"]) == (to_split, one["label"]))
    shutil.copy(folder / one["image"], folder / two["image"])
    return one["image"], two["image"]


def test_a_given_split_is_kept(folder: Path, tmp_path: Path) -> None:
    entries = _given(folder)
    data, _ = _build(tiny.recipe(folder, data=SPLIT), tmp_path / "data")
    assert dict(zip(data.names, data.splits, strict=True)) == {entry["image"]: entry["split"] for entry in entries}


def test_a_patient_in_two_given_splits_is_refused(folder: Path, tmp_path: Path) -> None:
    _given(folder, lambda entries: entries[0].update(split="test"))
    with pytest.raises(DataError, match=r"leak: 1 patient\(s\) stand in more than one split") as caught:
        build_dataset(tiny.recipe(folder, data=SPLIT), tmp_path / "data")
    assert "split" in str(caught.value.next_step)
    assert str(caught.value).endswith("one of them with images/p000-0.png, images/p000-1.png")  # not the patient


def test_the_same_image_in_two_given_splits_is_refused(folder: Path, tmp_path: Path) -> None:
    one, two = _copy(folder, _given(folder), "train", "test")
    with pytest.raises(DataError, match=rf"leak: 1 image\(s\).*{one} and {two} are identical") as caught:
        build_dataset(tiny.recipe(folder, data=SPLIT), tmp_path / "data")
    assert "data.shared_content=drop-from-train" in str(caught.value.next_step)


@pytest.mark.parametrize(("loser", "keeper"), [("train", "val"), ("train", "test"), ("val", "test")])
def test_the_same_image_is_kept_where_it_is_judged(folder: Path, tmp_path: Path, loser: str, keeper: str) -> None:
    dropped, kept = _copy(folder, _given(folder), loser, keeper)
    recipe = tiny.recipe(folder, data={**SPLIT, "shared_content": "drop-from-train"})
    data, summary = _build(recipe, tmp_path / "data")
    assert _excluded(tmp_path / "data") == {dropped: "also in a later split"}
    assert data.splits[data.names.index(kept)] == keeper and summary["splits"][loser] < 36


def test_the_same_image_of_two_patients_cannot_leak_where_edgedx_chooses(folder: Path, tmp_path: Path) -> None:
    entries = tiny.write_set(folder)
    for entry in entries[4::4]:  # every dark patient's first image is the first patient's
        shutil.copy(folder / entries[0]["image"], folder / entry["image"])
    _, summary = _build(tiny.recipe(folder), tmp_path / "data")
    assert summary["excluded"] == {"duplicate": 14}


def test_duplicates_within_a_published_test_split_stay_and_those_in_train_go(folder: Path, tmp_path: Path) -> None:
    entries = _given(folder)
    gone = {}
    for split in ("train", "val", "test"):
        own = [entry for entry in entries if entry["split"] == split]
        shutil.copy(folder / own[0]["image"], folder / own[1]["image"])
        gone[split] = own[1]["image"]
    _, summary = _build(tiny.recipe(folder, data=SPLIT), tmp_path / "data")
    assert _excluded(tmp_path / "data") == {gone["train"]: "duplicate"}
    assert summary["splits"] == {"train": 35, "val": 12, "test": 12}


# On disk


def test_the_digest_follows_contents_labels_and_splits(folder: Path, tmp_path: Path) -> None:
    entries = _given(folder)
    recipe = tiny.recipe(folder, data=SPLIT)
    digests = [build_dataset(recipe, tmp_path / name)["digest"] for name in ("one", "two")]
    tiny.write_table(folder, [{**entries[0], "label": "bright"}, *entries[1:]])
    digests.append(build_dataset(recipe, tmp_path / "label")["digest"])
    tiny.write_picture(folder / entries[0]["image"], tiny.picture(77))
    digests.append(build_dataset(recipe, tmp_path / "pixel")["digest"])
    tiny.write_table(folder, [{**e, "split": "val"} if e["patient_id"] == "p000" else e for e in entries])
    digests.append(build_dataset(recipe, tmp_path / "split")["digest"])
    assert digests[0] == digests[1] and len(set(digests)) == 4


def test_a_failing_build_leaves_the_old_folder_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    build_dataset(tiny.recipe(folder), runs / "data")
    before = _content(runs / "data")
    shutil.rmtree(folder / "images")  # found out while decoding
    with pytest.raises(DataError):
        build_dataset(tiny.recipe(folder), runs / "data")
    assert _content(runs / "data") == before
    assert [path.name for path in runs.iterdir()] == ["data"]


def test_a_failing_first_build_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    _given(folder, lambda entries: entries[0].update(split="test"))
    with pytest.raises(DataError):
        build_dataset(tiny.recipe(folder, data=SPLIT), tmp_path / "runs/data")
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_build_replaces_the_old_folder_whole(folder: Path, tmp_path: Path) -> None:
    build_dataset(tiny.recipe(folder), tmp_path / "runs/data")
    (tmp_path / "runs/data/old.txt").write_text("old")
    build_dataset(tiny.recipe(folder, preprocess={"size": [24, 24]}), tmp_path / "runs/data")
    assert set(_content(tmp_path / "runs/data")) == {"canvases.npy", "manifest.csv", "excluded.csv", "dataset.json"}


@pytest.mark.parametrize(
    "change",
    [{"size": [24, 24]}, {"bits": 16}, {"colour": "rgb", "mean": [0.5] * 3, "std": [0.2] * 3}],
    ids=["size", "bits", "colour"],
)
def test_canvases_of_another_recipe_are_refused(folder: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    build_dataset(tiny.recipe(folder), tmp_path / "data")
    with pytest.raises(DataError, match="the recipe wants"):
        load_dataset(tmp_path / "data", "binary", tiny.recipe(folder, preprocess=change).preprocess)


@pytest.mark.parametrize("name", ["canvases.npy", "manifest.csv", "dataset.json"])
def test_a_damaged_or_missing_part_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    recipe = tiny.recipe(folder)
    build_dataset(recipe, tmp_path / "data")
    (tmp_path / "data" / name).write_bytes((tmp_path / "data" / name).read_bytes()[:50])
    with pytest.raises(EdgedxError):
        load_dataset(tmp_path / "data", "binary", recipe.preprocess)
    (tmp_path / "data" / name).unlink()
    with pytest.raises(EdgedxError, match="no such file"):
        load_dataset(tmp_path / "data", "binary", recipe.preprocess)


def test_labels_survive_the_manifest_exactly(folder: Path, tmp_path: Path) -> None:
    data, _ = _build(tiny.recipe(folder), tmp_path / "data")
    assert data.labels.dtype == np.int64
    assert not any(math.isnan(label) for label in data.labels.tolist())


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_a_runs_data_that_was_lost_is_made_again_the_same(folder: Path, tmp_path: Path, name: str) -> None:
    recipe = tiny.recipe(folder)
    made = data_stage(recipe, tmp_path / "run")
    before = (tmp_path / "run/data" / name).read_bytes()
    assert data_stage(recipe, tmp_path / "run")["reused"] is True
    (tmp_path / "run/data" / name).unlink()
    again = data_stage(recipe, tmp_path / "run")
    assert again["reused"] is False and again["metrics"]["digest"] == made["metrics"]["digest"]
    assert (tmp_path / "run/data" / name).read_bytes() == before
