"""Pixel padding (0028,0120), (0028,0121): no part of extremes, percentiles and saturation, and shown black.

fo-dicom#406, #675, vtk-dicom#128: one padding value outside of the scale, and all contrast is gone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from samples import code_of, saved

from edgedx.core.preprocess import PreprocessSpec, canvas, saturated_share
from edgedx.dicom.reading.read import read_dicom
from edgedx.dicom.writing.make import write_dicom

Y, X = np.mgrid[:64, :64]
OUTSIDE = (Y - 32) ** 2 + (X - 32) ** 2 > 30**2
INNER = (1000 + Y * 20 + X * 5).astype(np.int32)
PEAK = 65535


def padded(
    folder: Path, value: int, *, signed: bool = False, stored: int = 16, vr: str | None = None, **elements: object
) -> bytes:
    """A CR image with `value` outside of a circle; `vr` is that of the padding elements."""
    words = np.where(OUTSIDE, value, INNER).astype(np.int64)
    write_dicom(folder / "a.dcm", INNER.astype(np.uint16), bits_stored=stored)
    ds = pydicom.dcmread(folder / "a.dcm")
    ds.PixelRepresentation = int(signed)
    ds.PixelData = (words & 0xFFFF).astype("<u2").tobytes()
    vr = vr or ("SS" if signed else "US")
    limit = elements.pop("PixelPaddingRangeLimit", None)
    ds.add_new(0x00280120, vr, value)
    if limit is not None:
        ds.add_new(0x00280121, vr, limit)
    for keyword, text in elements.items():
        setattr(ds, keyword, text)
    return saved(ds)


def seen(data: bytes, window: str) -> np.ndarray:
    spec = PreprocessSpec(size=(64, 64), window=window, mean=(0.5,), std=(0.5,))  # type: ignore[arg-type]
    return canvas(read_dicom(data).image, spec) / PEAK


@pytest.mark.parametrize("window", ["voi", "minmax", "percentile"])
@pytest.mark.parametrize(
    ("value", "options"),
    [
        (65535, {}),
        (0, {}),
        (-32768, {"signed": True}),
        (-2000, {"signed": True}),
        (63536, {"stored": 12}),  # -2000 in unsigned words: no value of 12 bits
        (65535, {"stored": 12}),
    ],
)
def test_extremes_and_percentiles_are_of_the_image(
    tmp_path: Path, window: str, value: int, options: dict[str, object]
) -> None:
    light = seen(padded(tmp_path, value, **options), window)  # type: ignore[arg-type]
    inner = light[~OUTSIDE]
    assert inner.min() < 0.01 and inner.max() > 0.99 and np.ptp(np.percentile(inner, (10, 90))) > 0.4
    assert (light[OUTSIDE] == 0).all()


def test_padding_is_black_in_monochrome1_too(tmp_path: Path) -> None:
    for value in (0, 65535):
        light = seen(padded(tmp_path, value, PhotometricInterpretation="MONOCHROME1"), "minmax")
        assert (light[OUTSIDE] == 0).all() and light[5, 32] > light[60, 32]


def test_a_range_holds_both_ends_in_either_order(tmp_path: Path) -> None:
    for first, last in ((0, 1200), (1200, 0)):
        data = padded(tmp_path, first, PixelPaddingRangeLimit=last)
        image = read_dicom(data).image
        expected = OUTSIDE & (first == 0) | (INNER <= 1200) & ~OUTSIDE | OUTSIDE & (first == 1200)
        assert image.padding is not None
        np.testing.assert_array_equal(image.padding, expected)


@pytest.mark.parametrize("vr", ["US", "SS"])
def test_a_value_with_the_wrong_sign_is_compared_by_its_bits(tmp_path: Path, vr: str) -> None:
    data = padded(tmp_path, 60000 if vr == "US" else -5536, vr=vr, signed=False)
    image = read_dicom(data).image
    assert image.padding is not None
    np.testing.assert_array_equal(image.padding, OUTSIDE)


def test_stored_values_are_compared_and_not_rescaled_ones(tmp_path: Path) -> None:
    data = padded(tmp_path, -2000, signed=True, RescaleSlope="2", RescaleIntercept="-1024")
    image = read_dicom(data).image
    assert image.padding is not None and image.pixels.min() == -2000 * 2 - 1024
    np.testing.assert_array_equal(image.padding, OUTSIDE)


def test_saturation_does_not_count_padding(tmp_path: Path) -> None:
    spec = PreprocessSpec(size=(64, 64), window="fixed", window_range=(900, 3000), mean=(0.5,), std=(0.5,))
    assert saturated_share(read_dicom(padded(tmp_path, 65535)).image, spec) == 0
    assert saturated_share(read_dicom(padded(tmp_path, 65535, PixelPaddingRangeLimit=65535)).image, spec) == 0
    bright = PreprocessSpec(size=(64, 64), window="fixed", window_range=(0, 10), mean=(0.5,), std=(0.5,))
    assert saturated_share(read_dicom(padded(tmp_path, 0)).image, bright) == 1


def test_a_window_of_the_header_is_used_as_it_is(tmp_path: Path) -> None:
    data = padded(tmp_path, 65535, WindowCenter="1800", WindowWidth="2000")
    light = seen(data, "voi")
    assert (light[OUTSIDE] == 0).all()
    expected = np.clip((INNER - 1799.5) / 1999 + 0.5, 0, 1)
    np.testing.assert_allclose(light[~OUTSIDE], expected[~OUTSIDE], atol=1e-4)


def test_an_image_of_nothing_but_padding_and_one_value_is_blank(tmp_path: Path) -> None:
    data = padded(tmp_path, 0, PixelPaddingRangeLimit=65535)
    assert code_of(data) == "BLANK"
    flat = pydicom.dcmread(tmp_path / "a.dcm")
    flat.PixelData = np.where(OUTSIDE, 65535, 700).astype("<u2").tobytes()
    flat.add_new(0x00280120, "US", 65535)
    assert code_of(saved(flat)) == "BLANK"


def test_a_value_that_does_not_occur_and_one_that_is_none_mask_nothing(tmp_path: Path) -> None:
    write_dicom(tmp_path / "b.dcm", INNER.astype(np.uint16))
    for value in (3, 65535):
        ds = pydicom.dcmread(tmp_path / "b.dcm")
        ds.add_new(0x00280120, "US", value)
        assert read_dicom(saved(ds)).image.padding is None
    ds = pydicom.dcmread(tmp_path / "b.dcm")
    ds.add_new(0x00280121, "US", 5)
    assert read_dicom(saved(ds)).image.padding is None, "a limit without a value"
