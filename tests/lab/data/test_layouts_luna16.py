"""LUNA16: positions in mm become patches of three planes, whatever way a scan is stored; subsets are folds."""

from __future__ import annotations

from pathlib import Path

import made_layouts
import numpy as np
import pytest
from made_layouts import LUNA_SHAPE, world, write_volume

from edgedx.core.errors import DataError, ImageError, InputOutputError
from edgedx.core.settings.recipe import Recipe, load_recipe
from edgedx.core.settings.recipe_data import Patches
from edgedx.lab.data.dataset import build_dataset, load_dataset
from edgedx.lab.data.layouts.luna16 import ABSENT_SCAN
from edgedx.lab.data.layouts.metaimage import read_header
from edgedx.lab.data.layouts.patches import cut_patch
from edgedx.lab.data.sources import open_source

AIR, WATER = -1000, 0


def _zyx(z: float, y: float, x: float) -> tuple[float, float, float]:
    """mm of a voxel, in the order of `cut_patch`."""
    one, two, three = world(z, y, x)
    return three, two, one


def _marked(*voxels: tuple[int, int, int]) -> np.ndarray:
    values = np.full(LUNA_SHAPE, AIR, np.int16)
    for voxel in voxels:
        values[voxel] = 400
    return values


def _recipe(root: Path, *more: str) -> Recipe:
    return load_recipe("luna16", [f"data.path={root}", "preprocess.size=[24, 24]", "data.patches.side_mm=16", *more])


# The header


def test_a_header_is_read_as_simpleitk_reads_it(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")
    values = np.random.default_rng(0).integers(-1000, 400, LUNA_SHAPE).astype(np.int16)
    for name, flipped in (("plain", False), ("turned", True)):
        write_volume(tmp_path, name, values, flipped=flipped)
        own, theirs = read_header(tmp_path / f"{name}.mhd"), sitk.ReadImage(str(tmp_path / f"{name}.mhd"))
        np.testing.assert_array_equal(own.values(), sitk.GetArrayFromImage(theirs))
        for place in ((0.0, 0.0, 0.0), (3.25, 20.5, 7.0), (11.0, 39.0, 43.0)):
            expected = theirs.TransformPhysicalPointToContinuousIndex(world(*place))
            np.testing.assert_allclose(own.voxel(_zyx(*place))[::-1], expected, atol=1e-9)


def test_a_point_is_found_in_a_scan_that_is_stored_backwards(tmp_path: Path) -> None:
    values = _marked((4, 10, 30))
    for name, flipped in (("plain", False), ("turned", True)):
        write_volume(tmp_path, name, values, flipped=flipped)
        volume = read_header(tmp_path / f"{name}.mhd")
        place = tuple(round(value) for value in volume.voxel(_zyx(4, 10, 30)))
        assert volume.values()[place] == 400


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"CompressedData": "True"}, "compressed"),
        ({"ElementType": "MET_DOUBLE"}, "ElementType"),
        ({"NDims": "4"}, "three dimensions"),
        ({"DimSize": "44 40"}, "DimSize is not 3 numbers"),
        ({"DimSize": "44 40 13"}, "bytes, the header wants"),
        ({"DimSize": "44 40 -12"}, "three dimensions"),
        ({"ElementSpacing": "1 0 1"}, "ElementSpacing"),
        ({"ElementSpacing": "1 nan 1"}, "ElementSpacing"),
        ({"TransformMatrix": "0.9 0.4 0 -0.4 0.9 0 0 0 1"}, "oblique"),
        ({"ElementDataFile": "/etc/passwd"}, "ElementDataFile"),
        ({"ElementDataFile": "LOCAL"}, "ElementDataFile"),
    ],
)
def test_a_volume_that_is_not_as_published_is_refused(tmp_path: Path, change: dict[str, str], told: str) -> None:
    write_volume(tmp_path, "x", _marked(), **change)
    with pytest.raises(ImageError, match=told) as caught:
        read_header(tmp_path / "x.mhd")
    assert caught.value.code == "BROKEN_VOLUME"


def test_values_that_are_missing_are_named(tmp_path: Path) -> None:
    write_volume(tmp_path, "x", _marked())
    (tmp_path / "x.raw").unlink()
    with pytest.raises(InputOutputError, match=r"x\.raw"):
        read_header(tmp_path / "x.mhd")


# The patch


