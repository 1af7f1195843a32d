"""Uncompressed and run-length encoded pixels to the words of one frame (PS3.5 8.1, 8.2, annexes A and G)."""

from __future__ import annotations

import importlib
import math
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx.core.codes import Code
from edgedx.dicom.decoding.refusals import refuse

from .layout import Layout


def native_words(data: bytes, start: int, length: int, layout: Layout, *, big_endian: bool, vr: str) -> NDArray[Any]:
    """The words of one frame.

    Parameters
    ----------
    data : bytes
        The whole file.
    start, length : int
        Of the value of Pixel Data.
    big_endian : bool
    vr : str
        Of Pixel Data: bytes of OW lie in words, which big-endian files turn round.

    Returns
    -------
    ndarray of shape (H, W) or (H, W, C), unsigned, of the allocated bits (1 bit as uint8)
        Of YBR_FULL_422 the chroma of two pixels once each.

    Raises
    ------
    ImageError
        ``TRUNCATED``; ``HEADER_MISMATCH``: more than the one byte that makes the length even (PS3.5 8.1.1): the header
        describes another image.
    """
    # Sub-sampled 422 has two samples per pixel on average (PS3.3 C.7.6.3.1.2).
    subsampled = layout.photometric == "YBR_FULL_422"
    count = layout.rows * layout.columns * (2 if subsampled else layout.samples)
    expected = math.ceil(layout.frames * count * layout.allocated / 8)
    there = min(length, len(data) - start)
    if there < expected:
        raise refuse(Code.TRUNCATED, f"{there} of {expected} bytes of pixels are there")
    if length > expected + expected % 2:
        raise refuse(Code.HEADER_MISMATCH, f"{length} bytes of pixels where the header describes {expected}")
    if layout.allocated == 1:
        return _bits(data, start, expected, count, layout)
    size = layout.allocated // 8
    at = start + layout.frame * count * size
    if big_endian and size == 1 and vr == "OW":
        swapped = np.frombuffer(data[start : start + length] + bytes(length % 2), ">u2").astype("<u2").view(np.uint8)
        words = swapped[at - start : at - start + count]
    else:
        words = np.frombuffer(data, f"{'>' if big_endian else '<'}u{size}", count, at)
    words = words.astype(words.dtype.newbyteorder("="), copy=False)
    if subsampled:
        return _spread(words, layout)
    if layout.samples > 1 and layout.planar:
        return np.ascontiguousarray(np.moveaxis(words.reshape(layout.samples, layout.rows, layout.columns), 0, 2))
    return words.reshape(layout.shape)


def run_length_words(frame: bytes, layout: Layout) -> NDArray[Any]:
    """One RLE frame: PackBits segments, one for each byte of each sample, the most significant first (PS3.5 annex G).

    Raises
    ------
    ImageError
        ``DECODE_FAILED``: a segment of other than the image's length.
    """
    size, count = max(1, layout.allocated // 8), layout.rows * layout.columns
    try:
        number, *offsets = struct.unpack("<16I", frame[:64])
    except struct.error:
        raise _broken("no header") from None
    offsets = offsets[:number]
    if layout.allocated == 1 or number != size * layout.samples or any(at < 64 or at > len(frame) for at in offsets):
        raise _broken("other segments than the header describes")
    unpack = importlib.import_module("imagecodecs._imcd").packbits_decode
    words = np.empty((layout.samples, count, size), np.uint8)
    for index, (begin, end) in enumerate(zip(offsets, [*offsets[1:], len(frame)], strict=True)):
        try:
            plane = unpack(frame[begin:end]) if begin < end else b""
        except MemoryError:
            raise
        except Exception as error:
            raise _broken(type(error).__name__) from None
        if not count <= len(plane) <= count + 1:  # a byte to make the segment even is a run of one
            raise _broken("a segment of another length than the image")
        sample, byte = divmod(index, size)
        words[sample, :, size - 1 - byte] = np.frombuffer(plane, np.uint8, count)
    whole = words.reshape(layout.samples, -1).view(f"<u{size}")
    return np.ascontiguousarray(whole.T).reshape(layout.shape)


def _bits(data: bytes, start: int, expected: int, count: int, layout: Layout) -> NDArray[Any]:
    first = layout.frame * count
    packed = np.frombuffer(data, np.uint8, expected, start)[first // 8 : -(-(first + count) // 8)]
    return np.unpackbits(packed, bitorder="little")[first % 8 : first % 8 + count].reshape(layout.shape)


def _spread(words: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """Y Y Cb Cr to three samples a pixel."""
    if layout.columns % 2:
        raise refuse(Code.PIXEL_FORMAT, "YBR_FULL_422 of an odd width")
    pairs = words.reshape(layout.rows, layout.columns // 2, 4)
    chroma = np.repeat(pairs[:, :, 2:], 2, axis=1)
    return np.dstack([pairs[:, :, :2].reshape(layout.rows, layout.columns), chroma])


def _broken(why: str) -> Exception:
    return refuse(Code.DECODE_FAILED, f"the run-length encoded pixels cannot be decoded ({why})")
