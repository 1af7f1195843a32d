"""Does a map point at the finding, or lie at the rim: maps whose answer is known, masks and boxes from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny
from toy import SPEC, planted

from edgedx.core.errors import DataError
from edgedx.core.image import Image
from edgedx.lab.evidence.explain.explain import explain
from edgedx.lab.evidence.explain.fidelity import means
from edgedx.lab.evidence.explain.files import notes, sentences, to_dict
from edgedx.lab.evidence.explain.images import ExplainedImages
from edgedx.lab.evidence.explain.pointing import (
    border_cannot_tell,
    border_ring,
    in_regions,
    on_border,
    pointed,
    tolerance_pixels,
    weight_in,
)
from edgedx.lab.evidence.explain.regions import Regions, regions_of


def _one(shape: tuple[int, int] = (100, 100), **places: float) -> np.ndarray:
    """A map of zeros, with values at places written as ``at_ROW_COLUMN``."""
    heat = np.zeros((1, *shape), np.float32)
    for name, value in places.items():
        row, column = map(int, name.split("_")[1:])
        heat[0, row, column] = value
    return heat


def _mask(top: int, bottom: int, left: int, right: int, shape: tuple[int, int] = (100, 100)) -> np.ndarray:
    mask = np.zeros((1, *shape), np.bool_)
    mask[0, top:bottom, left:right] = True
    return mask


def _images(names: list[str], pixels: list[np.ndarray] | None = None) -> ExplainedImages:
    pixels = pixels or [np.full((32, 32), 60, np.uint8) for _ in names]
    canvases = np.stack([np.full((32, 32), 60, np.uint8) for _ in names])
    truths = [""] * len(names)
    return ExplainedImages(names, names, canvases, truths, "test", read=lambda at: Image.of_array(pixels[at]))


def test_the_share_of_the_weight_in_a_region_is_that_of_positive_values_alone() -> None:
    heat, mask = _one(at_50_50=3.0, at_10_10=1.0, at_51_51=-9.0), _mask(40, 60, 40, 60)
    assert weight_in(heat, mask)[0] == 0.75
    assert np.isnan(weight_in(-heat.clip(0), mask)[0]) and np.isnan(weight_in(heat, mask & False)[0])


def test_a_point_may_miss_by_the_tolerance_and_no_more() -> None:
    mask, near = _mask(40, 60, 40, 60), tolerance_pixels((100, 100))
    assert near == 3
    for column, hit in ((59, 1.0), (62, 1.0), (63, 0.0)):
        found = in_regions(_one(**{f"at_50_{column}": 1.0}), mask, None)
        assert found["pointing"][0] == hit, column
        assert found["energy"][0] == float(column == 59)  # the weight has no tolerance
    assert found["pointing_area"][0] > found["energy_area"][0] == 0.04
    assert np.isnan(found["pointing_other"][0])  # there is no other image


def test_the_squares_of_a_coarse_map_hit_as_often_as_a_point_drawn_in_them() -> None:
    heat = np.kron(np.array([[1, 0], [0, 0]]), np.ones((50, 50)))[None].astype(np.float32)
    assert pointed(heat, _mask(0, 50, 0, 25))[0] == 0.5
    assert np.isnan(pointed(0 * heat, _mask(0, 50, 0, 25))[0])


def test_an_even_map_has_on_the_border_its_share_of_the_area() -> None:
    ring = border_ring((100, 50))
    assert ring.mean() == pytest.approx(0.36) and not ring[50, 25] and ring[9, 25] and not ring[10, 25]
    assert on_border(np.ones((1, 100, 50), np.float32))[0] == pytest.approx(0.36)
    assert on_border(_one(at_0_50=2.0, at_50_50=2.0, at_99_99=4.0))[0] == 0.75


def test_squares_of_a_map_of_two_rows_and_columns_say_nothing_of_the_border() -> None:
    for place in range(4):
        squares = np.kron(np.eye(4)[place].reshape(2, 2), np.ones((50, 50)))[None].astype(np.float32)
        assert on_border(squares)[0] == pytest.approx(0.36)
    assert border_cannot_tell((2, 2)) and not border_cannot_tell((3, 3)) and not border_cannot_tell(None)


def test_maps_by_chance_have_no_more_in_the_regions_than_the_regions_take() -> None:
    rng = np.random.default_rng(0)
    maps = rng.random((400, 32, 32)).astype(np.float32)
    masks = np.concatenate([_mask(r, r + 9, c, c + 7, (32, 32)) for r, c in rng.integers(0, 22, (400, 2))])
    found = in_regions(maps, masks, np.roll(np.arange(400), 1))
    for name in ("pointing_above_area", "pointing_above_other", "energy_above_area", "energy_above_other"):
        one = means({name: found[name]}, [str(n) for n in range(400)], resamples=200, seed=0)[name]
        assert abs(one.value) < 4 * found[name].std() / 20, name
    assert found["pointing"].mean() == pytest.approx(found["pointing_area"].mean(), abs=0.07)


def test_maps_that_always_point_at_the_middle_beat_the_area_and_not_other_images() -> None:
    """Why the region's area alone is no fair chance: findings lie in the middle, too."""
    maps = np.repeat(_one(at_50_50=1.0), 30, axis=0)
    masks = np.repeat(_mask(35, 65, 35, 65), 30, axis=0)
    found = in_regions(maps, masks, np.roll(np.arange(30), 1))
    assert (found["energy_above_area"] > 0.9).all() and not found["energy_above_other"].any()
    assert found["pointing"].all() and not found["pointing_above_other"].any()


