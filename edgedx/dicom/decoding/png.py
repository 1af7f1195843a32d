"""PNG: every chunk's checksum, before OpenCV decodes; it looks at some of them only."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from edgedx.core.codes import Code

from .refusals import refuse

_SIGNATURE = 8
_GREY_ALPHA, _PALETTE = 4, 3
_CHANNELS = {0: 1, 2: 3, _PALETTE: 3, _GREY_ALPHA: 2, 6: 4}


@dataclass(frozen=True)
class PngHeader:
    """IHDR (PNG 11.2.1) and what else matters here.

    Attributes
    ----------
    rows, columns, bits, channels : int
    grey : bool
        Grey, with alpha or without.
    exif : bytes
        Of the eXIf chunk.
    """

    rows: int
    columns: int
    bits: int
    channels: int
    grey: bool
    exif: bytes


def read_png_header(data: bytes) -> PngHeader:
    """Walk through all chunks up to the end chunk; what follows it is not part of the image.

    Raises
    ------
    ImageError
        ``TRUNCATED``, ``DECODE_FAILED`` (a checksum is wrong), ``BROKEN_HEADER``, ``MULTI_FRAME`` (animated).
    """
    position, header, exif, frames = _SIGNATURE, b"", b"", 1
    while True:
        if position + 12 > len(data):
            raise _truncated()
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise _truncated()
        if zlib.crc32(memoryview(data)[position + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise refuse(Code.DECODE_FAILED, "a chunk of the png is damaged", next_step="copy or export it again")
        body = data[position + 8 : end - 4] if name in (b"IHDR", b"eXIf", b"acTL") else b""
        if (name == b"IHDR") != (position == _SIGNATURE) or (name == b"IHDR" and length != 13):
            raise refuse(Code.BROKEN_HEADER, "the png does not begin with its header")
        header = body if name == b"IHDR" else header
        exif = body if name == b"eXIf" else exif
        if name == b"acTL" and length == 8:
            frames = struct.unpack_from(">I", body)[0]
        position = end
        if name == b"IEND":
            break
    columns, rows, bits, colour = struct.unpack_from(">IIBB", header)
    if colour not in _CHANNELS:
        raise refuse(Code.BROKEN_HEADER, "the png has a colour type that does not exist")
    if frames > 1:
        raise refuse(Code.MULTI_FRAME, f"{frames} pages", next_step="export the page to be read as a single image")
    return PngHeader(rows, columns, bits, _CHANNELS[colour], colour in (0, _GREY_ALPHA), exif)


def _truncated() -> Exception:
    return refuse(Code.TRUNCATED, "the png ends without its end chunk", next_step="copy the file again")
