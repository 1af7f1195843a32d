"""Augmentation changes a view within its limits, the same way for the same random numbers."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch

from edgedx.core.settings.recipe_training import Augment
from edgedx.lab.feed.augment import augment as augment_batch
from edgedx.lab.feed.augment import draw
from edgedx.lab.network.inputs import as_tensor, widen

OFF: dict[str, Any] = {"rotation": 0, "zoom": 0, "shift": 0, "intensity": 0}


def _options(**changes: Any) -> Augment:
    return Augment(**{**OFF, "laterality_matters": False, **changes})


def augment(canvas: np.ndarray, options: Augment, seed: int = 0) -> np.ndarray:
    """One view of one canvas, as an array of its shape."""
    values = widen(as_tensor(canvas[None]))
    view = augment_batch(values, options, torch.from_numpy(draw(seed, 0, 1)), float(np.iinfo(canvas.dtype).max))
    return view[0].permute(1, 2, 0).numpy().reshape(canvas.shape)


def _noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(9).integers(0, 256, shape).astype(np.uint8)


def _dot(side: int = 65) -> np.ndarray:
    pixels = np.zeros((side, side), np.uint8)
    pixels[side // 2 - 1 : side // 2 + 2, side // 2 - 1 : side // 2 + 2] = 255
    return pixels


def _centre(view: np.ndarray) -> np.ndarray:
    return (np.indices(view.shape) * view).sum(axis=(1, 2)) / view.sum()


def test_switched_off_it_changes_nothing() -> None:
    pixels = _noise(16, 20)
    view = augment(pixels, _options(), 0)
    assert view.dtype == np.float32
    np.testing.assert_array_equal(view, pixels)


@pytest.mark.parametrize("shape", [(16, 20), (16, 20, 3)])
@pytest.mark.parametrize("peak", [255, 65535])
def test_a_view_keeps_shape_and_scale(shape: tuple[int, ...], peak: int) -> None:
    pixels = (_noise(*shape).astype(np.int64) * (peak // 255)).astype(np.uint8 if peak == 255 else np.uint16)
    before = pixels.copy()
    for seed in range(20):
        view = augment(pixels, Augment(rotation=30, intensity=0.5), seed)
        assert view.shape == shape and view.dtype == np.float32
        assert view.min() >= 0 and view.max() <= peak * (1 + 1e-6)
    np.testing.assert_array_equal(pixels, before)


def test_the_same_random_numbers_give_the_same_view() -> None:
    pixels = _noise(32, 32)
    np.testing.assert_array_equal(augment(pixels, Augment(), 1), augment(pixels, Augment(), 1))
    assert not np.array_equal(augment(pixels, Augment(), 1), augment(pixels, Augment(), 2))


def test_depth_plays_no_part() -> None:
    pixels = _noise(32, 32)
    deep = augment(pixels.astype(np.uint16) * 257, Augment(), 3)
    np.testing.assert_allclose(deep / 257, augment(pixels, Augment(), 3), atol=0.01)


def test_channels_change_together() -> None:
    grey = np.repeat(_noise(32, 32, 1), 3, axis=2)
    view = augment(grey, Augment(), 4)
    np.testing.assert_allclose(view[..., 0], view[..., 2], atol=1e-3)


@pytest.mark.parametrize(("option", "axis"), [("flip_horizontal", 1), ("flip_vertical", 0)])
def test_half_of_the_views_are_flipped(option: str, axis: int) -> None:
    pixels = _noise(8, 10)
    flipped = 0
    for seed in range(200):
        view = augment(pixels, _options(**{option: True}), seed)
        is_flipped = np.array_equal(view, np.flip(pixels, axis))
        assert is_flipped or np.array_equal(view, pixels)
        flipped += is_flipped
    assert 70 < flipped < 130


def test_by_default_nothing_is_mirrored() -> None:
    half = np.zeros((32, 32), np.uint8)
    half[:, :16] = 200
    for seed in range(50):
        view = augment(half, Augment(), seed)
        assert view[8:24, 4:12].mean() > view[8:24, 20:28].mean()


def test_a_shift_stays_within_its_share_of_the_side() -> None:
    moves = [_centre(augment(_dot(), _options(shift=0.1), seed)) - 32 for seed in range(100)]
    assert np.abs(moves).max() <= 6.6
    assert np.ptp(moves, axis=0).min() > 8  # and uses it, both ways on both axes


def test_a_rotation_stays_within_its_degrees() -> None:
    pixels = np.zeros((65, 65), np.uint8)
    pixels[31:34, 50:53] = 255
    angles = []
    for seed in range(100):
        row, column = _centre(augment(pixels, _options(rotation=15), seed)) - 32
        angles.append(np.degrees(np.arctan2(row, column)))
    assert 13 < max(angles) < 17 and -17 < min(angles) < -13


def test_a_zoom_stays_within_its_share() -> None:
    square = np.zeros((65, 65), np.uint8)
    square[20:45, 20:45] = 255
    areas = [augment(square, _options(zoom=0.2), seed).sum() / square.sum() for seed in range(100)]
    assert 0.6 < min(areas) < 0.75 and 1.3 < max(areas) < 1.5


def test_intensity_moves_grey_values_and_nothing_else() -> None:
    pixels = np.tile(np.linspace(60, 190, 32).astype(np.uint8), (32, 1))
    for seed in range(20):
        view = augment(pixels, _options(intensity=0.2), seed)
        assert not np.array_equal(view, pixels)
        assert (np.diff(view, axis=1) >= 0).all()  # order of grey values is kept
        assert np.ptp(view, axis=0).max() == 0
        assert abs(view.mean() - pixels.mean()) < 60


@pytest.mark.parametrize("seed", range(5))
def test_a_moved_view_is_what_opencv_makes_of_it(seed: int) -> None:
    """Another implementation, of another library, on sides that differ: 1e-4 of 255 grey levels."""
    image = cv2.GaussianBlur(_noise(80, 120).astype(np.float32), (0, 0), 3)
    options = _options(rotation=25, zoom=0.2, shift=0.1)
    draws = draw(seed, 0, 1)
    turned, zoomed, *shifted = (float(one) * 2 - 1 for one in draws[0, :4])
    matrix = cv2.getRotationMatrix2D((59.5, 39.5), 25 * turned, 1 + 0.2 * zoomed)
    matrix[:, 2] += [12 * shifted[0], 8 * shifted[1]]
    expected = cv2.warpAffine(image, matrix, (120, 80), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    view = augment_batch(torch.from_numpy(image)[None, None], options, torch.from_numpy(draws), 255.0)[0, 0].numpy()
    # OpenCV rounds places to 1/32 of a pixel.
    assert np.abs(view - expected).max() < 1.0 and np.abs(view - expected).mean() < 0.05


def test_a_view_depends_on_its_own_random_numbers_alone() -> None:
    images, draws = torch.from_numpy(_noise(6, 1, 16, 16)).float(), torch.from_numpy(draw(0, 0, 6))
    options = Augment(laterality_matters=False, flip_horizontal=True)
    together = augment_batch(images, options, draws, 255.0)
    alone = [augment_batch(images[[place]], options, draws[[place]], 255.0) for place in range(6)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-4)
