"""Corruptions keep shape and type, do nothing at strength 0, and do more at each strength."""

from __future__ import annotations

import numpy as np
import pytest

from edgedx.core.preprocess import Canvas
from edgedx.lab.evidence.robustness.corrupt import CORRUPTIONS, corrupt


def _canvas(dtype: type, colour: bool) -> Canvas:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :48] / 64
    light = 0.3 + 0.3 * np.sin(9 * x) * np.cos(7 * y) + rng.normal(0, 0.05, (64, 48))
    grey = (np.clip(light, 0, 1) * np.iinfo(dtype).max).astype(dtype)
    return np.stack([grey, grey // 2, grey // 3], axis=-1) if colour else grey


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_damage_grows_with_strength(name: str, colour: bool, dtype: type) -> None:
    canvas = _canvas(dtype, colour)
    before = canvas.copy()
    errors = []
    for strength in range(6):
        found = corrupt(canvas, name, strength, np.random.default_rng(1))
        assert found.shape == canvas.shape and found.dtype == canvas.dtype
        errors.append(float(np.mean((found.astype(float) - canvas.astype(float)) ** 2)))
    np.testing.assert_array_equal(canvas, before)
    assert errors[0] == 0 and all(one < two for one, two in zip(errors, errors[1:], strict=False))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_same_seed_gives_the_same_image(name: str) -> None:
    canvas = _canvas(np.uint8, colour=False)
    one, two = (corrupt(canvas, name, 3, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_noise_has_the_spread_that_is_told() -> None:
    grey = np.full((200, 200), 30000, np.uint16)
    for strength, spread in enumerate(CORRUPTIONS["noise"].strengths[:3], 1):
        found = corrupt(grey, "noise", strength, np.random.default_rng(0))
        assert found.std() / 65535 == pytest.approx(spread, rel=0.02)


def test_a_turn_is_by_the_angle_that_is_told() -> None:
    canvas = np.zeros((101, 101), np.uint8)
    canvas[50, 50:95] = 255  # a hand that points right
    found = corrupt(canvas, "rotation", 5, np.random.default_rng(0))
    y, x = np.nonzero(found > 60)
    angle = abs(np.degrees(np.arctan2((y - 50).sum(), (x - 50).sum())))
    assert angle == pytest.approx(CORRUPTIONS["rotation"].strengths[4], abs=1.5)
