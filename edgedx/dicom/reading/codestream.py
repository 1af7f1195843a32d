"""What a compressed frame says about itself, read from its first bytes without a decoder.

A decoder allocates what the *codestream* says, pydicom what the *header* says. Where the two differ, native
decoders write or read past a buffer: comparing first removes that whole class of crashes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from edgedx.core.codes import Code

from .refusals import refuse

_SOC_SIZ = b"\xff\x4f\xff\x51"
_END = b"\xff\xd9"  # EOI of JPEG and JPEG-LS, EOC of JPEG 2000
_NOT_SOF = {0xC4, 0xC8, 0xCC}
_SOF_JPEG_LS = 0xF7
_MAX_TILES = 65535  # ISO/IEC 15444-1 A.4.2: the tile index has 16 bits


@dataclass(frozen=True)
class Codestream:
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


def check_end(frame: bytes) -> None:
    """Refuse a frame without its end marker: tolerant decoders would return half an image (``TRUNCATED``).

    Encoders pad to even length with 00 (PS3.5 A.4) or FF; both may follow the marker.
    """
    if not frame.rstrip(b"\x00\xff").endswith(_END):
        raise refuse(
            Code.TRUNCATED, "the compressed pixels end without their end marker", next_step="copy the file again"
        )


def read_codestream(frame: bytes) -> Codestream:
    """Parse the frame header of JPEG, JPEG-LS (ISO/IEC 10918-1 B.2.2, 14495-1 C.2.2) or JPEG 2000 (15444-1 A.5.1).

    Raises
    ------
    ImageError
        ``DECODE_FAILED`` when the frame is none of these; ``PIXEL_FORMAT`` for subsampled JPEG 2000 components.
    """
    try:
        start = frame.find(_SOC_SIZ, 0, 4096)  # some writers keep the JP2 boxes around the codestream
        if start >= 0:
            return _jpeg_2000(frame, start + 4)
        return _jpeg(frame)
    except (struct.error, IndexError):
        raise refuse(Code.DECODE_FAILED, "the compressed pixels have no readable frame header") from None


def _jpeg(frame: bytes) -> Codestream:
    position = 2
    if frame[:2] != b"\xff\xd8":
        raise IndexError
    while frame[position] == 0xFF:
        marker = frame[position + 1]
        if marker == 0xFF:  # fill byte, B.1.1.2
            position += 1
            continue
        (length,) = struct.unpack_from(">H", frame, position + 2)
        if marker == _SOF_JPEG_LS or (0xC0 <= marker <= 0xCF and marker not in _NOT_SOF):
            precision, rows, columns, samples = struct.unpack_from(">BHHB", frame, position + 4)
            return Codestream(rows, columns, samples, precision)
        position += 2 + length
    raise IndexError


def _jpeg_2000(frame: bytes, siz: int) -> Codestream:
    x1, y1, x0, y0, tile_w, tile_h, tile_x, tile_y, samples = struct.unpack_from(">8IH", frame, siz + 4)
    components = [struct.unpack_from(">3B", frame, siz + 38 + 3 * index) for index in range(samples)]
    if not components or x1 <= x0 or y1 <= y0 or tile_w == 0 or tile_h == 0:
        raise IndexError
    if any(steps != [1, 1] for _, *steps in components):
        raise refuse(Code.PIXEL_FORMAT, "JPEG 2000 with subsampled components")
    if -(-(x1 - tile_x) // tile_w) * -(-(y1 - tile_y) // tile_h) > _MAX_TILES:
        raise IndexError
    return Codestream(y1 - y0, x1 - x0, samples, max((depth & 0x7F) + 1 for depth, *_ in components))
