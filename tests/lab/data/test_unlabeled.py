"""Images without labels: read by content, counted, never one that is judged on."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny

from edgedx.core.errors import DataError
from edgedx.dicom.writing.make import write_dicom
from edgedx.lab.data.dataset import Dataset, build_dataset, load_dataset
from edgedx.lab.data.unlabeled import open_unlabeled, unlabeled_report

folder = tiny.folder


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Path:
    """A run folder with the tiny data set."""
    build_dataset(tiny.recipe(folder), tmp_path / "run" / "data")
    return tmp_path / "run"


def _data(folder: Path, run: Path) -> Dataset:
    recipe = tiny.recipe(folder)
    return load_dataset(run / "data", recipe.task.kind, recipe.preprocess)


def _open(folder: Path, run: Path, source: Path) -> Dataset:
    return open_unlabeled(tiny.recipe(folder), run, source, _data(folder, run))


def _excluded(run: Path) -> dict[str, str]:
    with (run / "unlabeled" / "excluded.csv").open(newline="") as stream:
        return {row["image"]: row["reason"] for row in csv.DictReader(stream)}


def _name(data: Dataset, split: str) -> str:
    return data.names[data.splits.index(split)]


def test_a_tree_of_mixed_files_is_read_and_every_exclusion_is_counted(folder: Path, run: Path, tmp_path: Path) -> None:
    source, data = tmp_path / "more", _data(folder, run)
    tiny.write_picture(source / "a" / "new.png", tiny.picture(7001))
    tiny.write_picture(source / "b" / "deep" / "new.jpg", tiny.picture(7002))
    (source / "c").mkdir()
    write_dicom(source / "c" / "1.2.840.99", tiny.picture(7003).astype(np.uint16) * 16, kind="CR", bits_stored=12)
    tiny.write_picture(source / "again.png", tiny.picture(7001))
    tiny.write_picture(source / "flat.png", np.full((40, 40), 90, np.uint8))
    (source / "notes.txt").write_text("no image")
    (source / ".hidden.png").write_bytes(b"not looked at")
    for split in ("train", "val", "test"):
        (source / f"{split}.png").write_bytes((folder / _name(data, split)).read_bytes())
    found = _open(folder, run, source)
    assert sorted(found.names) == ["a/new.png", "b/deep/new.jpg", "c/1.2.840.99"]  # the first of two alike is kept
    assert _excluded(run) == {
        "again.png": "duplicate",
        "flat.png": "blank",
        "notes.txt": "unreadable: UNKNOWN_FORMAT",
        "train.png": "already in train",
        "val.png": "identical to a val or test image",
        "test.png": "identical to a val or test image",
    }
    report = unlabeled_report(run)
    assert report["files"] == 9 and report["images"] == 3 and sum(report["excluded"].values()) == 6
    assert found.canvases.dtype == data.canvases.dtype and found.canvases.shape[1:] == data.canvases.shape[1:]


def test_an_image_of_test_is_found_in_another_container(folder: Path, run: Path, tmp_path: Path) -> None:
    data = _data(folder, run)
    pixels = cv2.imread(str(folder / _name(data, "test")), cv2.IMREAD_UNCHANGED)
    source = tmp_path / "more"
    source.mkdir()
    assert cv2.imwrite(str(source / "same.tif"), pixels)
    tiny.write_picture(source / "new.png", tiny.picture(7001))
    assert _open(folder, run, source).names == ["new.png"]
    assert _excluded(run) == {"same.tif": "identical to a val or test image"}


def test_files_are_read_once_and_again_when_they_change(folder: Path, run: Path, tmp_path: Path) -> None:
    source = tmp_path / "more"
    tiny.write_picture(source / "new.png", tiny.picture(7001))
    first = _open(folder, run, source)
    written = (run / "unlabeled" / "canvases.npy").stat().st_mtime_ns
    assert _open(folder, run, source).digest == first.digest
    assert (run / "unlabeled" / "canvases.npy").stat().st_mtime_ns == written
    time.sleep(0.01)
    tiny.write_picture(source / "new.png", tiny.picture(7004))  # the same name, and about the same size
    changed = _open(folder, run, source)
    assert changed.digest != first.digest and len(changed) == 1


def test_a_folder_without_any_new_image_is_refused(folder: Path, run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder"):
        _open(folder, run, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no file"):
        _open(folder, run, tmp_path / "empty")
    with pytest.raises(DataError, match=r"already in train \(\d+\)|identical"):
        _open(folder, run, folder / "images")
