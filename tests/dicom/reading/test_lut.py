"""Modality table, values of interest and polarity."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from samples import RAMP, code_of, edited, packaged

from edgedx.core.image import VoiTable, VoiWindow
from edgedx.core.preprocess import PreprocessSpec, preprocess
from edgedx.dicom.reading.read import read_dicom
from edgedx.dicom.writing.make import write_dicom


def test_rescale_is_applied_and_the_range_with_it() -> None:
    path = packaged("dicomdirtests/77654033/CR1/6154")
    ds = pydicom.dcmread(path)
    slope, intercept = float(ds.RescaleSlope), float(ds.RescaleIntercept)
    stored = np.frombuffer(ds.PixelData, "<u2")[:256].reshape(16, 16) & 0xFFF
    found = read_dicom(path).image
    np.testing.assert_allclose(found.pixels, stored * slope + intercept, rtol=1e-6)
    assert found.value_range == pytest.approx((intercept, 4095 * slope + intercept))
    assert found.inverted and found.meta["PhotometricInterpretation"] == "MONOCHROME1"


def test_integer_rescale_stays_integer(ramp: Path) -> None:
    found = read_dicom(edited(ramp, RescaleSlope="2", RescaleIntercept="-1024")).image
    assert np.issubdtype(found.pixels.dtype, np.integer)
    np.testing.assert_array_equal(found.pixels, 2 * RAMP.astype(int) - 1024)
    assert found.value_range == (-1024, 7166)


def test_negative_slope_orders_the_range(ramp: Path) -> None:
    found = read_dicom(edited(ramp, RescaleSlope="-1", RescaleIntercept="0")).image
    assert found.value_range == (-4095, 0) and found.pixels.min() == -4095


@pytest.mark.parametrize("slope", ["0", "1e400", "1e308"])
def test_impossible_slope_is_a_broken_header(ramp: Path, slope: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert code_of(edited(ramp, RescaleSlope=slope, RescaleIntercept="0")) == "BROKEN_HEADER"


def lut_item(first: int, table: list[int], bits: int) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(table), first, bits]
    item["LUTDescriptor"].VR = "US"
    item.add_new("LUTData", "OW", np.asarray(table, "<u2").tobytes())
    return item


def test_modality_lut_sequence_maps_and_clamps(ramp: Path) -> None:
    item = lut_item(10, [100, 200, 300], 10)
    item.ModalityLUTType = "US"
    found = read_dicom(edited(ramp, ModalityLUTSequence=[item])).image
    expected = np.full(4096, 300)
    expected[:11], expected[11] = 100, 200
    np.testing.assert_array_equal(found.pixels.ravel(), expected)
    assert found.value_range == (0, 1023)


def test_voi_lut_sequence_becomes_a_table(ramp: Path) -> None:
    voi = read_dicom(edited(ramp, VOILUTSequence=[lut_item(100, [0, 512, 1023], 10)])).image.voi
    assert isinstance(voi, VoiTable)
    np.testing.assert_allclose(voi.apply(np.float32([0, 100, 101, 102, 4000])), [0, 0, 512 / 1023, 1, 1], rtol=1e-6)


def test_voi_lut_of_signed_inputs_starts_below_zero(ramp: Path) -> None:
    table = lut_item(65536 - 5, [0, 1023], 10)  # -5 as an unsigned word
    voi = read_dicom(edited(ramp, VOILUTSequence=[table], RescaleSlope="1", RescaleIntercept="-1024")).image.voi
    assert isinstance(voi, VoiTable) and voi.first == -5


def test_table_that_contradicts_its_descriptor_is_a_broken_header(ramp: Path) -> None:
    item = lut_item(0, [1, 2, 3], 12)
    item.LUTDescriptor = [400, 0, 12]
    item.ModalityLUTType = "US"
    assert code_of(edited(ramp, ModalityLUTSequence=[item])) == "BROKEN_HEADER"


def test_a_damaged_voi_table_is_an_unreadable_window_and_the_pixels_are_read(ramp: Path) -> None:
    item = lut_item(0, [1, 2, 3], 12)
    item.LUTDescriptor = [400, 0, 12]
    image = read_dicom(edited(ramp, VOILUTSequence=[item])).image
    assert image.voi is None and image.meta["WindowUnreadable"]
    np.testing.assert_array_equal(image.pixels, RAMP)


def test_first_of_several_windows_is_taken_with_its_function(ramp: Path) -> None:
    data = edited(ramp, WindowCenter=["2048", "10"], WindowWidth=["1000", "20"], VOILUTFunction="SIGMOID")
    assert read_dicom(data).image.voi == VoiWindow(2048, 1000, "SIGMOID")


def test_window_is_that_of_the_standards_linear_formula(ramp: Path) -> None:
    image = read_dicom(edited(ramp, WindowCenter="2048", WindowWidth="1001")).image
    spec = PreprocessSpec(size=(64, 64), mean=(0.0,), std=(1.0,), window="voi")
    x = RAMP.astype(float)
    expected = np.clip((x - 2047.5) / 1000 + 0.5, 0, 1)  # C.11.2.1.2.1
    np.testing.assert_allclose(preprocess(image, spec)[0], expected, atol=1 / 65535)


def test_monochrome1_of_the_negative_looks_like_monochrome2(tmp_path: Path) -> None:
    write_dicom(tmp_path / "2.dcm", RAMP, bits_stored=12, window=(1500, 2000))
    negative = (4095 - RAMP).astype(np.uint16)
    write_dicom(tmp_path / "1.dcm", negative, bits_stored=12, photometric="MONOCHROME1", window=(4096 - 1500, 2000))
    spec = PreprocessSpec(size=(64, 64), mean=(0.0,), std=(1.0,))
    two, one = (preprocess(read_dicom(tmp_path / f"{n}.dcm").image, spec) for n in "21")
    np.testing.assert_allclose(one, two, atol=2e-5)
    assert two[0, 0, 0] == 0 and two[0, -1, -1] == 1


@pytest.mark.parametrize(
    "elements",
    [
        {"WindowCenter": "100", "WindowWidth": "0"},
        {"WindowCenter": "100", "WindowWidth": "-0.5"},
        {"WindowWidth": "100"},
        {"WindowCenter": "100", "WindowWidth": "-5", "VOILUTFunction": "LINEAR_EXACT"},
        {"WindowCenter": "100"},
        {"WindowCenter": "100", "WindowWidth": "50", "VOILUTFunction": "BENT"},
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_an_unusable_window_is_dropped_and_reported(ramp: Path, elements: dict[str, str]) -> None:
    image = read_dicom(edited(ramp, **elements)).image
    assert image.voi is None and image.meta["WindowUnreadable"]


@pytest.mark.parametrize("function", [None, "LINEAR"])
def test_a_linear_window_below_one_is_the_exact_one(ramp: Path, function: str | None) -> None:
    """dicom-rs PR 826, fo-dicom 1999, cornerstone3D PR 1717: a width of .25 after a slope of 1/4095."""
    elements = {} if function is None else {"VOILUTFunction": function}
    data = edited(
        ramp, RescaleSlope="0.0002442", RescaleIntercept="0", WindowCenter="0.5", WindowWidth="0.25", **elements
    )
    image = read_dicom(data).image
    assert image.voi == VoiWindow(0.5, 0.25, "LINEAR_EXACT") and "WindowUnreadable" not in image.meta
    light = image.voi.apply(np.asarray([0.375, 0.5, 0.625, 0.4375], np.float32))
    np.testing.assert_allclose(light, [0, 0.5, 1, 0.25], atol=1e-6)


def test_window_narrower_than_one_is_allowed_for_linear_exact(ramp: Path) -> None:
    data = edited(ramp, WindowCenter="100", WindowWidth="0.5", VOILUTFunction="LINEAR_EXACT")
    assert read_dicom(data).image.voi == VoiWindow(100, 0.5, "LINEAR_EXACT")
