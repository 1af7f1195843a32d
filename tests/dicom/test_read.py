"""Reading DICOM: values against independently computed numbers, and every refusal by its code."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file, get_testdata_files
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

from edgedx.core.errors import ImageError, InputOutputError
from edgedx.core.image import VoiTable, VoiWindow
from edgedx.core.preprocess import PreprocessSpec, preprocess
from edgedx.dicom.make import Subject, write_dicom
from edgedx.dicom.open import open_image
from edgedx.dicom.read import DicomImage, read_dicom
from edgedx.dicom.refusals import Code

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def packaged(name: str) -> Path:
    """A test file inside the pydicom package; never downloaded."""
    path = get_testdata_file(name, download=False)
    assert path is not None
    return Path(path)


def edited(path: Path, **elements: object) -> bytes:
    """The file with some elements replaced, None deletes."""
    ds = pydicom.dcmread(path)
    for keyword, value in elements.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return saved(ds)


def saved(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer)
    return buffer.getvalue()


def code_of(source: Path | bytes, **options: int) -> str:
    with pytest.raises(ImageError) as caught:
        read_dicom(source, **options)
    assert caught.value.__cause__ is None, "a chained pydicom error would print header values"
    return caught.value.code


@pytest.fixture
def ramp(tmp_path: Path) -> Path:
    """A CR file whose pixel (row, column) is 64 * row + column, 12 bits, no window."""
    write_dicom(tmp_path / "ramp.dcm", RAMP, bits_stored=12)
    return tmp_path / "ramp.dcm"


# Pixels


def test_every_packaged_file_gives_an_image_within_its_range_or_a_known_code() -> None:
    codes = {code.value for code in Code}
    images = 0
    files = [Path(name) for name in get_testdata_files() if Path(name).is_file()]
    for path in files:
        try:
            image = open_image(path).image
        except ImageError as error:
            assert error.code in codes, path.name
            continue
        images += 1
        assert np.isfinite(image.pixels).all(), path.name
        assert image.value_range[0] <= image.pixels.min(), path.name
        assert image.pixels.max() <= image.value_range[1], path.name
        assert image.pixels.ndim == 2 or image.pixels.shape[2] == 3, path.name
    assert len(files) > 150 and images > 60


@pytest.mark.parametrize(
    ("name", "decoder"),
    [
        ("MR_small_jp2klossless.dcm", "pylibjpeg-openjpeg "),
        ("MR_small_jpeg_ls_lossless.dcm", "pyjpegls "),
        ("MR_small_RLE.dcm", "pydicom "),
        ("MR_small_bigendian.dcm", "pydicom "),
        ("MR_small_implicit.dcm", "pydicom "),
        ("MR_small_padded.dcm", "pydicom "),
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


def test_jpeg_2000_that_is_deeper_than_bits_stored_widens_the_range() -> None:
    found = read_dicom(packaged("693_J2KI.dcm")).image  # 14 bits in the header, 16 in the codestream
    assert found.meta["BitsStored"] == "16"
    assert found.value_range[0] <= found.pixels.min()


# Modality LUT, VOI, polarity


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
    assert code_of(edited(ramp, VOILUTSequence=[item])) == "BROKEN_HEADER"


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
        {"WindowCenter": "100", "WindowWidth": "0.5"},
        {"WindowCenter": "100", "WindowWidth": "-5", "VOILUTFunction": "LINEAR_EXACT"},
        {"WindowCenter": "100"},
        {"WindowCenter": "100", "WindowWidth": "50", "VOILUTFunction": "BENT"},
    ],
)
def test_unusable_window_is_dropped_and_said(ramp: Path, elements: dict[str, str]) -> None:
    image = read_dicom(edited(ramp, **elements)).image
    assert image.voi is None and image.meta["VoiIgnored"]


def test_window_narrower_than_one_is_allowed_for_linear_exact(ramp: Path) -> None:
    data = edited(ramp, WindowCenter="100", WindowWidth="0.5", VOILUTFunction="LINEAR_EXACT")
    assert read_dicom(data).image.voi == VoiWindow(100, 0.5, "LINEAR_EXACT")


# Header facts


def test_meta_holds_what_refusal_rules_need_and_no_identity(tmp_path: Path) -> None:
    subject = Subject("CANARY-ID", "CANARY^NAME", "F", 7)
    uid = write_dicom(tmp_path / "a.dcm", RAMP, bits_stored=12, subject=subject, view="PA")
    found = read_dicom(tmp_path / "a.dcm")
    assert found.image.meta == {
        "Modality": "CR",
        "BodyPartExamined": "CHEST",
        "ViewPosition": "PA",
        "PatientSex": "F",
        "PatientAgeYears": "7",
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": "64",
        "Columns": "64",
        "BitsStored": "12",
    }
    assert found.sop_instance_uid == uid
    assert "CANARY" not in repr(found)


@pytest.mark.parametrize(("text", "years"), [("045Y", "45"), ("006M", "0.5"), ("010D", "0.03"), ("026W", "0.5")])
def test_age_is_in_years_whatever_its_unit(ramp: Path, text: str, years: str) -> None:
    assert read_dicom(edited(ramp, PatientAge=text)).image.meta["PatientAgeYears"] == years


@pytest.mark.filterwarnings("ignore")
def test_free_text_in_code_fields_is_dropped(ramp: Path) -> None:
    meta = read_dicom(edited(ramp, BodyPartExamined="Thorax of Mr. Smith", ViewPosition="pa")).image.meta
    assert "BodyPartExamined" not in meta and meta["ViewPosition"] == "PA"


def test_nothing_of_the_header_is_logged_warned_or_quoted(
    ramp: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder, capfd: pytest.CaptureFixture[str]
) -> None:
    data = edited(ramp, PatientName="CANARY^NAME", PatientID="CANARYID", PatientAge="044Y", RescaleIntercept="77777777")
    data = data.replace(b"77777777", b"CANARY77").replace(b"044Y", b"CANA")
    with caplog.at_level(logging.DEBUG), pytest.raises(ImageError) as caught:
        read_dicom(data)
    assert caught.value.code == "BROKEN_HEADER"
    said = [
        caught.value.message,
        str(caught.value.next_step),
        caplog.text,
        *(str(w.message) for w in recwarn),
        *capfd.readouterr(),
    ]
    assert not any("CANA" in text for text in said)


def test_pydicoms_own_warnings_about_values_are_silenced(
    ramp: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    uid = pydicom.dcmread(ramp).SOPInstanceUID.encode()
    data = ramp.read_bytes().replace(uid, uid[:-6] + b"CANARY")
    with caplog.at_level(logging.DEBUG):
        found = read_dicom(data)
    assert found.sop_instance_uid == "", "what is not a UID is free text"
    assert "CANARY" not in caplog.text and not any("CANARY" in str(w.message) for w in recwarn)
    with pytest.warns(UserWarning, match="CANARY"):  # the control: pydicom by itself does quote the value
        warnings.simplefilter("always")
        str(pydicom.dcmread(io.BytesIO(data)).SOPInstanceUID)


# Refusals


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("no_meta.dcm", "NOT_DICOM"),
        ("README.txt", "NOT_DICOM"),
        ("meta_missing_tsyntax.dcm", "BROKEN_HEADER"),
        ("image_dfl.dcm", "DEFLATED"),
        ("examples_ybr_color.dcm", "MULTI_FRAME"),
        ("SC_rgb_rle_2frame.dcm", "MULTI_FRAME"),
        ("dicomdirtests/DICOMDIR", "DICOMDIR"),
        ("test-SR.dcm", "REPORT"),
        ("rtplan.dcm", "RADIOTHERAPY"),
        ("rtdose_1frame.dcm", "RADIOTHERAPY"),
        ("liver_1frame.dcm", "SEGMENTATION"),
        ("waveform_ecg.dcm", "WAVEFORM"),
        ("priv_SQ.dcm", "NO_PIXELS"),
        ("MR_truncated.dcm", "TRUNCATED"),
        ("SC_rgb_jpeg_gdcm.dcm", "TRANSFER_SYNTAX"),
        ("JPEG-lossy.dcm", "TRANSFER_SYNTAX"),
        ("JPEG2000-embedded-sequence-delimiter.dcm", "DECODE_FAILED"),
    ],
)
def test_each_unreadable_kind_has_its_code(name: str, code: str) -> None:
    assert code_of(packaged(name)) == code


def test_refused_transfer_syntax_names_the_uid_and_what_it_needs() -> None:
    with pytest.raises(ImageError) as caught:
        read_dicom(packaged("SC_rgb_jpeg_gdcm.dcm"))
    assert "1.2.840.10008.1.2.4.70" in caught.value.message and "GPL-3" in caught.value.message


def test_a_12_bit_jpeg_that_claims_8_bits_is_not_decoded() -> None:
    data = edited(packaged("JPEG-lossy.dcm"), BitsStored=8, HighBit=7, BitsAllocated=8)
    assert code_of(data) == "TRANSFER_SYNTAX"


@pytest.mark.parametrize("value", [0, 77])
def test_constant_pixels_are_blank(ramp: Path, value: int) -> None:
    assert code_of(edited(ramp, PixelData=np.full(4096, value, "<u2").tobytes())) == "BLANK"


def test_a_decoder_that_returns_zeros_is_caught(tmp_path: Path) -> None:
    from PIL import Image as Picture

    buffer = io.BytesIO()
    Picture.new("L", (64, 64), 0).save(buffer, "JPEG")
    write_dicom(tmp_path / "a.dcm", RAMP.astype(np.uint8))
    ds = pydicom.dcmread(tmp_path / "a.dcm")
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    ds.PixelData = encapsulate([buffer.getvalue()])
    ds["PixelData"].is_undefined_length = True
    assert code_of(saved(ds)) == "BLANK"


@pytest.mark.parametrize("frames", ["", "1"])
def test_one_frame_may_be_said_or_not(ramp: Path, frames: str) -> None:
    assert read_dicom(edited(ramp, NumberOfFrames=frames)).image.pixels.shape == (64, 64)


def test_budget_is_checked_before_decoding() -> None:
    path = packaged("MR_small_RLE.dcm")  # 64 x 64 x 2 bytes decoded, 7,790 bytes as a file
    assert code_of(path, max_decoded_bytes=8191) == "TOO_LARGE"
    assert read_dicom(path, max_decoded_bytes=8192).image.pixels.shape == (64, 64)
    assert code_of(path, max_decoded_bytes=7000) == "TOO_LARGE"


def test_a_header_that_promises_gigabytes_is_refused_without_allocating_them() -> None:
    data = edited(packaged("MR_small_RLE.dcm"), Rows=65535, Columns=65535)
    assert code_of(data) == "TOO_LARGE"
    assert code_of(edited(packaged("MR_small.dcm"), NumberOfFrames="1000000")) == "TOO_LARGE"


@pytest.mark.parametrize(
    "name", ["MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "SC_rgb_jpeg_dcmtk.dcm"]
)
def test_codestream_of_another_size_than_the_header_never_reaches_the_decoder(name: str) -> None:
    assert code_of(edited(packaged(name), Rows=216)) == "HEADER_MISMATCH"


@pytest.mark.parametrize(
    "name", ["MR_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"]
)
def test_a_file_cut_anywhere_is_refused(name: str) -> None:
    data = packaged(name).read_bytes()
    end = pydicom.dcmread(packaged(name), defer_size=1)["PixelData"].file_tell + 8192
    codes = {code_of(data[:size]) for size in range(0, min(len(data), end) - 200, 97)}
    assert {"EMPTY", "NOT_DICOM", "TRUNCATED"} <= codes
    assert codes <= {"EMPTY", "NOT_DICOM", "TRUNCATED", "BROKEN_HEADER", "NO_PIXELS", "DECODE_FAILED"}


@pytest.mark.parametrize(
    "name", ["MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "SC_rgb_jpeg_dcmtk.dcm"]
)
def test_a_whole_file_around_half_a_codestream_is_truncated(name: str) -> None:
    ds = pydicom.dcmread(packaged(name))
    frame = get_frame(ds.PixelData, 0, number_of_frames=1)
    ds.PixelData = encapsulate([frame[: len(frame) // 4 * 2]])
    assert code_of(saved(ds)) == "TRUNCATED"


@pytest.mark.parametrize(
    ("elements", "code"),
    [
        ({"Rows": 0}, "BROKEN_HEADER"),
        ({"BitsAllocated": None}, "BROKEN_HEADER"),
        ({"PhotometricInterpretation": None}, "BROKEN_HEADER"),
        ({"BitsStored": 17}, "BROKEN_HEADER"),
        ({"SamplesPerPixel": 3}, "BROKEN_HEADER"),
        (
            {"PhotometricInterpretation": "YBR_RCT", "SamplesPerPixel": 3, "BitsAllocated": 8, "BitsStored": 8},
            "BROKEN_HEADER",
        ),
        ({"BitsAllocated": 12}, "PIXEL_FORMAT"),
        ({"HighBit": 15}, "PIXEL_FORMAT"),
        ({"PhotometricInterpretation": "HSV", "SamplesPerPixel": 3}, "PHOTOMETRIC"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PHOTOMETRIC"),
        ({"PixelData": None}, "TRUNCATED"),
        ({"PixelData": None, "FloatPixelData": b"\0" * 16384}, "PIXEL_FORMAT"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"}, "DOCUMENT"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.11.1"}, "PRESENTATION"),
    ],
)
def test_contradictory_headers_are_refused(ramp: Path, elements: dict[str, object], code: str) -> None:
    assert code_of(edited(ramp, **elements)) == code


def test_rt_image_is_the_radiotherapy_class_that_is_read(ramp: Path) -> None:
    data = edited(ramp, SOPClassUID="1.2.840.10008.5.1.4.1.1.481.1")
    assert read_dicom(data).sop_class_uid == "1.2.840.10008.5.1.4.1.1.481.1"


def test_every_code_has_a_meaning_and_is_its_own_name() -> None:
    assert all(code.value == code.name and code.meaning.endswith(".") for code in Code)
    assert len({code.meaning for code in Code}) == len(Code)


def test_missing_file_and_folder_are_input_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.dcm", tmp_path):
        with pytest.raises(InputOutputError):
            read_dicom(path)


def test_path_bytes_and_stream_give_the_same(ramp: Path) -> None:
    def facts(found: DicomImage) -> tuple[bytes, str, str]:
        return found.image.pixels.tobytes(), found.sop_instance_uid, found.decoder

    with ramp.open("rb") as stream:
        assert facts(read_dicom(stream)) == facts(read_dicom(ramp)) == facts(read_dicom(ramp.read_bytes()))
    assert read_dicom(ramp).transfer_syntax == ExplicitVRLittleEndian


# Hostile files, in a child process: a crash of a native decoder must fail one test and not the run.

_CHILD = """
import random, sys
from edgedx.core.errors import ImageError
from edgedx.dicom.open import open_image
from edgedx.dicom.refusals import Code

