"""TIFF segments to pixels, strictly: a strip or tile that does not give exactly its pixels fails the file."""

from __future__ import annotations

import importlib
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx.core.codes import Code

from .codecs import decode_jpeg
from .jpeg_markers import read_jpeg_header, with_colour_transform
from .refusals import refuse
from .tiff_tags import DEFLATE, JPEG, LZW, NONE, PALETTE, YCBCR, TiffPage


def decode_page(data: bytes, page: TiffPage) -> tuple[NDArray[Any], int]:
    """All segments of a page.

    Returns
    -------
    pixels : ndarray of shape (H, W) or (H, W, 3), uint8 or uint16
        As stored: not inverted, not turned upright. Palettes are applied; alpha is left out; 1, 2 and 4 bits are
        spread over 8.
    bits : int
        Depth of the values, 8 to 16.

    Raises
    ------
    ImageError
        ``DECODE_FAILED``; ``PIXEL_FORMAT`` where alpha changed the colours.
    """
    height, width = page.tile
    across = -(-page.columns // width)
    each = len(page.segments) // (page.samples if page.planar else 1)
    pixels = np.empty((page.rows, page.columns, page.samples), np.uint16 if page.bits > 8 else np.uint8)
    for index, (offset, length) in enumerate(page.segments):
        plane, number = divmod(index, each)
        top, left = number // across * height, number % across * width
        rows = height if page.tiled else min(height, page.rows - top)
        block = _segment(data[offset : offset + length], page, rows, width)
        area = pixels[top : top + rows, left : left + width, plane : plane + 1 if page.planar else page.samples]
        area[:] = block[: area.shape[0], : area.shape[1]]
    return _light(pixels, page)


def _segment(coded: bytes, page: TiffPage, rows: int, width: int) -> NDArray[Any]:
    samples = 1 if page.planar else page.samples
    if page.compression == JPEG:
        return _jpeg(coded, page, rows, width)
    row_bytes = -(-width * samples * page.bits // 8)
    raw = _expand(coded, page, rows * row_bytes, page.tile[0] * row_bytes)
    words = _words(raw, page, (rows, row_bytes, width * samples))
    block = words.reshape(rows, width, samples)
    # Differences wrap round in the sample's own width (TIFF 6.0 section 14).
    return np.cumsum(block, axis=1, dtype=block.dtype) if page.predictor == 2 else block


def _words(raw: bytes, page: TiffPage, shape: tuple[int, int, int]) -> NDArray[Any]:
    if page.bits == 16:
        return np.frombuffer(raw, f"{page.order}u2").astype(np.uint16)
    if page.bits == 8:
        return np.frombuffer(raw, np.uint8)
    return _unpacked(raw, *shape, page.bits)


def _expand(coded: bytes, page: TiffPage, expected: int, full: int) -> bytes:
    """Exactly `expected` bytes; the last strip may be written as long as the others, `full`."""
    try:
        if page.compression == NONE:
            raw = coded[:expected]
        elif page.compression == DEFLATE:
            inflater = zlib.decompressobj()
            raw = inflater.decompress(coded, full + 1)
            if not inflater.eof:  # its checksum was not reached
                raise _damaged("Deflate")
        elif page.compression == LZW:
            if coded[:2] == b"\x00\x01":
                raise refuse(Code.PIXEL_FORMAT, "a tiff with LZW of before 1988")
            if coded[0] != 0x80 or coded[1:2] >= b"\x80":  # must begin with ClearCode (TIFF 6.0 section 13)
                raise _damaged("LZW")
            raw = _imcd().lzw_decode(coded)
        else:
            raw = _imcd().packbits_decode(coded)
    except (zlib.error, RuntimeError, ValueError, IndexError) as error:
        raise _damaged(type(error).__name__) from None
    if len(raw) not in (expected, full):
        raise _damaged(f"{len(raw)} of {expected} bytes")
    return bytes(raw[:expected])


def _imcd() -> Any:
    return importlib.import_module("imagecodecs._imcd")


def _damaged(why: str) -> Exception:
    return refuse(
        Code.DECODE_FAILED, f"a strip or tile of the tiff is damaged ({why})", next_step="copy or export it again"
    )


def _unpacked(raw: bytes, rows: int, row_bytes: int, values: int, bits: int) -> NDArray[Any]:
    """Samples of `bits` bits, the highest first; rows begin at a byte."""
    packed = np.frombuffer(raw, np.uint8).reshape(rows, row_bytes)
    single = np.unpackbits(packed, axis=1)[:, : values * bits].reshape(rows, values, bits)
    weights = (1 << np.arange(bits - 1, -1, -1)).astype(np.uint16)
    return np.asarray((single * weights).sum(axis=2, dtype=np.uint16))


def _jpeg(coded: bytes, page: TiffPage, rows: int, width: int) -> NDArray[Any]:
    """A segment with the tables that all segments share (TIFF Technical Note 2)."""
    if page.jpeg_tables:
        coded = page.jpeg_tables.rstrip(b"\0").removesuffix(b"\xff\xd9") + coded[2:]
    header = read_jpeg_header(coded)
    if (header.rows, header.columns, header.samples) != (rows, width, page.samples):
        raise refuse(Code.HEADER_MISMATCH, "the compressed pixels have another size than the tiff's tags say")
    if header.samples == 3:
        coded = with_colour_transform(coded, header, page.photometric == YCBCR)
        header = read_jpeg_header(coded)
    pixels, _ = decode_jpeg(coded, header)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _light(pixels: NDArray[Any], page: TiffPage) -> tuple[NDArray[Any], int]:
    if page.premultiplied and bool((pixels[:, :, -1] < (1 << page.bits) - 1).any()):
        raise refuse(Code.PIXEL_FORMAT, "a tiff whose colours are multiplied with its alpha")
    pixels = pixels[:, :, 0] if page.colours == 1 else np.ascontiguousarray(pixels[:, :, :3])
    if page.photometric == PALETTE:
        table = np.array(page.palette, np.uint16).reshape(3, -1)
        if table.shape[1] != 1 << page.bits:
            raise refuse(Code.BROKEN_HEADER, "a tiff whose colour map does not fit its depth")
        shift = 8 if table.max() > 255 else 0  # some writers leave the values in 8 bits
        return np.ascontiguousarray(np.moveaxis(table[:, pixels] >> shift, 0, 2)).astype(np.uint8), 8
    if page.bits < 8:
        return (pixels * (255 // ((1 << page.bits) - 1))).astype(np.uint8), 8
    return np.ascontiguousarray(pixels), page.bits