def test_the_centre_of_every_plane_is_the_candidate(tmp_path: Path) -> None:
    """A bar along each axis goes through the point: each plane shows two of them as a cross, and the third as a dot."""
    values = np.full(LUNA_SHAPE, AIR, np.int16)
    values[6, 20, :], values[6, :, 22], values[:, 20, 22] = 100, 200, 300
    write_volume(tmp_path, "x", values)
    options = Patches(side_mm=16, pixels=33, window_hu=(-1000, 1000))
    patch = cut_patch(read_header(tmp_path / "x.mhd"), _zyx(6, 20, 22), options).astype(int)
    level = {hu: round((hu + 1000) / 2000 * 255) for hu in (100, 200, 300)}
    axial, coronal, sagittal = np.moveaxis(patch, -1, 0)
    middle = 16
    assert (axial[middle, 5], axial[5, middle]) == (level[100], level[200])
    assert (coronal[middle, 5], coronal[5, middle]) == (level[100], level[300])
    assert (sagittal[middle, 5], sagittal[5, middle]) == (level[200], level[300])
    assert axial[5, 5] == coronal[5, 5] == sagittal[5, 5] == 0


def test_a_patch_is_in_mm_and_the_same_however_the_scan_is_stored(tmp_path: Path) -> None:
    values = np.random.default_rng(3).integers(-1000, 400, LUNA_SHAPE).astype(np.int16)
    patches = []
    for name, flipped in (("plain", False), ("turned", True)):
        write_volume(tmp_path, name, values, flipped=flipped)
        patches.append(
            cut_patch(read_header(tmp_path / f"{name}.mhd"), _zyx(6, 20, 22), Patches(side_mm=12, pixels=32))
        )
    assert np.abs(patches[0].astype(int) - patches[1]).max() <= 1
    # 10 voxels of 0.7 mm down, at 12 mm over 32 pixels
    values = _marked((6, 30, 22))
    write_volume(tmp_path, "far", values)
    patch = cut_patch(read_header(tmp_path / "far.mhd"), _zyx(6, 20, 22), Patches(side_mm=24, pixels=48))
    row, column = np.unravel_index(patch[..., 0].argmax(), patch.shape[:2])
    assert abs(row - (23.5 + 7.0 / 0.5)) <= 0.5 and abs(column - 23.5) <= 0.5


def test_the_head_is_up_and_the_left_is_right(tmp_path: Path) -> None:
    values = _marked((9, 20, 22), (6, 20, 32))
    write_volume(tmp_path, "x", values)
    patch = cut_patch(read_header(tmp_path / "x.mhd"), _zyx(6, 20, 22), Patches(side_mm=24, pixels=48))
    coronal = patch[..., 1]
    assert coronal[:20, 22:26].max() > 100 and coronal[28:, 22:26].max() == 0
    assert coronal[22:26, 30:].max() > 100 and coronal[22:26, :18].max() == 0


def test_adjacent_planes_are_above_through_and_below(tmp_path: Path) -> None:
    values = np.full(LUNA_SHAPE, AIR, np.int16)
    for slice_ in range(LUNA_SHAPE[0]):
        values[slice_] = AIR + 100 * slice_
    write_volume(tmp_path, "x", values)
    volume = read_header(tmp_path / "x.mhd")
    options = Patches(planes="adjacent", gap_mm=4.0, side_mm=8, pixels=16, window_hu=(-1000, 550))
    middle = cut_patch(volume, _zyx(6, 20, 22), options)[8, 8]
    assert [round(value / 255 * 1550 / 100) for value in middle.tolist()] == [8, 6, 4]
    first = cut_patch(volume, _zyx(0, 20, 22), options)[8, 8]
    assert [round(value / 255 * 1550 / 100) for value in first.tolist()] == [2, 0, 0]


def test_outside_of_the_scan_it_is_black(tmp_path: Path) -> None:
    write_volume(tmp_path, "x", np.full(LUNA_SHAPE, WATER, np.int16))
    volume = read_header(tmp_path / "x.mhd")
    patch = cut_patch(volume, _zyx(0, 0, 0), Patches(side_mm=12, pixels=32))
    assert patch[2, 2, 0] == 0 and patch[24, 24, 0] == round(1000 / 1400 * 255)
    with pytest.raises(ImageError) as caught:
        cut_patch(volume, _zyx(-2, 0, 0), Patches())
    assert caught.value.code == "OUTSIDE_VOLUME"


# The data set


