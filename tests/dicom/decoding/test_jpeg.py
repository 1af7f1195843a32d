"""JPEG in all its kinds, as a file and inside DICOM: right values, or a refusal with a code."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image as Picture
from pydicom import uid
from pydicom.encaps import encapsulate
from samples import code_of, packaged, saved

from edgedx.core.errors import ImageError
from edgedx.dicom.decoding.jpeg_markers import read_jpeg_header, with_colour_transform
from edgedx.dicom.reading.open import open_image
from edgedx.dicom.reading.read import read_dicom
from edgedx.dicom.writing.make import write_dicom

Y, X = np.mgrid[:64, :96]
SMOOTH = np.dstack([X * 2, Y * 3, X + Y]).astype(np.uint8)
GREY = SMOOTH[:, :, 2]
GREY12 = (GREY.astype(np.uint16) * 16 + X.astype(np.uint16) % 16)[:64, :96]


def jpeg(pixels: NDArray[np.uint8] = GREY, **options: object) -> bytes:
    buffer = io.BytesIO()
    Picture.fromarray(pixels).save(buffer, "JPEG", **{"quality": 95, "subsampling": 0, **options})
    return buffer.getvalue()


def dicom(
    folder: Path, pixels: NDArray[np.generic], frame: bytes, syntax: str, bits: int | None = None, **elements: object
) -> bytes:
    write_dicom(folder / "a.dcm", pixels, kind="SC" if pixels.ndim == 3 else "CR", bits_stored=bits)  # type: ignore[arg-type]
    ds = pydicom.dcmread(folder / "a.dcm")
    ds.file_meta.TransferSyntaxUID = syntax
    ds.PixelData = encapsulate([frame])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return saved(ds)


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        open_image(data)
    return caught.value.code


def scans(data: bytes) -> list[int]:
    return [match.start() for match in re.finditer(rb"\xff\xda", data)]


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}, {"restart_marker_blocks": 3}])
def test_pixels_are_those_of_pillow(options: dict[str, object]) -> None:
    for pixels in (GREY, SMOOTH):
        data = jpeg(pixels, **options)
        with Picture.open(io.BytesIO(data)) as picture:
            np.testing.assert_array_equal(open_image(data).image.pixels, np.asarray(picture))


def test_a_stream_without_its_end_marker_is_truncated_wherever_it_ends() -> None:
    for options in ({}, {"progressive": True}):
        data = jpeg(**options)
        for size in range(200, len(data) - 1, 41):
            assert refusal(data[:size]) in {"TRUNCATED", "DECODE_FAILED"}
            assert refusal(data[:size] + b"\xff\xd9") in {"TRUNCATED", "DECODE_FAILED"}, "an end marker is no proof"


def test_a_progressive_image_that_lacks_a_scan_is_truncated() -> None:
    """ultralytics/yolov5 PR 3638: an intact end behind lost data. libjpeg does not warn of it."""
    for pixels in (GREY, SMOOTH):
        data = jpeg(pixels, progressive=True)
        begins = [*scans(data), len(data) - 2]
        assert len(begins) > 4
        for begin, end in zip(begins[:-1], begins[1:], strict=True):
            last_tables = data.rfind(b"\xff\xc4", begin, end)
            cut = data[:begin] + data[last_tables if last_tables > begin else end :]
            assert refusal(cut) in {"TRUNCATED", "DECODE_FAILED"}


def test_an_image_that_lacks_a_component_is_truncated() -> None:
    ycc = imagecodecs.jpeg8_encode(SMOOTH, level=95, subsampling="444")
    one = ycc[: ycc.index(b"\xff\xda")]
    scan = struct.pack(">HBBBBBB", 8, 1, 1, 0, 0, 63, 0)
    assert refusal(one + b"\xff\xda" + scan + b"\x00" * 10 + b"\xff\xd9") == "TRUNCATED"


def test_restart_markers_out_of_order_are_refused() -> None:
    data = jpeg(restart_marker_blocks=3)
    first = data.index(b"\xff\xd0")
    assert open_image(data).image.pixels.shape == GREY.shape
    assert refusal(data[: first + 1] + b"\xd5" + data[first + 2 :]) == "DECODE_FAILED"


@pytest.mark.parametrize("marker", [0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD])
def test_arithmetic_and_hierarchical_coding_is_not_read(marker: int) -> None:
    data = jpeg()
    at = data.index(b"\xff\xc0")
    assert refusal(data[: at + 1] + bytes([marker]) + data[at + 2 :]) == "PIXEL_FORMAT"


def test_four_components_are_not_read() -> None:
    buffer = io.BytesIO()
    Picture.fromarray(SMOOTH).convert("CMYK").save(buffer, "JPEG")
    assert refusal(buffer.getvalue()) == "PIXEL_FORMAT"


def test_nonsense_where_a_sequential_scan_has_no_choice_is_read_past() -> None:
    data = bytearray(jpeg())
    at = data.index(b"\xff\xda") + 2 + 2 + 1 + 2
    assert bytes(data[at : at + 3]) == b"\0\x3f\0"
    data[at : at + 3] = b"\0\0\0"
    np.testing.assert_array_equal(open_image(bytes(data)).image.pixels, open_image(jpeg()).image.pixels)


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_jpeg_lossless_gives_every_value(tmp_path: Path, predictor: int, bits: int) -> None:
    """Most CR and DX archives hold it."""
    pixels = (GREY12 if bits == 12 else GREY12 * 16 + 3 if bits == 16 else GREY).astype(
        np.uint8 if bits == 8 else np.uint16
    )
    frame = imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=predictor, bitspersample=bits)
    syntax = uid.JPEGLosslessSV1 if predictor == 1 else uid.JPEGLossless
    found = read_dicom(dicom(tmp_path, pixels, frame, syntax, bits))
    np.testing.assert_array_equal(found.image.pixels, pixels)
    assert found.decoder.startswith("imagecodecs ") and found.image.value_range == (0, 2**bits - 1)
    assert code_of(dicom(tmp_path, pixels, frame[:-40] + b"\xff\xd9", syntax, bits)) == "DECODE_FAILED"


SIGNED = GREY12.astype(np.int16) - 2048


@pytest.mark.parametrize(
    ("words", "bits", "expected"),
    [
        (SIGNED.view(np.uint16), 16, SIGNED),  # whole words, the sign spread over the unused bits
        (SIGNED.view(np.uint16) & 0xFFF, 12, SIGNED),
        (GREY12 | 0xA000, 16, GREY12),  # an old overlay in the unused bits
        (GREY12, 16, GREY12),
    ],
    ids=["signed words", "signed 12 bits", "overlay", "words"],
)
def test_jpeg_lossless_of_words_has_the_value_in_the_stored_bits(
    tmp_path: Path, words: NDArray[np.uint16], bits: int, expected: NDArray[np.generic]
) -> None:
    frame = imagecodecs.jpeg8_encode(np.ascontiguousarray(words), lossless=True, predictor=1, bitspersample=bits)
    signed = int(expected.dtype.kind == "i")
    data = dicom(tmp_path, GREY12, frame, uid.JPEGLosslessSV1, 12, PixelRepresentation=signed)
    found = read_dicom(data).image
    np.testing.assert_array_equal(found.pixels, expected)
    assert found.value_range == ((-2048, 2047) if signed else (0, 4095))


def test_12_bit_jpeg_is_close_and_refused_when_it_claims_8_bits(tmp_path: Path) -> None:
    frame = imagecodecs.jpeg8_encode(GREY12, level=98, bitspersample=12)
    found = read_dicom(dicom(tmp_path, GREY12, frame, uid.JPEGExtended12Bit, 12))
    assert np.abs(found.image.pixels.astype(int) - GREY12).max() < 24 and found.image.value_range == (0, 4095)
    shallow = dicom(tmp_path, GREY, frame, uid.JPEGExtended12Bit)
    assert code_of(shallow) == "HEADER_MISMATCH"


def test_jpeg_lossless_and_12_bits_are_read_as_files_too() -> None:
    found = open_image(imagecodecs.jpeg8_encode(GREY12, lossless=True, predictor=1, bitspersample=12)).image
    np.testing.assert_array_equal(found.pixels, GREY12)
    assert found.value_range == (0, 4095)


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "YBR_FULL_422"])
def test_components_are_what_the_stream_says_else_what_the_header_says(tmp_path: Path, photometric: str) -> None:
    """pylibjpeg#41, pydicom PR 1444: components R, G, B without an Adobe segment."""
    plain = imagecodecs.jpeg8_encode(SMOOTH, level=98, colorspace="RGB", outcolorspace="RGB")
    header = read_jpeg_header(plain)
    assert header.component_ids == tuple(b"RGB")
    bare = with_colour_transform(plain, header, False)
    adobe_at = bare.index(b"\xff\xee")
    without_adobe = bare[:adobe_at] + bare[adobe_at + 16 :]
    converted = jpeg(SMOOTH, quality=98)
    adobe_ycc = with_colour_transform(converted, read_jpeg_header(converted), True)
    for name, frame in (("names", without_adobe), ("adobe RGB", bare), ("adobe YCC", adobe_ycc)):
        found = read_dicom(dicom(tmp_path, SMOOTH, frame, uid.JPEGBaseline8Bit, PhotometricInterpretation=photometric))
        assert np.abs(found.image.pixels.astype(int) - SMOOTH).max() < 12, (name, photometric)
    jfif = dicom(tmp_path, SMOOTH, converted, uid.JPEGBaseline8Bit, PhotometricInterpretation=photometric)
    as_stored = np.abs(read_dicom(jfif).image.pixels.astype(int) - SMOOTH).max() < 12
    assert as_stored == (photometric != "RGB"), "without Adobe and names the DICOM header says whether to convert"


def test_bytes_behind_the_end_marker_are_padding_or_an_error(tmp_path: Path) -> None:
    frame = jpeg()
    for tail in (b"\0", b"\xff", b"\0\0\0\0"):
        assert read_dicom(dicom(tmp_path, GREY, frame + tail, uid.JPEGBaseline8Bit)).image.pixels.shape == GREY.shape
    assert code_of(dicom(tmp_path, GREY, frame + frame, uid.JPEGBaseline8Bit)) == "DECODE_FAILED"


def test_files_that_had_no_decoder_are_read() -> None:
    for name in ("SC_rgb_jpeg_gdcm.dcm", "JPEG-lossy.dcm", "JPGExtended.dcm"):
        assert read_dicom(packaged(name)).image.pixels.max() > 0
