"""Damage inside compressed pixels: refused, or the same pixels; and how much each format lets one see.

Kind of ultralytics/yolov5#3450, #2451, #916 and Yet-Another-EfficientDet-Pytorch#250: damaged files are decoded to
grey, black or shifted pixels without an error, and the answer changes.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from damaged import flip, hole, lost_end, outcomes, pixels_of
from PIL import Image as Picture
from pydicom import uid
from pydicom.encaps import encapsulate
from samples import saved

from edgedx.core.errors import ImageError
from edgedx.dicom.reading.open import open_image
from edgedx.dicom.writing.make import write_dicom

ROWS = COLUMNS = 256


@cache
def anatomy() -> np.ndarray:
    """12 bits, smooth, with a detector's noise."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    noise = np.random.default_rng(0).normal(0, 20, (ROWS, COLUMNS))
    return (2000 + 1500 * np.sin(x / 37) * np.cos(y / 23) + noise).clip(0, 4095).astype(np.uint16)


def picture(colour: bool = False) -> Picture.Image:
    grey = (anatomy() >> 4).astype(np.uint8)
    return Picture.fromarray(np.dstack([grey, grey.T, grey[::-1]]) if colour else grey)


def saved_as(kind: str, colour: bool = False, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture(colour).save(buffer, kind, **options)
    return buffer.getvalue()


def dicom(syntax: str, frame: bytes, folder: Path) -> bytes:
    write_dicom(folder / "a.dcm", anatomy(), bits_stored=12)
    ds = pydicom.dcmread(folder / "a.dcm")
    ds.file_meta.TransferSyntaxUID = syntax
    ds.PixelData = encapsulate([frame])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    return saved(ds)


def coded(kind: str) -> tuple[str, bytes]:
    grey = anatomy()
    if kind == "lossless":
        return uid.JPEGLosslessSV1, imagecodecs.jpeg8_encode(grey, lossless=True, predictor=1, bitspersample=12)
    if kind == "lossless-6":
        return uid.JPEGLossless, imagecodecs.jpeg8_encode(grey, lossless=True, predictor=6, bitspersample=12)
    if kind == "12-bit":
        return uid.JPEGExtended12Bit, imagecodecs.jpeg8_encode(grey, level=90, bitspersample=12)
    if kind == "jpeg-ls":
        return uid.JPEGLSLossless, imagecodecs.jpegls_encode(grey)
    if kind == "htj2k":
        return uid.HTJ2KLossless, imagecodecs.htj2k_encode(grey)
    frame = imagecodecs.jpeg2k_encode(
        grey, level=0, codecformat="j2k", reversible=True, bitspersample=12, resolutions=6
    )
    return uid.JPEG2000Lossless, frame


RASTERS: dict[str, Callable[[], bytes]] = {
    "png": lambda: saved_as("PNG"),
    "jpeg": lambda: saved_as("JPEG", quality=90),
    "jpeg-colour": lambda: saved_as("JPEG", True, quality=90),
    "jpeg-optimized": lambda: saved_as("JPEG", quality=90, optimize=True),
    "jpeg-restart": lambda: saved_as("JPEG", quality=90, restart_marker_rows=2),
    "jpeg-progressive": lambda: saved_as("JPEG", quality=90, progressive=True),
    "tiff-deflate": lambda: saved_as("TIFF", compression="tiff_adobe_deflate"),
    "tiff-lzw": lambda: saved_as("TIFF", compression="tiff_lzw"),
    "tiff-packbits": lambda: saved_as("TIFF", compression="packbits"),
    "tiff-jpeg": lambda: saved_as("TIFF", compression="jpeg"),
}


def damage_to(kind: str, folder: Path) -> tuple[bytes, int, int]:
    """A file, and where its coded pixels begin and end."""
    if kind in RASTERS:
        data = RASTERS[kind]()
        if kind.startswith("jpeg"):
            return data, data.index(b"\xff\xda") + 20, len(data) - 2
        if kind.startswith("tiff"):
            from edgedx.dicom.decoding.tiff_tags import read_page

            segments = read_page(data, 1 << 29).segments
            return data, min(at for at, _ in segments), max(at + length for at, length in segments)
        return data, data.index(b"IDAT") + 4, len(data) - 16
    syntax, frame = coded(kind)
    data = dicom(syntax, frame, folder)
    begin = data.index(frame[:64])
    start_of_data = {"htj2k": b"\xff\x93", "jpeg-2000": b"\xff\x93"}.get(kind, b"\xff\xda")
    return data, begin + frame.index(start_of_data) + 20, begin + len(frame) - 2


KINDS = [*RASTERS, "lossless", "lossless-6", "12-bit", "jpeg-ls", "jpeg-2000", "htj2k"]
# A flip that changes a magnitude and no code is another image, and a sound file: no decoder can know.
FLIPS_SEEN = {"png": 1.0, "tiff-deflate": 1.0, "jpeg-ls": 0.85}


@pytest.mark.parametrize("kind", KINDS)
def test_a_hole_in_the_coded_pixels_is_refused(kind: str, tmp_path: Path) -> None:
    data, begin, end = damage_to(kind, tmp_path)
    assert outcomes(data, hole, begin, end, 40)["wrong"] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_rest_before_an_end_that_is_there_is_refused(kind: str, tmp_path: Path) -> None:
    data, begin, end = damage_to(kind, tmp_path)
    assert outcomes(data, lost_end, begin, end, 25)["wrong"] == 0


@pytest.mark.parametrize(("kind", "share"), FLIPS_SEEN.items())
def test_where_a_format_has_checksums_one_flipped_bit_is_seen(kind: str, share: float, tmp_path: Path) -> None:
    data, begin, end = damage_to(kind, tmp_path)
    counts = outcomes(data, flip, begin, end, 60)
    assert counts["wrong"] <= (1 - share) * 60, counts


@pytest.mark.parametrize("period", [4, 8, 16, 32])
def test_a_checkerboard_without_noise_is_no_hole(period: int, tmp_path: Path) -> None:
    """Its code has up to 509 zeros in a row: damage is what is longer."""
    y, x = np.mgrid[:1024, :1024]
    for depth in (1000, 2048, 4095):
        pixels = (((x // period + y // period) % 2) * depth).astype(np.uint16)
        write_dicom(tmp_path / "c.dcm", pixels, bits_stored=12)
        for syntax, frame in (
            (
                uid.JPEG2000Lossless,
                imagecodecs.jpeg2k_encode(
                    pixels, level=0, codecformat="j2k", reversible=True, bitspersample=12, resolutions=6
                ),
            ),
            (uid.HTJ2KLossless, imagecodecs.htj2k_encode(pixels)),
        ):
            ds = pydicom.dcmread(tmp_path / "c.dcm")
            ds.file_meta.TransferSyntaxUID = syntax
            ds.PixelData = encapsulate([frame])
            ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
            found = pixels_of(saved(ds))
            assert found is not None
            np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "tiff-packbits"])
def test_a_copy_whose_size_was_set_first_is_truncated(kind: str, tmp_path: Path) -> None:
    """paperless-ngx#9277, muwire#97: the file has its size, and zeros where the copier has not been yet."""
    data, begin, end = damage_to(kind, tmp_path)
    for part in (0.3, 0.6, 0.9):
        at = min(begin + int((end - begin) * part), len(data) - 600)
        with pytest.raises(ImageError) as caught:
            open_image(data[:at] + bytes(len(data) - at))
        assert caught.value.code == "TRUNCATED"
    with pytest.raises(ImageError) as caught:
        open_image(bytes(len(data)))
    assert caught.value.code == "TRUNCATED"
