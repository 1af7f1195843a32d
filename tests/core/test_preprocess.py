"""From pixels to network input: shapes, windows, polarity, depth, colour; the same for one image and a batch."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from edgedx.core.image import Image, VoiWindow
from edgedx.core.preprocess import PreprocessSpec, canvas, normalise, place_region, preprocess, saturated_share

RGB: dict[str, Any] = {"colour": "rgb", "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.3)}


def _spec(**changes: Any) -> PreprocessSpec:
    return PreprocessSpec(**{"size": (32, 32), "window": "none", "bits": 8, **changes})


def _noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def _levels(*values: float, value_range: tuple[float, float] = (0, 4095), **options: Any) -> Image:
    """32x32, one grey value in each of the first columns, the last in the rest."""
    pixels = np.full((32, 32), values[-1], np.float32)
    pixels[:, : len(values)] = values
    return Image(pixels, value_range, **options)


def _first_row(image: Image, count: int, **changes: Any) -> list[float]:
    spec = _spec(bits=16, **changes)
    return (canvas(image, spec)[0, :count] / 65535).tolist()


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("colour", [{}, RGB], ids=["grey", "rgb"])
@pytest.mark.parametrize("resize", ["stretch", "letterbox", "crop"])
@pytest.mark.parametrize("shape", [(32, 32), (97, 33), (20, 50), (8, 300), (33, 97, 3)])
def test_any_shape_becomes_the_network_input(
    shape: tuple[int, ...], resize: str, colour: dict[str, Any], bits: int
) -> None:
    spec = _spec(size=(32, 40), resize=resize, bits=bits, **colour)
    found = canvas(Image.of_array(_noise(*shape)), spec)
    assert found.shape == ((32, 40) if not colour else (32, 40, 3))
    assert found.dtype == (np.uint8 if bits == 8 else np.uint16)
    ready = preprocess(Image.of_array(_noise(*shape)), spec)
    assert ready.shape == spec.input_shape and ready.dtype == np.float32 and ready.flags.c_contiguous
    assert np.isfinite(ready).all()


def test_an_image_of_the_right_size_is_left_as_it_is() -> None:
    pixels = _noise(32, 32)
    for resize in ("stretch", "letterbox", "crop"):
        np.testing.assert_array_equal(canvas(Image.of_array(pixels), _spec(resize=resize)), pixels)


def test_a_letterbox_keeps_the_aspect_ratio_and_pads_with_black() -> None:
    found = canvas(Image.of_array(np.full((20, 80), 200, np.uint8)), _spec(resize="letterbox"))
    assert (found[12:20] == 200).all()
    assert (found[:12] == 0).all() and (found[20:] == 0).all()


def test_the_padding_of_an_inverted_image_is_black_too() -> None:
    image = Image(np.zeros((20, 80), np.uint8), (0, 255), inverted=True)
    found = canvas(image, _spec(resize="letterbox"))
    assert (found[12:20] == 255).all() and (found[:12] == 0).all()


def test_a_crop_keeps_the_middle() -> None:
    pixels = np.zeros((32, 96), np.uint8)
    pixels[:, 32:64] = _noise(32, 32)
    np.testing.assert_array_equal(canvas(Image.of_array(pixels), _spec(resize="crop")), pixels[:, 32:64])


def test_a_stretch_ignores_the_aspect_ratio() -> None:
    pixels = np.zeros((64, 32), np.uint8)
    pixels[32:] = 255
    found = canvas(Image.of_array(pixels), _spec())
    assert (found[:16] == 0).all() and (found[16:] == 255).all()


def test_shrinking_averages_and_does_not_alias() -> None:
    board = (np.indices((128, 128)).sum(axis=0) % 2 * 254).astype(np.uint8)
    assert (canvas(Image.of_array(board), _spec()) == 127).all()


def test_inversion_comes_after_the_window() -> None:
    # The window ends at 600; 1000 is white in it, so black in MONOCHROME1. Inverted before, it would be white still.
    window = VoiWindow(500, 201)
    found = _first_row(_levels(399, 500, 600, 1000, voi=window, inverted=True), 4, window="voi")
    straight = _first_row(_levels(399, 500, 600, 1000, voi=window), 4, window="voi")
    assert found == pytest.approx([1.0, 1 - 100.5 / 200, 0.0, 0.0], abs=1e-3)
    np.testing.assert_allclose(np.add(found, straight), 1.0, atol=1e-4)


@pytest.mark.parametrize("window", ["none", "minmax", "voi"])
def test_inversion_mirrors_every_window(window: str) -> None:
    values = (100, 2000, 4000)
    straight = _first_row(_levels(*values), 3, window=window)
    inverted = _first_row(_levels(*values, inverted=True), 3, window=window)
    np.testing.assert_allclose(np.add(straight, inverted), 1.0, atol=1e-4)


def test_twelve_bits_survive_in_a_canvas_of_sixteen_and_not_of_eight() -> None:
    image = Image(np.arange(4096, dtype=np.uint16).reshape(64, 64), (0, 4095))
    deep, flat = (canvas(image, _spec(size=(64, 64), bits=bits)) for bits in (16, 8))
    assert len(np.unique(deep)) == 4096 and len(np.unique(flat)) == 256
    assert (np.diff(deep.ravel().astype(int)) > 0).all()


def test_none_keeps_the_full_stored_range() -> None:
    found = _first_row(_levels(-1024, 0, 3071, value_range=(-1024, 3071), voi=VoiWindow(0, 10)), 3, window="none")
    assert found == pytest.approx([0, 1024 / 4095, 1], abs=1e-4)


def test_voi_without_a_window_takes_the_extremes_of_deep_images() -> None:
    assert _first_row(_levels(1000, 1500, 2000), 3, window="voi") == pytest.approx([0, 0.5, 1], abs=1e-4)


def test_voi_leaves_an_8_bit_raster_as_its_author_exposed_it() -> None:
    image = _levels(100, 150, 200, value_range=(0, 255))
    assert _first_row(image, 3, window="voi") == pytest.approx([100 / 255, 150 / 255, 200 / 255], abs=1e-4)
    assert _first_row(image, 3, window="minmax") == pytest.approx([0, 0.5, 1], abs=1e-4)


def test_a_fixed_window_is_in_rescaled_units() -> None:
    image = _levels(-1000, -600, -100, 900, value_range=(-1024, 3071), voi=VoiWindow(0, 10))
    found = _first_row(image, 4, window="fixed", window_range=(-1100, -100))
    assert found == pytest.approx([0.1, 0.5, 1.0, 1.0], abs=1e-4)


def test_percentiles_ignore_a_burnt_in_marker() -> None:
    pixels = np.tile(np.linspace(1000, 2000, 32, dtype=np.float32), (32, 1))
    pixels[0, :2] = 4095
    found = canvas(Image(pixels, (0, 4095)), _spec(window="percentile", bits=16)) / 65535
    assert found[5, 16] == pytest.approx(16 / 31, abs=0.02)
    assert found[0, 0] == 1.0


def test_a_blank_image_gives_finite_numbers() -> None:
    for window in ("minmax", "percentile", "voi"):
        assert np.isfinite(preprocess(_levels(1234), _spec(window=window))).all()


def test_grey_becomes_three_equal_channels() -> None:
    pixels = _noise(32, 32)
    np.testing.assert_array_equal(canvas(Image.of_array(pixels), _spec(**RGB)), np.stack([pixels] * 3, axis=-1))


def test_colour_becomes_luminance() -> None:
    pixels = _noise(32, 32, 3)
    expected = pixels.astype(float) @ [0.299, 0.587, 0.114]  # ITU-R BT.601, as in YBR_FULL of PS3.3 C.7.6.3.1.2
    np.testing.assert_allclose(canvas(Image.of_array(pixels), _spec()), expected, atol=0.51)


def test_a_window_is_not_applied_to_colour() -> None:
    pixels = _noise(32, 32, 3)
    image = Image(pixels, (0, 255), voi=VoiWindow(10, 5))
    np.testing.assert_array_equal(canvas(image, _spec(window="voi", **RGB)), pixels)


@pytest.mark.parametrize("bits", [8, 16])
def test_normalising_is_minus_mean_by_std_on_the_unit_scale(bits: int) -> None:
    pixels, peak = _noise(32, 32, 3), (1 << bits) - 1
    spec = _spec(bits=bits, **RGB)
    view = canvas(Image.of_array(pixels), spec)
    expected = ((view / peak - spec.mean) / spec.std).transpose(2, 0, 1)
    np.testing.assert_allclose(normalise(view, spec), expected, atol=1e-5)


@pytest.mark.parametrize("colour", [{}, RGB], ids=["grey", "rgb"])
def test_a_batch_is_normalised_like_its_images(colour: dict[str, Any]) -> None:
    spec = _spec(**colour)
    batch = _noise(4, 32, 32, *([3] if colour else []))
    together = normalise(batch, spec)
    assert together.shape == (4, *spec.input_shape)
    np.testing.assert_array_equal(together, np.stack([normalise(one, spec) for one in batch]))


def test_floats_from_augmentation_are_on_the_same_scale() -> None:
    spec, pixels = _spec(bits=16), np.arange(1024, dtype=np.uint16).reshape(32, 32) * 60
    np.testing.assert_array_equal(normalise(pixels, spec), normalise(pixels.astype(np.float32), spec))


def test_preprocess_is_canvas_then_normalise() -> None:
    image, spec = Image.of_array(_noise(50, 70)), _spec(clahe=2.0)
    np.testing.assert_array_equal(preprocess(image, spec), normalise(canvas(image, spec), spec))


@pytest.mark.parametrize("bits", [8, 16])
def test_clahe_equalises_locally(bits: int) -> None:
    faint = (_noise(64, 64) // 16 + 100).astype(np.uint8)
    spec = _spec(size=(64, 64), bits=bits)
    plain = canvas(Image.of_array(faint), spec)
    found = canvas(Image.of_array(faint), spec.model_copy(update={"clahe": 4.0}))
    np.testing.assert_array_equal(found, cv2.createCLAHE(4.0, (8, 8)).apply(plain))
    assert found.dtype == plain.dtype and found.std() > 2 * plain.std()


def test_clahe_keeps_grey_pixels_of_a_colour_image_grey() -> None:
    faint = np.repeat((_noise(64, 64, 1) // 16 + 100).astype(np.uint8), 3, axis=2)
    found = canvas(Image.of_array(faint), _spec(size=(64, 64), clahe=4.0, **RGB)).astype(int)
    assert found.std() > 2 * faint.std()
    assert np.ptp(found, axis=-1).max() <= 1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"size": (4, 32)}, "size"),
        ({"size": (32, 8192)}, "size"),
        ({"window": "fixed"}, "window_range"),
        ({"window_range": (0, 1)}, "window_range"),
        ({"window": "fixed", "window_range": (10, 10)}, "lower value"),
        ({"colour": "rgb"}, "mean, std: 3"),
        ({"std": (0.0,)}, "std"),
        ({"bits": 12}, "bits"),
        ({"clahe": -1}, "clahe"),
        ({"sise": (8, 8)}, "sise"),
        ({"crop": "middle"}, "crop"),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        _spec(**changes)


def test_a_spec_survives_json() -> None:
    spec = _spec(window="fixed", window_range=(-1000, 400), **RGB)
    assert PreprocessSpec.model_validate_json(spec.model_dump_json()) == spec


def test_the_digest_is_of_what_decides_the_canvas() -> None:
    spec = _spec()
    assert spec.digest() == _spec(mean=(0.1,), std=(0.9,)).digest()
    changes: list[dict[str, Any]] = [{"size": (32, 33)}, {"bits": 16}, {"window": "voi"}, {"clahe": 1.0}, RGB]
    changes.append({"crop": "content"})
    assert len({spec.digest(), *(_spec(**change).digest() for change in changes)}) == 7


@pytest.mark.parametrize("window", ["voi", "minmax", "percentile", "none", "fixed"])
@pytest.mark.parametrize("inverted", [False, True])
def test_padding_changes_nothing_of_the_rest_and_is_black(window: str, inverted: bool) -> None:
    """fo-dicom#406, vtk-dicom#128."""
    ramp = np.arange(64 * 64, dtype=np.int32).reshape(64, 64) + 500
    mask = np.zeros((64, 64), bool)
    mask[:, :20] = True
    spec = PreprocessSpec(
        size=(64, 64),
        window=window,
        window_range=(600, 4000) if window == "fixed" else None,  # type: ignore[arg-type]
    )
    inner = Image(np.ascontiguousarray(ramp[:, 20:]), (0, 8191), inverted=inverted)
    expected = canvas(inner, spec.model_copy(update={"size": (64, 44)}))
    for value in (-30000, 30000):
        image = Image(np.where(mask, value, ramp), (0, 8191), inverted=inverted, padding=mask)
        seen = canvas(image, spec)
        np.testing.assert_array_equal(seen[:, 20:], expected)
        assert (seen[:, :20] == 0).all()
        assert saturated_share(image, spec) == pytest.approx(saturated_share(inner, spec), abs=1e-9)