def test_candidates_become_rows_by_scan_with_their_subset_as_fold(tmp_path: Path) -> None:
    made_layouts.luna16(tmp_path)
    rows = open_source(_recipe(tmp_path)).rows
    usable = [row for row in rows if not row.problem]
    assert len(usable) == 5 * 2 * 10 and sum(row.label == (1.0,) for row in usable) == 20
    one = next(row for row in usable if row.label == (1.0,))
    uid = "1.3.6.1.4.1.14519.5.2.1.6279.6001.000000"
    x, y, z = world(5, 10, 12)
    assert one.name == f"subset0/{uid}.mhd@{x:.2f},{y:.2f},{z:.2f}" and one.patient == uid
    assert {(row.fold, row.split) for row in usable} == {
        *((f"subset{subset}", "train") for subset in range(3)),
        ("subset3", "val"),
        ("subset4", "test"),
    }
    assert [(row.patient, row.problem) for row in rows if row.problem] == [
        ("1.3.6.1.4.1.14519.5.2.1.6279.6001.999", ABSENT_SCAN)
    ]


def test_candidates_without_a_nodule_are_drawn_the_same_way_each_time(tmp_path: Path) -> None:
    made_layouts.luna16(tmp_path)
    few = [open_source(_recipe(tmp_path, "data.patches.negatives=1", f"data.seed={seed}")).rows for seed in (0, 0, 1)]
    assert few[0] == few[1] != few[2]
    for subset in range(5):
        own = [row.label for row in few[0] if row.fold == f"subset{subset}"]
        assert own.count((1.0,)) == own.count((0.0,)) == 4
    drawn = {row.name for row in few[0]}
    assert drawn < {row.name for row in open_source(_recipe(tmp_path, "data.patches.negatives=0")).rows}


def test_each_fold_tests_a_subset_of_the_challenge(tmp_path: Path) -> None:
    made_layouts.luna16(tmp_path / "set")
    for fold in (0, 3):
        recipe = _recipe(tmp_path / "set", "data.folds=5", f"data.fold={fold}")
        build_dataset(recipe, tmp_path / f"fold{fold}")
        data = load_dataset(tmp_path / f"fold{fold}", "binary", recipe.preprocess)
        assert {name.split("/")[0] for name in data.subset("test").names} == {f"subset{fold}"}
        assert f"subset{fold}" not in {
            name.split("/")[0] for name in [*data.subset("train").names, *data.subset("val").names]
        }
        assert not set(data.subset("train").patients) & set(data.subset("val").patients)


def test_another_number_of_folds_is_drawn_by_scan(tmp_path: Path) -> None:
    made_layouts.luna16(tmp_path / "set")
    recipe = _recipe(tmp_path / "set", "data.folds=2")
    build_dataset(recipe, tmp_path / "data")
    data = load_dataset(tmp_path / "data", "binary", recipe.preprocess)
    assert len({name.split("/")[0] for name in data.subset("test").names}) > 1
    assert not set(data.subset("train").patients) & set(data.subset("test").patients)


def test_two_subsets_are_too_few_for_a_split_of_their_own(tmp_path: Path) -> None:
    made_layouts.luna16(tmp_path, subsets=2)
    assert {row.split for row in open_source(_recipe(tmp_path)).rows} == {""}


def test_a_damaged_scan_costs_its_candidates_and_no_others(tmp_path: Path) -> None:
    made_layouts.luna16(tmp_path / "set")
    raw = next((tmp_path / "set/subset0").glob("*.raw"))
    raw.write_bytes(raw.read_bytes()[:-2])
    summary = build_dataset(_recipe(tmp_path / "set"), tmp_path / "data")
    assert summary["excluded"] == {"unreadable: BROKEN_VOLUME": 10, ABSENT_SCAN: 1}
    assert summary["images"] == 90


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seriesuid,coordX,coordY,coordZ\n", "its columns are seriesuid, coordX, coordY, coordZ, not"),
        ("", "its columns are "),
        ("seriesuid,coordX,coordY,coordZ,class\n1.2,3\n", "line 2 is not"),
    ],
)
def test_a_table_of_candidates_that_is_none_is_refused(tmp_path: Path, text: str, told: str) -> None:
    made_layouts.luna16(tmp_path, subsets=1, scans=1)
    (tmp_path / "candidates_V2.csv").write_text(text)
    with pytest.raises(DataError, match=told):
        open_source(_recipe(tmp_path))