def test_masks_are_found_beside_their_images_taken_together_and_what_has_none_is_counted(tmp_path: Path) -> None:
    left, right = np.zeros((40, 60), np.uint8), np.zeros((40, 60), np.uint8)
    left[:, :15], right[:, 45:] = 255, 1  # labels of 1 are marks, too
    for name, mask in (
        ("benign/benign (1)_mask", left),
        ("benign/benign (1)_mask_1", right),
        ("other/benign (1)_mask", right),
        ("normal/normal (1)_mask", 0 * left),
        ("normal/normal (2)_mask", left[:20]),
        ("flat_mask", left),
    ):
        tiny.write_picture(tmp_path / f"{name}.png", mask)
    (tmp_path / "normal" / "normal (3)_mask.png").write_bytes(b"no picture")
    names = ["benign/benign (1).png", "other/benign (1).png", "normal/normal (1).png", "normal/normal (2).png",
             "normal/normal (3).png", "normal/normal (4).png", "deep/down/flat.png"]  # fmt: skip
    found = regions_of(_images(names, [np.full((40, 60), 9, np.uint8)] * 7), tmp_path, SPEC)
    assert found is not None and found.known.tolist() == [True, True, False, False, False, False, True]
    assert found.masks[0][:, :8].all() and found.masks[0][:, 24:].all() and not found.masks[0][:, 8:24].any()
    assert found.masks[1].sum() == found.masks[0].sum() / 2 and not found.masks[1][:, :24].any()
    assert found.skipped == ["its mask is of one colour: nothing is marked", "its mask has another size than the image",
                             "its mask or image is unreadable: UNKNOWN_FORMAT", "no mask or box"]  # fmt: skip
    assert "benign" not in found.where and "benign" not in " ".join(found.skipped)  # names stay in images.csv


def test_boxes_of_a_table_are_taken_together_and_wrong_ones_are_counted(tmp_path: Path) -> None:
    table = tmp_path / "boxes.csv"
    table.write_text("image,left,top,width,height\na.png,0,0,10,20\na.png,90,180,10,20\nb.png,95,0,10,9\n"
                     "c.png,,,,\nd.png,1,1,x,1\ne.png,7,7,.1,.1\n")  # fmt: skip
    names = ["a.png", "b.png", "c.png", "d.png", "e.png"]
    found = regions_of(_images(names, [np.full((200, 100), 9, np.uint8)] * 5), table, SPEC)
    assert found is not None and found.known.tolist() == [True, False, False, False, True]
    assert found.masks[0].sum() == 2 * 9 and found.masks[0][:3, :3].all() and found.masks[0][-3:, -3:].all()
    assert found.masks[4].sum() == 1  # smaller than a pixel of the canvas, and not lost
    assert found.skipped == ["its box reaches out of the image", "no mask or box", "its box is not four numbers"]


def test_boxes_that_the_run_learned_from_are_taken_by_themselves() -> None:
    images = _images(["a", "b"])
    assert regions_of(images, None, SPEC) is None
    images = ExplainedImages(**{**vars(images), "boxes": np.array([[0.5, 0.25, 0.5, 1], [np.nan] * 4], np.float32)})
    found = regions_of(images, None, SPEC)
    assert found is not None and found.known.tolist() == [True, False]
    assert found.masks[0].sum() == 24 and found.masks[0][8:, 16].all()


@pytest.mark.parametrize(
    ("there", "told"),
    [
        ("nothing", "no such file or folder"),
        ("empty", "none of 1 images has a region: 1 no mask or box"),
        ("other.csv", "no column 'left'"),
        ("none.csv", "none of 1 images has a region"),
    ],
)
def test_regions_that_are_of_no_use_are_told_before_any_map_is_made(tmp_path: Path, there: str, told: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.csv").write_text("image,x\na.png,1\n")
    (tmp_path / "none.csv").write_text("image,left,top,width,height\nz.png,1,1,1,1\n")
    with pytest.raises(DataError, match=told):
        regions_of(_images(["a.png"]), tmp_path / there, SPEC)


def test_a_model_that_looks_at_the_spots_points_there_more_than_on_other_images() -> None:
    canvases, spots = np.full((8, 32, 32), 40, np.uint8), np.zeros((8, 32, 32), np.bool_)
    for place in range(8):
        row, column = divmod(place, 2)
        spots[place, 1 + 4 * row : 4 + 4 * row, 17 + 8 * column : 23 + 8 * column] = True
    canvases[spots] = 250
    spots[7] = False  # of one image it is not known
    names = [f"{n}.png" for n in range(8)]
    images = ExplainedImages(names, names, canvases, [""] * 8, "test")
    regions = Regions("masks of somewhere", spots, ["no mask or box"])
    found = explain([planted().subject], images, ["lime"], wanted="c1", regions=regions, resamples=100)
    told = to_dict(found, [])["regions"]
    (one,) = told["maps"]
    assert (told["images"], told["skipped"], told["tolerance_pixels"]) == (7, {"no mask or box": 1}, 1)
    assert told["area"] == pytest.approx(18 / 1024, abs=1e-4)
    for game in ("pointing", "energy"):
        assert one[game]["above_area"]["low"] > 0 and one[game]["above_other"]["low"] > 0, game
    assert sentences(found)[0].startswith("More weight lies in the regions than chance gives, and than maps of other")
    assert any("7 of 8 images have a region (masks of somewhere, 2%" in note for note in notes(found))
    assert to_dict(found, [])["border"]["area"] == pytest.approx(border_ring((32, 32)).mean(), abs=1e-4)
