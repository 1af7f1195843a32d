"""Every refusal by its code."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit
from samples import RAMP, code_of, edited, packaged, saved

from edgedx.core.codes import Code
from edgedx.core.errors import InputOutputError
from edgedx.dicom.reading.read import DicomImage, read_dicom
from edgedx.dicom.writing.make import write_dicom


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
        ("priv_SQ.dcm", "TRUNCATED"),
        ("MR_truncated.dcm", "TRUNCATED"),
        ("MR_small_padded.dcm", "HEADER_MISMATCH"),
        ("JPEG2000-embedded-sequence-delimiter.dcm", "DECODE_FAILED"),
    ],
)
def test_each_unreadable_kind_has_its_code(name: str, code: str) -> None:
    assert code_of(packaged(name)) == code


def test_what_is_of_no_image_class_may_have_no_pixels(ramp: Path) -> None:
    palette = "1.2.840.10008.5.1.4.39.1"
    assert code_of(edited(ramp, SOPClassUID=palette, PixelData=None, Rows=None, Columns=None)) == "NO_PIXELS"
    assert code_of(edited(ramp, PixelData=None, Rows=None, Columns=None)) == "TRUNCATED"


def test_an_unknown_transfer_syntax_is_refused_before_the_data_set_is_parsed(ramp: Path) -> None:
    data = ramp.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0")
    assert code_of(data[:400]) == "TRANSFER_SYNTAX"


def test_a_12_bit_jpeg_that_claims_8_bits_is_not_decoded() -> None:
    data = edited(packaged("JPEG-lossy.dcm"), BitsStored=8, HighBit=7, BitsAllocated=8)
    assert code_of(data) == "HEADER_MISMATCH"


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
    frames = edited(packaged("MR_small.dcm"), NumberOfFrames="1000000")
    assert code_of(frames) == "MULTI_FRAME" and code_of(frames, frames="middle") == "TRUNCATED"


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
        ({"NumberOfFrames": "0"}, "BROKEN_HEADER"),
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
