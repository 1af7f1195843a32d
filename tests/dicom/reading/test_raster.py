"""PNG, JPEG and TIFF: depth, colour order, orientation, budget, damage; and recognition by content."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageOps

from edgedx.core.errors import ImageError, InputOutputError
from edgedx.dicom.reading.open import open_image, sniff
from edgedx.dicom.writing.make import write_dicom

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (40, 60)).astype(np.uint8)
GREY16 = RNG.integers(0, 65536, (40, 60)).astype(np.uint16)
RGB = RNG.integers(0, 256, (40, 60, 3)).astype(np.uint8)


def encoded(picture: Picture.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def png16(pixels: NDArray[np.uint16]) -> bytes:
    return cv2.imencode(".png", pixels[:, :, ::-1] if pixels.ndim == 3 else pixels)[1].tobytes()


def tiff(pixels: NDArray[np.generic], photometric: int, sample_format: int = 1) -> bytes:
    """A minimal uncompressed TIFF 6.0 written by hand."""
    data = pixels.tobytes()
    bits = pixels.dtype.itemsize * 8
    height, width = pixels.shape
    long_tags = {256: width, 257: height, 273: 8, 278: height, 279: len(data)}
    short_tags = {258: bits, 259: 1, 262: photometric, 277: 1, 339: sample_format}
    entries = [(tag, 4, 1, value) for tag, value in long_tags.items()]
    entries += [(tag, 3, 1, value) for tag, value in short_tags.items()]
    directory = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(entries)) + directory + bytes(4)


def code_of(data: bytes | Path, **options: int) -> str:
    with pytest.raises(ImageError) as caught:
        open_image(data, **options)
    return caught.value.code


@pytest.mark.parametrize(
    ("data", "expected", "kind"),
    [
        (encoded(Picture.fromarray(GREY), "PNG"), GREY, "png"),
        (encoded(Picture.fromarray(GREY), "TIFF"), GREY, "tiff"),
        (encoded(Picture.fromarray(GREY), "TIFF", compression="tiff_lzw"), GREY, "tiff"),
        (encoded(Picture.fromarray(RGB), "PNG"), RGB, "png"),
        (encoded(Picture.fromarray(RGB), "TIFF"), RGB, "tiff"),
        (png16(GREY16), GREY16, "png"),
        (
            png16(np.dstack([GREY16, GREY16[::-1], GREY16[:, ::-1]])),
            np.dstack([GREY16, GREY16[::-1], GREY16[:, ::-1]]),
            "png",
        ),
        (tiff(GREY16, photometric=1), GREY16, "tiff"),
    ],
    ids=["png", "tiff", "tiff-lzw", "png-rgb", "tiff-rgb", "png-16", "png-rgb-16", "tiff-16"],
)
def test_lossless_formats_keep_every_value_and_the_depth(data: bytes, expected: NDArray[np.generic], kind: str) -> None:
    found = open_image(data)
    np.testing.assert_array_equal(found.image.pixels, expected)
    assert found.image.pixels.dtype == expected.dtype
    assert found.image.value_range == (0, np.iinfo(expected.dtype).max)
    assert found.format == kind and found.decoder.startswith("imagecodecs " if kind == "tiff" else "opencv ")
    assert found.image.voi is None and not found.image.inverted and found.transfer_syntax is None


def test_jpeg_is_close_and_in_rgb_order() -> None:
    flat = np.zeros((32, 32, 3), np.uint8)
    flat[:, :, 0], flat[:16] = 200, (10, 20, 220)
    found = open_image(encoded(Picture.fromarray(flat), "JPEG", quality=95, subsampling=0))
    np.testing.assert_allclose(found.image.pixels.astype(int), flat, atol=6)
    assert found.format == "jpeg"


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1"])
def test_alpha_is_dropped_and_palettes_are_expanded(mode: str) -> None:
    picture = Picture.fromarray(RGB).convert(mode)
    found = open_image(encoded(picture, "PNG")).image.pixels
    expected = np.asarray(picture.convert({"RGBA": "RGB", "LA": "L", "P": "RGB", "1": "L"}[mode]))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(kind: str, orientation: int) -> None:
    ramp = np.add.outer(np.arange(32) * 4, np.arange(48) * 2).astype(np.uint8)
    exif = Picture.Exif()
    exif[0x0112] = orientation
    data = encoded(Picture.fromarray(ramp), kind, exif=exif)
    with Picture.open(io.BytesIO(data)) as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture)).astype(int)
    np.testing.assert_allclose(open_image(data).image.pixels, expected, atol=0 if kind != "JPEG" else 3)


@pytest.mark.parametrize("pixels", [GREY, GREY16], ids=["8", "16"])
def test_white_is_zero_tiff_ends_up_with_the_right_polarity(pixels: NDArray[np.generic]) -> None:
    image = open_image(tiff(pixels, photometric=0)).image
    peak = np.iinfo(pixels.dtype).max
    light = peak - image.pixels if image.inverted else image.pixels
    np.testing.assert_array_equal(light, peak - pixels)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_a_file_cut_anywhere_is_refused(kind: str) -> None:
    data = encoded(Picture.fromarray(GREY), kind)
    codes = {code_of(data[:size]) for size in range(16, len(data) - 8, 53)}
    assert codes <= {"TRUNCATED", "BROKEN_HEADER", "DECODE_FAILED", "UNKNOWN_FORMAT"}


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_file_cut_within_its_pixels_is_truncated(kind: str) -> None:
    data = encoded(Picture.fromarray(GREY), kind)
    assert {code_of(data[:size]) for size in range(len(data) - 400, len(data) - 8, 31)} == {"TRUNCATED"}


def test_jpeg_followed_by_something_is_read() -> None:
    data = encoded(Picture.fromarray(GREY), "JPEG")
    np.testing.assert_array_equal(open_image(data + b"trailer").image.pixels, open_image(data).image.pixels)


def test_png_with_a_damaged_chunk_is_refused() -> None:
    data = bytearray(encoded(Picture.fromarray(GREY), "PNG"))
    data[len(data) // 2] ^= 0x55
    assert code_of(bytes(data)) == "DECODE_FAILED"


def test_budget_is_that_of_the_decoded_pixels() -> None:
    blank_but_one = np.zeros((500, 400), np.uint8)
    blank_but_one[0, 0] = 1
    data = encoded(Picture.fromarray(blank_but_one), "PNG")
    assert len(data) < 2000
    assert code_of(data, max_decoded_bytes=199_999) == "TOO_LARGE"
    assert open_image(data, max_decoded_bytes=200_000).image.pixels.shape == (500, 400)
    assert code_of(png16(GREY16), max_decoded_bytes=40 * 60 * 2 - 1) == "TOO_LARGE"


def test_png_bomb_is_refused_by_its_header() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    assert code_of(bomb) == "TOO_LARGE"


def test_blank_empty_multi_page_and_float_are_refused() -> None:
    assert code_of(encoded(Picture.new("L", (20, 20), 9), "PNG")) == "BLANK"
    assert code_of(b"") == "EMPTY"
    pages = encoded(Picture.fromarray(GREY), "TIFF", save_all=True, append_images=[Picture.fromarray(GREY)])
    assert code_of(pages) == "MULTI_FRAME"
    frames = encoded(Picture.fromarray(GREY), "PNG", save_all=True, append_images=[Picture.fromarray(GREY[::-1])])
    assert code_of(frames) == "MULTI_FRAME"
    assert code_of(tiff(GREY.astype(np.float32), photometric=1, sample_format=3)) == "PIXEL_FORMAT"


@pytest.mark.parametrize("data", [b"hello", b"GIF89a" + bytes(200), b"%PDF-1.7" + bytes(200), bytes(300)])
def test_other_content_is_an_unknown_format(data: bytes) -> None:
    assert code_of(data) == "UNKNOWN_FORMAT"


def test_the_name_plays_no_part(tmp_path: Path) -> None:
    path = tmp_path / "picture.dcm"
    path.write_bytes(encoded(Picture.fromarray(GREY), "PNG"))
    assert open_image(path).format == "png"
    write_dicom(tmp_path / "xray.png", GREY)
    found = open_image(tmp_path / "xray.png")
    assert found.format == "dicom" and found.sop_instance_uid and found.transfer_syntax == "1.2.840.10008.1.2.1"
    np.testing.assert_array_equal(found.image.pixels, GREY)


def test_dicom_with_a_tiff_preamble_is_dicom(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", GREY)
    data = b"II*\0" + bytes(124) + (tmp_path / "a.dcm").read_bytes()[128:]
    assert sniff(data) == "dicom" and open_image(data).format == "dicom"


def test_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError):
        open_image(tmp_path / "absent.png")


def test_raster_input_does_not_import_pydicom(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Picture.fromarray(GREY), "PNG"))
    script = (
        "import sys; from edgedx.dicom.reading.open import open_image\n"
        "open_image(sys.argv[1]); print('pydicom' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
