"""Encapsulated frames: cut, spread over fragments, and with offset tables that lie."""

from __future__ import annotations

import struct

import numpy as np
import pydicom
import pytest
from pydicom.encaps import get_frame
from samples import code_of, packaged, saved

from edgedx.core.errors import ImageError
from edgedx.dicom.reading.fragments import frame_of, read_fragments
from edgedx.dicom.reading.read import read_dicom

ITEM, END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
COMPRESSED = ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "SC_rgb_jpeg_dcmtk.dcm"]
NATIVE = ["MR_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm"]


def sequence(*values: bytes, table: bytes = b"", end: bool = True) -> bytes:
    items = b"".join(ITEM + struct.pack("<I", len(value)) + value for value in (table, *values))
    return items + (END + bytes(4) if end else b"")


def with_value(name: str, value: bytes, frames: int | None = None) -> bytes:
    """A packaged file whose pixel data are `value`, items and all."""
    ds = pydicom.dcmread(packaged(name))
    marker = b"PLACEHOLDER " * 4
    ds.PixelData = sequence(marker)[: -len(END) - 4]
    if frames:
        ds.NumberOfFrames = frames
    ds["PixelData"].is_undefined_length = True
    data = saved(ds)
    begin = data.index(sequence(marker)[: -len(END) - 4])
    return data[:begin] + value


def frame_in(name: str) -> bytes:
    return get_frame(pydicom.dcmread(packaged(name)).PixelData, 0, number_of_frames=1)


@pytest.mark.parametrize("name", [*COMPRESSED, *NATIVE])
def test_a_file_that_is_cut_anywhere_behind_its_class_is_truncated(name: str) -> None:
    """pydicom#1799, nextgenhealthcare/connect#4090: pydicom ends without an exception, and the file seemed sound."""
    data = packaged(name).read_bytes()
    header = pydicom.dcmread(packaged(name), stop_before_pixels=True)
    begin = data.index(header.Modality.encode()) + 8
    if name in COMPRESSED:
        end = data.rindex(END)
    else:  # what follows the pixels, such as padding, may be missing
        tag = b"\x7f\xe0\x00\x10" if "bigendian" in name else b"\xe0\x7f\x10\x00"
        end = data.index(tag) + 8 + header.Rows * header.Columns * 2
    assert {code_of(data[:size]) for size in range(begin, end, max(1, (end - begin) // 300))} == {"TRUNCATED"}


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_missing_delimiter_is_a_cut(name: str) -> None:
    frame = frame_in(name)
    assert code_of(with_value(name, sequence(frame, end=False))) == "TRUNCATED"
    assert code_of(with_value(name, sequence(frame)[:-6])) in {"TRUNCATED"}
    assert read_dicom(with_value(name, sequence(frame))).image.pixels.size


@pytest.mark.parametrize("table", [b"", bytes(4), b"\x09\0\0\0", b"\xff" * 8, struct.pack("<3I", 0, 100, 50)])
@pytest.mark.parametrize("name", COMPRESSED)
def test_one_frame_has_all_fragments_whatever_the_table_says(name: str, table: bytes) -> None:
    frame = frame_in(name)
    expected = read_dicom(packaged(name)).image.pixels
    for size in (len(frame), len(frame) // 2 // 2 * 2, 64):
        parts = [frame[at : at + size] for at in range(0, len(frame), size)]
        found = read_dicom(with_value(name, sequence(*parts, table=table))).image.pixels
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["MR_small_jpeg_ls_lossless.dcm"])
def test_odd_lengths_with_and_without_an_uncounted_pad_byte_are_read(name: str) -> None:
    frame = frame_in(name).rstrip(b"\0")
    cut = len(frame) // 2 | 1
    expected = read_dicom(packaged(name)).image.pixels
    for first in (cut, cut + 1):
        parts = (frame[:first], frame[first:])
        np.testing.assert_array_equal(read_dicom(with_value(name, sequence(*parts))).image.pixels, expected)
    padded = sequence()[:8] + b"".join(
        ITEM + struct.pack("<I", len(part)) + part + bytes(len(part) % 2) for part in (frame[:cut], frame[cut:])
    )
    np.testing.assert_array_equal(read_dicom(with_value(name, padded + END + bytes(4))).image.pixels, expected)


@pytest.mark.parametrize("table", ["right", "none", "nonsense", "one entry"])
def test_frames_are_counted_by_items_by_a_table_that_fits_or_by_how_they_begin(table: str) -> None:
    dark, light = b"\xff\xd8 dark frame ", b"\xff\xd8 light frame "
    offsets = {
        "right": struct.pack("<2I", 0, 3 * 8 + len(dark)),
        "none": b"",
        "nonsense": b"\xfe" * 8,
        "one entry": bytes(4),
    }
    for parts in ([dark, light], [dark[:5], dark[5:9], dark[9:], light]):
        data = sequence(*parts, table=offsets[table])
        fragments = read_fragments(data, 0, None)
        assert frame_of(data, fragments, 2, 0, ()) == dark
        assert frame_of(data, fragments, 2, 1, ()) == light
        assert frame_of(data, fragments, 2, 1, (0, 3 * 8 + len(dark))) == light
    with pytest.raises(ImageError) as caught:
        frame_of(data, fragments, 3, 0, ())
    assert caught.value.code == "BROKEN_HEADER"
    with pytest.raises(ImageError) as caught:
        frame_of(data, fragments, 9, 0, ())
    assert caught.value.code == "TRUNCATED"


def test_items_that_are_none_are_a_broken_header() -> None:
    frame = frame_in("MR_small_RLE.dcm")
    value = sequence(frame)
    assert code_of(with_value("MR_small_RLE.dcm", value.replace(ITEM, b"\xfe\xff\x01\xe0"))) == "BROKEN_HEADER"


@pytest.mark.parametrize(
    ("name", "size"), [("MR_small.dcm", 8192), ("MR_small_bigendian.dcm", 8192), ("SC_rgb_small_odd.dcm", 27)]
)
def test_native_pixels_may_be_longer_by_the_pad_byte_alone(name: str, size: int) -> None:
    ds = pydicom.dcmread(packaged(name))
    whole = bytes(ds.PixelData)[:size]
    ds.PixelData = whole + bytes(size % 2)
    expected = read_dicom(saved(ds)).image.pixels
    for extra in (2, 64, size):
        ds.PixelData = whole + bytes(size % 2) + bytes(extra)
        assert code_of(saved(ds)) == "HEADER_MISMATCH"
    ds.PixelData = whole[:-2]
    assert code_of(saved(ds)) == "TRUNCATED"
    assert expected.size
