"""Collimation, black borders and letters in them are cut away; what is dark by nature is not."""

from __future__ import annotations

from pathlib import Path

import bundles
import numpy as np
import pytest

from edgedx.core.content import content_box
from edgedx.core.errors import GateRefused
from edgedx.core.image import Image
from edgedx.core.preprocess import PreprocessSpec, canvas
from edgedx.device.runtime.golden import check_golden
from edgedx.device.runtime.run_onnx import OnnxRunner

SPEC = PreprocessSpec(size=(32, 32), window="none", bits=8, crop="content")


def _light(height: int = 200, width: int = 300) -> np.ndarray:
    """A grey body of 120 x 160 at (40, 60), in black with the noise of a JPEG, and an R beside it."""
    unit = np.random.default_rng(0).uniform(0, 0.03, (height, width)).astype(np.float32)
    unit[40:160, 60:220] = 0.5
    return unit


def _lettered(unit: np.ndarray, *, top: int = 5, left: int = 270) -> np.ndarray:
    unit = unit.copy()
    unit[top : top + 14, left : left + 3] = 1.0
    unit[top : top + 3, left : left + 9] = 1.0
    unit[top + 6 : top + 9, left : left + 9] = 1.0
    return unit


def test_borders_and_the_letters_in_them_are_cut_away() -> None:
    assert content_box(_light()) == content_box(_lettered(_light())) == (37, 163, 57, 223)
    deep = np.repeat(np.repeat(_lettered(_light()), 10, axis=0), 10, axis=1)  # 6 million pixels
    top, bottom, left, right = content_box(deep)
    assert (top, bottom, left, right) == pytest.approx((370, 1630, 570, 2230), abs=25)


def test_one_bright_channel_is_content_too() -> None:
    colour = np.zeros((200, 300, 3), np.float32)
    colour[..., 1] = _light()
    assert content_box(colour) == (37, 163, 57, 223)


@pytest.mark.parametrize(
    "unit",
    [
        np.zeros((50, 60), np.float32),
        np.full((50, 60), 0.4, np.float32),
        np.pad(np.ones((8, 8), np.float32), 46),  # a spot
        (np.indices((100, 100)).sum(axis=0) % 9 == 0).astype(np.float32),  # bones alone: thin lines in the dark
        np.ones((1, 40), np.float32),
    ],
    ids=["black", "grey", "spot", "lines", "row"],
)
def test_where_nothing_stands_out_the_image_stays_whole(unit: np.ndarray) -> None:
    assert content_box(unit) == (0, unit.shape[0], 0, unit.shape[1])


def test_much_light_outside_means_that_the_body_is_dark() -> None:
    unit = np.zeros((200, 200), np.float32)
    unit[80:130, 90:140] = 0.8
    assert content_box(unit) != (0, 200, 0, 200)
    for place in range(10, 190, 20):  # ribs and a table, each too small or too thin to be a part
        unit[place : place + 6, 20:26] = unit[place : place + 6, 170:176] = 0.9
    assert content_box(unit) == (0, 200, 0, 200)


def test_the_canvas_is_of_the_content_alone_in_either_polarity() -> None:
    stored = np.rint(_lettered(_light()) * 255).astype(np.uint8)
    body = Image.of_array(np.ascontiguousarray(stored[37:163, 57:223]))
    expected = canvas(body, SPEC.model_copy(update={"crop": "none"}))
    np.testing.assert_array_equal(canvas(Image.of_array(stored), SPEC), expected)
    negative = Image(255 - stored, (0.0, 255.0), inverted=True)
    assert np.abs(canvas(negative, SPEC).astype(int) - expected.astype(int)).max() <= 1
    assert expected[1:-1, 1:-1].mean() > 100


def test_pixels_that_the_header_calls_padding_are_border() -> None:
    pixels, padding = np.full((100, 100), 150, np.uint8), np.zeros((100, 100), bool)
    pixels[:, :30], padding[:, :30] = 255, True
    seen = canvas(Image(pixels, (0.0, 255.0), padding=padding), SPEC)
    assert (seen[:, 2:] == 150).all()


def test_the_device_crops_as_the_workstation_did(tmp_path: Path) -> None:
    """Golden samples with borders, through a bundle: whoever crops otherwise computes other logits."""
    spec = bundles.SPEC.model_copy(update={"crop": "content"})
    made = bundles.write_tiny(
        tmp_path / "a.edgedx", preprocess=spec, samples=bundles.golden(bundles.model(), spec=spec)
    )
    assert made.manifest.preprocess.crop == "content"
    with OnnxRunner(made.model(), threads=1) as runner:
        assert check_golden(made, runner) <= 1e-6
    whole = bundles.write_tiny(tmp_path / "b.edgedx", samples=bundles.golden(bundles.model(), spec=spec))
    with OnnxRunner(whole.model(), threads=1) as runner, pytest.raises(GateRefused):
        check_golden(whole, runner)
