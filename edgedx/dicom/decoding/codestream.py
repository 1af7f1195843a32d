"""What a compressed frame says about itself, read from its first bytes without a decoder.

A decoder allocates what the *codestream* says, pydicom what the *header* says. Where the two differ, native
decoders write or read past a buffer: comparing first removes that whole class of crashes.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from edgedx.core.codes import Code

from .refusals import refuse

_SOC_SIZ = b"\xff\x4f\xff\x51"
_END = b"\xff\xd9"  # EOI of JPEG and JPEG-LS, EOC of JPEG 2000
_SOF_JPEG_LS = 0xF7
_COD, _SOT = 0x52, 0x90
_SOT_MARKER, _SOD_MARKER, _EOC_MARKER = b"\xff\x90", b"\xff\x93", b"\xff\xd9"
# Coders stuff a bit behind every FF, so that no coded byte pair is above FF8F (ISO/IEC 15444-1 A.1, B.10.1, C.3.2);
# SOP and EPH, FF91 and FF92, mark packets where an encoder wants them to.
_IMPOSSIBLE = re.compile(rb"\xff[\x90\x93-\xff]")
_MAX_TILES = 65535  # ISO/IEC 15444-1 A.4.2: the tile index has 16 bits
_ZEROS = bytes(64)


@dataclass(frozen=True)
class Size:
    """Size and depth of one compressed frame.

    Attributes
    ----------
    rows, columns, samples : int
    precision : int
        Bits per sample, of the deepest component.
    """

    rows: int
    columns: int
    samples: int
    precision: int


@dataclass(frozen=True)
class Jpeg2000Header:
    """Main header of a JPEG 2000 codestream (ISO/IEC 15444-1 A.5.1, A.6.1; 15444-15 for HTJ2K).

    Attributes
    ----------
    size : Size
    start : int
        Offset of the codestream: some writers keep the boxes of a JP2 file around it.
    high_throughput : bool
    packets : int
        Most packets that it can have; an empty one is a byte of zero.
    """

    size: Size
    start: int
    high_throughput: bool
    packets: int


def check_end(frame: bytes) -> None:
    """Refuse a frame without its end marker: tolerant decoders would return half an image (``TRUNCATED``).

    Encoders pad to even length with 00 (PS3.5 A.4) or FF; both may follow the marker.
    """
    if not frame.rstrip(b"\x00\xff").endswith(_END):
        raise refuse(
            Code.TRUNCATED, "the compressed pixels end without their end marker", next_step="copy the file again"
        )


def longest_zero_run(data: bytes) -> int:
    """Length of the longest run of zero bytes, where it is 64 or more; else 0."""
    longest, at = 0, data.find(_ZEROS)
    while at >= 0:
        block = data[at : at + (1 << 16)]
        end = at
        while block and not block.strip(b"\0"):
            end += len(block)
            block = data[end : end + (1 << 16)]
        end += len(block) - len(block.lstrip(b"\0"))
        longest = max(longest, end - at)
        at = data.find(_ZEROS, end)
    return longest


def read_jpeg_ls_size(frame: bytes) -> Size:
    """Frame header of JPEG-LS (ISO/IEC 14495-1 C.2.2).

    Raises
    ------
    ImageError
        ``DECODE_FAILED``.
    """
    try:
        position = 2
        if frame[:2] != b"\xff\xd8":
            raise IndexError
        while frame[position] == 0xFF:
            marker = frame[position + 1]
            if marker == 0xFF:  # fill byte, ISO/IEC 10918-1 B.1.1.2
                position += 1
                continue
            (length,) = struct.unpack_from(">H", frame, position + 2)
            if marker == _SOF_JPEG_LS:
                precision, rows, columns, samples = struct.unpack_from(">BHHB", frame, position + 4)
                return Size(rows, columns, samples, precision)
            position += 2 + length
        raise IndexError
    except (struct.error, IndexError):
        raise _unreadable() from None


def read_jpeg_2000_header(frame: bytes) -> Jpeg2000Header:
    """Main header of JPEG 2000.

    Raises
    ------
    ImageError
        ``DECODE_FAILED`` when the frame is none; ``PIXEL_FORMAT`` for subsampled components.
    """
    start = frame.find(_SOC_SIZ, 0, 4096)
    if start < 0:
        raise _unreadable()
    try:
        return _jpeg_2000(frame, start)
    except (struct.error, IndexError):
        raise _unreadable() from None


def check_tile_parts(codestream: bytes) -> None:
    """Walk through the tile-parts of a codestream (A.4.2): each ends where the next begins, and holds coded data alone.

    OpenJPEG decodes whatever bytes there are; where others were written over them, this is all that shows it.

    Raises
    ------
    ImageError
        ``TRUNCATED``: a tile-part goes on behind the end; ``DECODE_FAILED``.
    """
    position = codestream.find(_SOT_MARKER)
    try:
        while codestream[position : position + 2] == _SOT_MARKER:
            (length,) = struct.unpack_from(">I", codestream, position + 6)
            end = position + length if length else codestream.rindex(_EOC_MARKER)
            if end > len(codestream) - 2:
                raise refuse(Code.TRUNCATED, "the compressed pixels end early", next_step="copy the file again")
            begin = codestream.index(_SOD_MARKER, position + 12, end) + 2
            if _IMPOSSIBLE.search(codestream, begin, end):
                raise _damaged()
            position = end
    except (struct.error, ValueError):
        raise _damaged() from None
    if codestream[position : position + 2] != _EOC_MARKER:
        raise _damaged()


def _damaged() -> Exception:
    return refuse(Code.DECODE_FAILED, "the compressed pixels are damaged", next_step="copy the file again")


def _unreadable() -> Exception:
    return refuse(Code.DECODE_FAILED, "the compressed pixels have no readable frame header")


def _jpeg_2000(frame: bytes, start: int) -> Jpeg2000Header:
    siz = start + 4
    capabilities = struct.unpack_from(">H", frame, siz + 2)[0]
    x1, y1, x0, y0, tile_w, tile_h, tile_x, tile_y, samples = struct.unpack_from(">8IH", frame, siz + 4)
    components = [struct.unpack_from(">3B", frame, siz + 38 + 3 * index) for index in range(samples)]
    if not components or x1 <= x0 or y1 <= y0 or tile_w == 0 or tile_h == 0:
        raise IndexError
    if any(steps != [1, 1] for _, *steps in components):
        raise refuse(Code.PIXEL_FORMAT, "JPEG 2000 with subsampled components")
    tiles = -(-(x1 - tile_x) // tile_w) * -(-(y1 - tile_y) // tile_h)
    if tiles > _MAX_TILES:
        raise IndexError
    size = Size(y1 - y0, x1 - x0, samples, max((depth & 0x7F) + 1 for depth, *_ in components))
    packets = tiles * samples * _packets(frame, siz, min(tile_w, x1), min(tile_h, y1))
    return Jpeg2000Header(size, start, bool(capabilities & 0x4000), packets)


def _packets(frame: bytes, siz: int, width: int, height: int) -> int:
    """Most packets of one component of one tile: layers times the precincts of all resolutions (B.6, B.9)."""
    position = siz + struct.unpack_from(">H", frame, siz)[0]
    while True:
        marker, length = struct.unpack_from(">HH", frame, position)
        if marker >> 8 != 0xFF or marker & 0xFF == _SOT:
            raise IndexError  # no COD in the main header
        if marker & 0xFF == _COD:
            break
        position += 2 + length
    style, _, layers, _, levels = struct.unpack_from(">BBHBB", frame, position + 4)
    if not style & 1:
        return int(layers * (levels + 1))
    precincts = 0
    for resolution in range(min(levels, 32) + 1):
        exponents = frame[position + 14 + resolution]
        shift = levels - resolution
        across = (width >> shift >> (exponents & 15)) + 2
        down = (height >> shift >> (exponents >> 4)) + 2
        precincts += across * down
    return int(layers * precincts)
