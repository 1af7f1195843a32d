"""Boxes of a table: training looks closer at what they mark; val, test and the device see whole images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from edgedx.core.errors import DataError, RecipeError
from edgedx.core.image import Image
from edgedx.core.preprocess import PreprocessSpec, canvas, place_box
from edgedx.core.settings.recipe_sections import Task
from edgedx.core.settings.recipe_training import Augment
from edgedx.lab.data.dataset import build_dataset, load_dataset
from edgedx.lab.feed.augment import look_closer
from edgedx.lab.feed.feed import Feed

COLUMNS = ["left", "top", "width", "height"]
OFF: dict[str, Any] = {"rotation": 0, "zoom": 0, "shift": 0, "intensity": 0}


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "crop"])
@pytest.mark.parametrize("shape", [(60, 90), (90, 60), (50, 50), (31, 97)])
def test_a_box_is_placed_where_its_pixels_come_to_lie(resize: Any, shape: tuple[int, int]) -> None:
    spec = PreprocessSpec(size=(64, 80), resize=resize, window="none", bits=8)
    left, top, right, bottom = shape[1] // 3, shape[0] // 3, shape[1] // 3 * 2, shape[0] // 3 * 2
    pixels = np.zeros(shape, np.uint8)
    pixels[top:bottom, left:right] = 255
    rows, columns = np.nonzero(canvas(Image.of_array(pixels), spec) > 127)
    seen = (columns.min() / 80, rows.min() / 64, (columns.max() + 1) / 80, (rows.max() + 1) / 64)
    assert place_box((left, top, right, bottom), shape, spec) == pytest.approx(seen, abs=1.1 / 64)


def test_what_a_crop_cuts_off_is_cut_from_the_box_too() -> None:
    spec = PreprocessSpec(size=(50, 50), resize="crop", window="none", bits=8)
    assert place_box((0, 0, 30, 50), (50, 100), spec) == pytest.approx((0.0, 0.0, 0.1, 1.0))


def _boxed(folder: Path) -> list[dict[str, str]]:
    """The tiny set of 40 x 40; bright images have a box around their square, the third of them reaches outside."""
    entries = tiny.write_set(folder)
    for entry in entries:
        place = ("10", "10", "10", "10") if entry["label"] == "bright" else ("", "", "", "")
        entry |= dict(zip(COLUMNS, place, strict=True))
    return entries


def test_boxes_of_a_table_reach_the_data_set_and_bad_ones_are_told(tmp_path: Path) -> None:
    entries = _boxed(tmp_path / "set")
    bright = [entry for entry in entries if entry["label"] == "bright"]
    bright[0] |= {"left": "35"}
    bright[1] |= {"width": "wide"}
    bright[2] |= {"height": "0"}
    tiny.write_table(tmp_path / "set", entries)
    recipe = tiny.recipe(tmp_path / "set", data={"roi_columns": COLUMNS})
    summary = build_dataset(recipe, tmp_path / "data")
    assert {reason.partition(":")[0] for reason in summary["excluded"]} == {
        "its box reaches out of the image", "its box is not four numbers", "its box has no place",
    }  # fmt: skip
    data = load_dataset(tmp_path / "data", "binary", recipe.preprocess)
    assert data.boxes is not None and data.boxes.shape == (len(data), 4)
    assert np.isnan(data.boxes[data.labels == 0]).all() and all(
        "box (left, top, width, height)" not in one for one in data.subgroups
    )
    np.testing.assert_allclose(data.boxes[data.labels == 1], [[0.25, 0.25, 0.5, 0.5]] * int((data.labels == 1).sum()))
    plain = build_dataset(tiny.recipe(tmp_path / "set"), tmp_path / "plain")
    assert plain["digest"] != summary["digest"]
    assert load_dataset(tmp_path / "plain", "binary", recipe.preprocess).boxes is None


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    tiny.write_table(tmp_path, _boxed(tmp_path))
    with pytest.raises(DataError, match="no column 'breadth'"):
        build_dataset(tiny.recipe(tmp_path, data={"roi_columns": ["left", "top", "breadth", "height"]}), tmp_path / "d")


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"data": {"roi_columns": ["left", "top"]}}, "roi_columns"),
        ({"data": {"roi_columns": COLUMNS}, "preprocess": {"crop": "content"}}, "roi_columns"),
        ({"data": {"roi_columns": COLUMNS, "source": "folders"}}, "roi_columns"),
        ({"augment": {"roi": 1.5}}, "roi"),
    ],
)
def test_boxes_that_cannot_be_placed_are_refused(sections: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        tiny.recipe("somewhere", **sections)


def test_a_closer_look_shows_the_box_with_its_margin() -> None:
    view = torch.zeros(3, 1, 64, 64)
    view[:, :, 16:32, 32:48] = 1.0
    boxes = torch.tensor([[0.5, 0.25, 0.75, 0.5], [0.5, 0.25, 0.75, 0.5], [torch.nan] * 4])
    seen = look_closer(view, boxes, torch.tensor([True, False, True]))
    assert seen[0].mean() == pytest.approx(1 / 1.5**2, abs=0.02)
    assert seen[0, 0, 32, 32] == 1 and seen[0, 0, 4, 4] == 0 and seen[0, 0, -4, -4] == 0
    torch.testing.assert_close(seen[1:], view[1:])


def test_a_box_at_the_rim_or_very_small_stays_within_the_canvas() -> None:
    ramp = torch.arange(64.0).expand(64, 64)[None, None].repeat(2, 1, 1, 1)
    boxes = torch.tensor([[0.9, 0.9, 1.0, 1.0], [0.5, 0.5, 0.5001, 0.5001]])
    seen = look_closer(ramp, boxes, torch.ones(2, dtype=torch.bool))
    assert seen[0].max() == 63 and seen[0].min() > 50
    assert seen[1].max() - seen[1].min() == pytest.approx(0.2 * 64, abs=1)


def _feed(share: float) -> Feed:
    labels = (np.arange(40) < 20).astype(np.int64)
    data = tiny.dataset(labels, side=16)
    data.canvases[:] = 0
    data.canvases[:20, 4:8, 4:8] = 200
    boxes = np.full((40, 4), np.nan, np.float32)
    boxes[:20] = [0.25, 0.25, 0.5, 0.5]
    spec = PreprocessSpec(size=(16, 16), bits=8, window="none")
    options = Augment(**OFF, roi=share)
    return Feed(
        replace(data, boxes=boxes), Task(**tiny.RECIPE["task"]), spec, options, batch_size=8, sampler=False, seed=0
    )


def test_training_looks_closer_as_often_as_it_is_told() -> None:
    means = {}
    for share in (0.0, 0.5, 1.0):
        views = list(_feed(share).batches(0, 50))
        light = torch.cat([images.mean(dim=(1, 2, 3))[targets[:, 1] == 1] for images, targets in views])
        means[share] = float((light > light.min() + 0.3).float().mean()) if share else float(light.std())
    assert means[0.0] < 1e-6 and 0.35 < means[0.5] < 0.65
    assert _feed(1.0).views(next(iter(_feed(1.0).raw(0, 1))))[0].shape == (8, 1, 16, 16)


def test_views_with_boxes_are_the_same_from_any_step_on() -> None:
    whole, later = list(_feed(0.5).batches(0, 12)), list(_feed(0.5).batches(7, 12))
    assert all(torch.equal(one[0], two[0]) for one, two in zip(whole[7:], later, strict=True))
