"""Pictures encoded or resized anew and adjacent slices stay on one side of the split; different patients stay apart."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny

from edgedx.lab.data.dataset import build_dataset, load_dataset
from edgedx.lab.data.near_duplicates import connected, near_duplicates, thumbnails

DATA = Path(os.environ.get("EDGEDX_DATA", "/nonexistent"))


def _anatomy(seed: int, side: int = 224) -> np.ndarray:
    """A made-up picture: the same large shape for all, with details of its own."""
    rng = np.random.default_rng(seed)
    body = np.zeros((side, side), np.float32)
    cv2.ellipse(body, (side // 2, side // 2), (side // 3, side * 2 // 5), 0, 0, 360, 120.0, -1)
    detail = cv2.resize(rng.normal(0, 40, (28, 28)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    return (body + detail * (body > 0) + 20).clip(0, 255).astype(np.uint8)


def _jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


def _resized(picture: np.ndarray, side: int) -> np.ndarray:
    return cv2.resize(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), picture.shape[::-1])


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: _jpeg(picture, 30),
        lambda picture: _resized(picture, 75),
        lambda picture: (picture * 0.6 + 30).astype(np.uint8),  # windowed anew
        lambda picture: _jpeg(_resized(picture, 128), 60),
        lambda picture: 255 - (255 * (1 - picture / 255.0) ** 1.3).astype(np.uint8),  # gamma
    ],
    ids=["jpeg", "smaller", "window", "smaller jpeg", "gamma"],
)
def test_a_changed_copy_is_a_near_duplicate_and_another_picture_is_not(change: object) -> None:
    pictures = [_anatomy(seed) for seed in range(12)]
    store = np.stack([*pictures, *[change(picture) for picture in pictures]])  # type: ignore[operator]
    found = near_duplicates(store, range(24))
    assert found.tolist() == [[index, index + 12] for index in range(12)]


def test_no_pair_is_lost_to_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgedx.lab.data.near_duplicates._SMALL", 0)
    rng = np.random.default_rng(5)
    pictures = np.stack([_anatomy(seed % 40) for seed in range(120)]).astype(np.float32)
    noisy = (pictures + rng.normal(0, 1, pictures.shape) * rng.uniform(0, 60, (120, 1, 1))).clip(0, 255)
    store = noisy.astype(np.uint8)
    whole, detail = thumbnails(store, range(120))
    above = np.triu((whole @ whole.T >= 0.90) & (detail @ detail.T >= 0.70), 1)
    assert 30 < above.sum() < 200
    assert near_duplicates(store, range(120)).tolist() == np.argwhere(above).tolist()


def test_flat_pictures_are_like_nothing() -> None:
    store = np.stack([np.full((64, 64), value, np.uint8) for value in (0, 0, 100, 255)])
    assert len(near_duplicates(store, range(4))) == 0


def test_colour_and_16_bits_are_compared_too() -> None:
    pictures = [_anatomy(seed, 64) for seed in (1, 1, 2)]
    colour = np.stack([np.repeat(one[..., None], 3, axis=2) for one in pictures])
    deep = np.stack([one.astype(np.uint16) * 257 for one in pictures])
    assert near_duplicates(colour, range(3)).tolist() == near_duplicates(deep, range(3)).tolist() == [[0, 1]]


def test_likeness_connects_by_way_of_others() -> None:
    assert connected(6, np.array([[4, 5], [0, 2], [2, 4]])).tolist() == [0, 1, 0, 3, 0, 0]


def test_the_padding_of_a_letterbox_makes_no_copies(tmp_path: Path) -> None:
    entries = []
    for seed in range(80):
        noise = np.random.default_rng(seed).integers(0, 255, (90, 60) if seed % 2 else (70, 72)).astype(np.uint8)
        tiny.write_picture(tmp_path / f"{seed}.png", noise)
        entries.append({"image": f"{seed}.png", "label": tiny.CLASSES[seed % 2], "patient_id": f"q{seed}"})
    tiny.write_picture(tmp_path / "0b.png", _jpeg(cv2.imread(str(tmp_path / "0.png"), 0), 85))
    entries.append({"image": "0b.png", "label": "dark", "patient_id": "q80"})
    tiny.write_table(tmp_path, entries)
    summary = build_dataset(
        tiny.recipe(tmp_path, preprocess={"resize": "letterbox", "size": [96, 96]}), tmp_path / "out"
    )
    assert summary["near_duplicates"]["images"] == 2


def _write(folder: Path, copies: int = 1, **more: str) -> list[tiny.Entry]:
    """Sixty pictures of sixty patients, then a JPEG of each of the first twenty under yet another patient."""
    entries = []
    for seed in range(60 + 20 * copies):
        picture = _anatomy(seed % 60, 96)
        name = f"{seed:03d}.png"
        tiny.write_picture(folder / name, picture if seed < 60 else _jpeg(picture, 80))
        entries.append({"image": name, "label": tiny.CLASSES[seed % 2], "patient_id": f"q{seed}", **more})
    return entries


RECIPE = {"preprocess": {"size": [96, 96], "window": "none", "bits": 8}}


def test_copies_of_other_patients_stay_on_one_side_and_are_listed(tmp_path: Path) -> None:
    """`brain_tumour_mri4`: 466 of 1,311 published test images have a copy in training."""
    tiny.write_table(tmp_path, _write(tmp_path))
    recipe = tiny.recipe(tmp_path, **RECIPE)
    summary = build_dataset(recipe, tmp_path / "out")
    data = load_dataset(tmp_path / "out", "binary", recipe.preprocess)
    split = dict(zip(data.names, data.splits, strict=True))
    assert all(split[f"{seed:03d}.png"] == split[f"{seed + 60:03d}.png"] for seed in range(20))
    assert summary["near_duplicates"] == {"groups": 20, "images": 40, "labels_differ": 0, "out_of_train": 0}
    with (tmp_path / "out/near-duplicates.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 40 and rows[0]["group"] == rows[1]["group"] == "1"
    free = build_dataset(tiny.recipe(tmp_path, data={"near_duplicates": "ignore"}, **RECIPE), tmp_path / "free")
    assert "near_duplicates" not in free
    data = load_dataset(tmp_path / "free", "binary", recipe.preprocess)
    split = dict(zip(data.names, data.splits, strict=True))
    assert any(split[f"{seed:03d}.png"] != split[f"{seed + 60:03d}.png"] for seed in range(20))


@pytest.mark.parametrize(("policy", "left_out"), [("together", 20), ("list", 0)])
def test_of_a_given_split_train_gives_way(tmp_path: Path, policy: str, left_out: int) -> None:
    entries = _write(tmp_path, split="train")
    for seed, entry in enumerate(entries):  # the pictures whose copies are in train, and some more
        entry["split"] = "test" if seed < 24 else "val" if seed < 36 else "train"
    tiny.write_table(tmp_path, entries)
    recipe = tiny.recipe(tmp_path, data={"split_column": "split", "near_duplicates": policy}, **RECIPE)
    summary = build_dataset(recipe, tmp_path / "out")
    assert summary["excluded"].get("near-duplicate of a val or test image", 0) == left_out
    assert summary["splits"] == {"train": 44 - left_out, "val": 12, "test": 24}
    assert any("figures flatter" in warning for warning in summary["warnings"]) == (policy == "list")


def test_near_duplicates_under_two_labels_are_told(tmp_path: Path) -> None:
    entries = _write(tmp_path)
    entries[60]["label"] = "bright"
    tiny.write_table(tmp_path, entries)
    summary = build_dataset(tiny.recipe(tmp_path, **RECIPE), tmp_path / "out")
    assert summary["near_duplicates"]["labels_differ"] == 1
    assert any("more than one label" in warning for warning in summary["warnings"])


def test_where_all_patients_look_alike_likeness_divides_nothing(tmp_path: Path) -> None:
    picture = _anatomy(0, 96)
    rng = np.random.default_rng(0)
    entries = []
    for seed in range(18):
        tiny.write_picture(
            tmp_path / f"{seed}.png", (picture + rng.integers(0, 9, picture.shape)).clip(0, 255).astype(np.uint8)
        )
        entries.append({"image": f"{seed}.png", "label": tiny.CLASSES[seed % 2], "patient_id": f"q{seed}"})
    tiny.write_table(tmp_path, entries)
    summary = build_dataset(tiny.recipe(tmp_path, **RECIPE), tmp_path / "out")
    assert summary["near_duplicates"]["groups"] == 0 and any("look alike" in one for one in summary["warnings"])


def test_the_round_edge_of_all_fundus_photographs_makes_no_copies() -> None:
    """On IDRiD 368 of 370 photographs were one group, by the edge of the disc alone."""
    pictures = []
    for seed in range(40):
        disc = np.zeros((128, 128), np.float32)
        cv2.circle(disc, (64, 64), 50, 150.0, -1)
        detail = cv2.resize(np.random.default_rng(seed).normal(0, 8, (24, 24)).astype(np.float32), (128, 128))
        pictures.append((disc + detail * (disc > 0)).clip(0, 255).astype(np.uint8))
    store = np.stack([*pictures, _jpeg(pictures[3], 50)])
    assert near_duplicates(store, range(41)).tolist() == [[3, 40]]


@pytest.mark.skipif(not (DATA / "cxr_pneumonia_kermany").is_dir(), reason="cxr_pneumonia_kermany is not here")
def test_chest_radiographs_of_different_children_are_no_near_duplicates() -> None:
    """Posture alone correlates above .95 in 291 pairs of the whole set; their details do not."""
    with (DATA / "cxr_pneumonia_kermany/labels.csv").open(newline="") as stream:
        names = [row["image"] for row in csv.DictReader(stream)][:600]
    store = np.stack([cv2.imread(str(DATA / "cxr_pneumonia_kermany" / name), cv2.IMREAD_GRAYSCALE) for name in names])
    assert len(near_duplicates(store, range(len(store)))) <= 1
