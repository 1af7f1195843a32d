"""Windows and tables of DICOM, checked against the numbers and formulas of the standard (PS3.3 C.11.2)."""

from __future__ import annotations

import numpy as np
import pytest

from edgedx.core.image import Image, VoiTable, VoiWindow


def _apply(window: VoiWindow | VoiTable, *values: float) -> np.ndarray:
    return window.apply(np.array(values, np.float32))


# The notes of C.11.2.1.2.1 give these four windows, with an output of 0 to 255.
@pytest.mark.parametrize(
    ("center", "width", "value", "output"),
    [
        (2048, 4096, 0, 0.0),
        (2048, 4096, 1, ((1 - 2047.5) / 4095 + 0.5) * 255),
        (2048, 4096, 2047.5, 127.5),
        (2048, 4096, 4095, 255.0),
        (2048, 4096, 5000, 255.0),
        (2048, 1, 2047, 0.0),
        (2048, 1, 2047.5, 0.0),
        (2048, 1, 2048, 255.0),
        (0, 100, -50, 0.0),
        (0, 100, 0, ((0 + 0.5) / 99 + 0.5) * 255),
        (0, 100, 49, 255.0),
        (0, 1, -0.5, 0.0),
        (0, 1, 0, 255.0),
    ],
)
def test_a_linear_window_gives_the_numbers_of_the_standard(
    center: float, width: float, value: float, output: float
) -> None:
    assert _apply(VoiWindow(center, width), value)[0] * 255 == pytest.approx(output, abs=1e-3)


def test_a_linear_exact_window_has_no_half_and_no_one() -> None:
    # C.11.2.1.3.2: y = (x - c) / w + 0.5, clipped at c - w/2 and c + w/2
    np.testing.assert_allclose(
        _apply(VoiWindow(40, 400, "LINEAR_EXACT"), -1000, -160, 40, 140, 240, 1000), [0, 0, 0.5, 0.75, 1, 1]
    )
    np.testing.assert_allclose(_apply(VoiWindow(10, 0.5, "LINEAR_EXACT"), 9.75, 10, 10.125), [0, 0.5, 0.75])


def test_a_sigmoid_window_follows_its_formula() -> None:
    # C.11-3: y = 1 / (1 + exp(-4 (x - c) / w))
    values = np.array([-500, -60, 40, 100, 140, 900], np.float32)
    expected = 1 / (1 + np.exp(-4 * (values.astype(float) - 40) / 400))
    np.testing.assert_allclose(VoiWindow(40, 400, "SIGMOID").apply(values), expected, rtol=1e-5)


@pytest.mark.filterwarnings("error")
def test_a_steep_sigmoid_does_not_overflow() -> None:
    np.testing.assert_allclose(_apply(VoiWindow(0, 0.001, "SIGMOID"), -1e6, 0, 1e6), [0, 0.5, 1], atol=1e-20)


def test_a_table_maps_its_entries_and_its_ends_reach_on() -> None:
    table = VoiTable(10, np.array([0.0, 0.25, 1.0], np.float32))
    assert _apply(table, -100, 9, 10, 11, 12, 13, 9999).tolist() == [0, 0, 0, 0.25, 1, 1, 1]


def test_a_table_may_begin_below_zero() -> None:
    assert _apply(VoiTable(-2, np.array([0.1, 0.2, 0.3], np.float32)), -2, -1, 0).tolist() == pytest.approx(
        [0.1, 0.2, 0.3]
    )


@pytest.mark.parametrize("window", [VoiWindow(5, 9), VoiWindow(5, 9, "SIGMOID"), VoiWindow(5, 9, "LINEAR_EXACT")])
def test_windows_give_float32_of_the_same_shape(window: VoiWindow) -> None:
    found = window.apply(np.zeros((3, 4), np.float32))
    assert found.shape == (3, 4) and found.dtype == np.float32


@pytest.mark.parametrize(
    ("dtype", "expected"), [(np.uint8, (0.0, 255.0)), (np.uint16, (0.0, 65535.0)), (np.float32, (0.0, 1.0))]
)
def test_an_array_has_the_range_of_its_type(dtype: type, expected: tuple[float, float]) -> None:
    image = Image.of_array(np.zeros((2, 2), dtype))
    assert image.value_range == expected
    assert image.voi is None and not image.inverted


def test_an_array_whose_range_is_not_known_is_refused() -> None:
    with pytest.raises(TypeError, match="int64"):
        Image.of_array(np.zeros((2, 2), np.int64))
