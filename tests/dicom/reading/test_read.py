"""Reading DICOM pixels: values against independently computed numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from samples import RAMP, edited, packaged, saved

from edgedx.core.preprocess import PreprocessSpec, canvas
from edgedx.dicom.reading.read import read_dicom
from edgedx.dicom.writing.make import write_dicom


@pytest.mark.parametrize(
    ("name", "decoder"),
    [
        ("MR_small_jp2klossless.dcm", "imagecodecs "),
        ("MR_small_jpeg_ls_lossless.dcm", "imagecodecs "),
        ("MR_small_RLE.dcm", "imagecodecs "),
        ("MR_small_bigendian.dcm", "numpy "),
        ("MR_small_implicit.dcm", "numpy "),
    ],
)
def test_every_lossless_transfer_syntax_gives_the_same_pixels(name: str, decoder: str) -> None:
    raw = pydicom.dcmread(packaged("MR_small.dcm")).PixelData
    expected = np.frombuffer(raw, "<i2").reshape(64, 64)
    found = read_dicom(packaged(name))
    np.testing.assert_array_equal(found.image.pixels, expected)
    assert found.image.pixels.dtype == np.int16 and found.image.pixels.dtype.isnative
    assert found.decoder.startswith(decoder) and found.decoder[len(decoder)].isdigit()
    assert found.transfer_syntax == pydicom.dcmread(packaged(name)).file_meta.TransferSyntaxUID


COLOUR_BARS = {5: (255, 0, 0), 25: (0, 255, 0), 45: (0, 0, 255), 65: (0, 0, 0), 95: (255, 255, 255)}


@pytest.mark.parametrize(
    "name",
    [
        "SC_ybr_full_422_uncompressed.dcm",
        "SC_rgb_dcmtk_+eb+cr.dcm",
        "SC_rgb_dcmtk_+eb+cy+np.dcm",
        "SC_rgb_dcmtk_+eb+cy+s4.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "SC_rgb_gdcm_KY.dcm",
        "SC_rgb_jls_lossy_line.dcm",
        "SC_rgb_jls_lossy_sample.dcm",
        "SC_rgb_rle.dcm",
    ],
)
def test_colour_is_rgb_and_converted_once(name: str) -> None:
    pixels = read_dicom(packaged(name)).image.pixels
    for row, colour in COLOUR_BARS.items():
        np.testing.assert_allclose(pixels[row, 50].astype(int), colour, atol=6, err_msg=f"{name} row {row}")


def test_planar_configuration_1_gives_colour_by_pixel(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    write_dicom(tmp_path / "rgb.dcm", rgb, kind="SC")
    planar = edited(tmp_path / "rgb.dcm", PlanarConfiguration=1, PixelData=np.moveaxis(rgb, 2, 0).tobytes())
    np.testing.assert_array_equal(read_dicom(planar).image.pixels, rgb)
    np.testing.assert_array_equal(read_dicom(tmp_path / "rgb.dcm").image.pixels, rgb)


def test_palette_is_applied() -> None:
    ds = pydicom.dcmread(packaged("examples_palette.dcm"))
    index = np.frombuffer(ds.PixelData, "u1")[: ds.Rows * ds.Columns].reshape(ds.Rows, ds.Columns)
    entries, first, bits = ds.RedPaletteColorLookupTableDescriptor
    assert (entries, first, bits) == (256, 0, 16)
    found = read_dicom(packaged("examples_palette.dcm")).image
    for channel, colour in enumerate(("Red", "Green", "Blue")):
        table = np.frombuffer(ds[f"{colour}PaletteColorLookupTableData"].value, "<u2")
        np.testing.assert_array_equal(found.pixels[:, :, channel], table[index])
    assert found.value_range == (0, 65535) and found.voi is None


@pytest.mark.parametrize("name", ["liver_1frame.dcm", "liver_expb_1frame.dcm"])
def test_one_bit_image_is_unpacked(name: str) -> None:
    ds = pydicom.dcmread(packaged("liver_1frame.dcm"))
    bits = np.unpackbits(np.frombuffer(ds.PixelData, "u1"), bitorder="little")[: ds.Rows * ds.Columns]
    secondary = pydicom.dcmread(packaged(name))
    secondary.SOPClassUID = secondary.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7.1"
    found = read_dicom(saved(secondary)).image
    np.testing.assert_array_equal(found.pixels, bits.reshape(ds.Rows, ds.Columns))
    assert found.value_range == (0, 1)


def test_unused_high_bits_are_not_part_of_the_pixel(ramp: Path) -> None:
    overlaid = (RAMP | 0x8000).astype("<u2").tobytes()  # an old embedded overlay above HighBit
    np.testing.assert_array_equal(read_dicom(edited(ramp, PixelData=overlaid)).image.pixels, RAMP)


def test_an_overlay_is_left_out() -> None:
    ds = pydicom.dcmread(packaged("examples_overlay.dcm"))
    raw = np.frombuffer(ds.PixelData, "<u2")[: ds.Rows * ds.Columns].reshape(ds.Rows, ds.Columns)
    np.testing.assert_array_equal(read_dicom(packaged("examples_overlay.dcm")).image.pixels, raw & 0xFFF)


def test_jpeg_2000_that_is_deeper_than_bits_stored_widens_the_range_where_pixels_need_it() -> None:
    found = read_dicom(packaged("693_J2KI.dcm")).image  # 14 bits in the header, 16 in the codestream
    assert found.meta["BitsStored"] == "14" and found.value_range == (-8192 - 1024, 8191 - 1024)
    shallow = read_dicom(edited(packaged("693_J2KI.dcm"), BitsStored=12, HighBit=11)).image
    assert shallow.pixels.min() + 1024 < -(2**11), "12 bits cannot hold it"
    assert shallow.meta["BitsStored"] == "16" and shallow.value_range == (-32768 - 1024, 32767 - 1024)


@pytest.mark.filterwarnings("ignore:Invalid value")
@pytest.mark.parametrize(
    ("elements", "colour"),
    [
        ({"SamplesPerPixel": None}, False),
        ({"PixelRepresentation": None}, False),
        ({"PhotometricInterpretation": "monochrome2"}, False),
        ({"BitsStored": None, "HighBit": None}, False),
        ({"HighBit": None, "NumberOfFrames": ""}, False),
        ({"SamplesPerPixel": None, "PixelRepresentation": None, "PhotometricInterpretation": "monochrome1 "}, False),
        ({"SamplesPerPixel": None}, True),
        ({"PlanarConfiguration": None}, True),
        ({"PixelRepresentation": None, "PhotometricInterpretation": "rgb"}, True),
    ],
)
def test_what_is_absent_and_can_mean_one_thing_alone_is_read(
    tmp_path: Path, elements: dict[str, object], colour: bool
) -> None:
    """suyashkumar/dicom#131, RadicalImaging/Static-DICOMWeb PR 10, pydicom#151."""
    rgb = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    pixels = rgb if colour else RAMP
    write_dicom(tmp_path / "a.dcm", pixels, kind="SC" if colour else "CR", bits_stored=None if colour else 16)
    np.testing.assert_array_equal(read_dicom(edited(tmp_path / "a.dcm", **elements)).image.pixels, pixels)


@pytest.mark.parametrize("window", ["voi", "minmax"])
def test_12_bit_grey_in_a_colour_object_is_windowed_as_grey(tmp_path: Path, window: str) -> None:
    write_dicom(tmp_path / "a.dcm", RAMP, bits_stored=12)
    three = np.ascontiguousarray(np.dstack([RAMP] * 3))
    data = edited(
        tmp_path / "a.dcm",
        **{"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3, "PlanarConfiguration": 0, "BitsStored": 16},
        **{"HighBit": 15, "PixelData": three.tobytes()},
    )
    spec = PreprocessSpec(size=(64, 64), window=window, mean=(0.5,), std=(0.5,))
    seen = canvas(read_dicom(data).image, spec)
    np.testing.assert_array_equal(seen, canvas(read_dicom(tmp_path / "a.dcm").image, spec))
    assert seen.max() == 65535