def look(data, codes=frozenset(code.value for code in Code)):
    try:
        image = open_image(data, max_decoded_bytes=64 << 20).image
        assert image.value_range[0] <= image.pixels.min() and image.pixels.max() <= image.value_range[1]
    except ImageError as error:
        assert error.code in codes and error.__cause__ is None

mutations = int(sys.argv[1])
for path in sys.argv[2:]:
    data = open(path, "rb").read()
    look(data)
    for seed in range(mutations):
        rng = random.Random(seed)
        hurt = bytearray(data)
        for _ in range(rng.choice((1, 2, 4, 8))):
            hurt[rng.randrange(132, len(hurt))] = rng.randrange(256)
        look(bytes(hurt[: rng.randrange(len(hurt))] if seed % 7 == 0 else hurt))
print("survived")
"""


def survives(mutations: int, *paths: Path) -> None:
    command = [sys.executable, "-c", _CHILD, str(mutations), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "survived"), done.stderr[-2000:]


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_jp2klossless.dcm",
        "SC_rgb_gdcm_KY.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "SC_rgb_jls_lossy_line.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "MR_small_RLE.dcm",
        "ExplVR_BigEnd.dcm",
        "examples_palette.dcm",
    ],
)
def test_damaged_files_give_an_image_or_a_code_and_never_a_crash(name: str) -> None:
    survives(150, packaged(name))


def test_files_that_crashed_other_decoders_do_not_crash_the_pinned_ones() -> None:
    folder = os.environ.get("EDGEDX_FAULTS")
    if not folder:
        pytest.skip("EDGEDX_FAULTS does not name the folder of hostile files")
    files = sorted(Path(folder, "dicom").glob("*.dcm"))
    assert files
    survives(0, *files)