def test_an_image_of_padding_alone_is_black_and_all_saturated() -> None:
    image = Image(np.arange(4096).reshape(64, 64), (0, 4095), padding=np.ones((64, 64), bool))
    spec = PreprocessSpec(size=(32, 32), window="percentile")
    assert canvas(image, spec).max() == 0 and saturated_share(image, spec) == 1


@pytest.mark.parametrize("crop", ["none", "content"])
@pytest.mark.parametrize("resize", ["stretch", "letterbox", "crop"])
@pytest.mark.parametrize("shape", [(200, 300), (300, 200), (40, 30)])
def test_a_marked_part_goes_where_its_image_goes(shape: tuple[int, int], resize: str, crop: str) -> None:
    """The part is the light one: on the canvas it is told by its light, half of it at the edge."""
    height, width = shape
    pixels = np.zeros(shape, np.uint8)
    pixels[height // 5 :, : -width // 5] = 80  # what is left of the black border
    marked = np.zeros(shape, bool)
    marked[height // 2 : height * 3 // 4, width // 3 : width // 2] = True
    pixels[marked] = 250
    image, spec = Image.of_array(pixels), _spec(size=(64, 80), resize=resize, crop=crop)
    expected, found = canvas(image, spec) >= 164, place_region(marked, image, spec)
    assert expected.sum() > 100 and (expected & found).sum() / (expected | found).sum() > 0.9


def test_a_part_smaller_than_a_pixel_is_not_lost_and_one_that_is_cut_away_is_nowhere() -> None:
    pixels, marked = _noise(320, 320), np.zeros((320, 320), bool)
    marked[101, 205] = True
    found = place_region(marked, Image.of_array(pixels), _spec())
    assert np.argwhere(found).tolist() == [[10, 20]]
    wide = np.zeros((100, 400), bool)
    wide[:, :20] = True
    assert not place_region(wide, Image.of_array(_noise(100, 400)), _spec(resize="crop")).any()
