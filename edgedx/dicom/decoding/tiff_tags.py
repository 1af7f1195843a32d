"""The directory of a TIFF 6.0 or BigTIFF file: its tags, and whether the image that they describe is one that is read.

A TIFF is admitted by its tags and decoded by `tiff`, both here rather than by libtiff: its RGBA reader, which OpenCV
calls for 8 bits, skips damaged strips and guesses what tags do not say.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from edgedx.core.codes import Code

from .refusals import check_budget, refuse

NONE, LZW, JPEG, DEFLATE, PACKBITS = 1, 5, 7, 8, 32773
_DEFLATES = {8: DEFLATE, 32946: DEFLATE}  # Adobe's number and the older one for the same data
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
_ASSOCIATED_ALPHA = 1
_DEPTHS = {1, 2, 4, 8, 10, 12, 14, 16}
# Type to its format; 13 and 16 to 18 are offsets and the integers of BigTIFF.
_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_MAX_VALUES = 1 << 22


@dataclass(frozen=True)
class TiffPage:
    """One image, admitted.

    Attributes
    ----------
    order : str
        ``<`` or ``>``.
    rows, columns, samples, bits : int
    compression, photometric, predictor, orientation : int
        TIFF 6.0 numbers; Deflate is always 8.
    planar : bool
        Samples in segments of their own.
    tile : (int, int)
        Rows and columns of a segment; strips are as wide as the image.
    segments : tuple of (int, int)
        Offset and length of each, in the order of the file.
    palette : tuple of int
        Colour map; empty without one.
    jpeg_tables : bytes
    premultiplied : bool
        The extra sample is an alpha that the colours were multiplied with.
    """

    order: str
    rows: int
    columns: int
    samples: int
    bits: int
    compression: int
    photometric: int
    predictor: int
    orientation: int
    planar: bool
    tiled: bool
    tile: tuple[int, int]
    segments: tuple[tuple[int, int], ...]
    palette: tuple[int, ...]
    jpeg_tables: bytes
    premultiplied: bool

    @property
    def colours(self) -> int:
        """Samples that are light: 1 or 3; what follows is alpha or something else."""
        return 3 if self.photometric in (RGB, YCBCR) else 1


def read_page(data: bytes, max_bytes: int) -> TiffPage:
    """Read the one directory of a file, and admit it.

    Raises
    ------
    ImageError
        ``MULTI_FRAME``; ``PIXEL_FORMAT``: sound and not read; ``TRUNCATED``: a segment or the directory lies behind the
        end of the file; ``BROKEN_HEADER``: required tags are absent or contradict one another; ``TOO_LARGE``.
    """
    try:
        order, tags, following = _directory(data)
    except (struct.error, IndexError):
        raise refuse(Code.TRUNCATED, "the tiff ends before its directory", next_step="copy the file again") from None
    if following:
        raise refuse(Code.MULTI_FRAME, "several pages", next_step="export the page to be read as a single image")
    try:
        return _admit(data, order, tags, max_bytes)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        raise refuse(Code.BROKEN_HEADER, "the tiff lacks a tag that it needs, or contradicts itself") from None


def _directory(data: bytes) -> tuple[str, dict[int, tuple[int, ...] | bytes], int]:
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    offset = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    count = struct.unpack_from(order + ("Q" if big else "H"), data, offset)[0]
    position = offset + (8 if big else 2)
    entry, inline = (order + "HHQ", 8) if big else (order + "HHI", 4)
    head = struct.calcsize(entry)
    if count * (head + inline) > len(data) - position:
        raise IndexError
    tags: dict[int, tuple[int, ...] | bytes] = {}
    for at in range(position, position + count * (head + inline), head + inline):
        tag, kind, values = struct.unpack_from(entry, data, at)
        if kind not in _TYPES or values > _MAX_VALUES:
            continue  # text, fractions and floats: none of the tags that matter here
        form = f"{order}{values}{_TYPES[kind]}"
        start = at + head
        if struct.calcsize(form) > inline:
            start = struct.unpack_from(order + ("Q" if big else "I"), data, start)[0]
        read = struct.unpack_from(form, data, start)
        tags[tag] = bytes(read) if kind == 7 else read
    (following,) = struct.unpack_from(order + ("Q" if big else "I"), data, position + count * (head + inline))
    return order, tags, following


def _admit(data: bytes, order: str, tags: dict[int, Any], max_bytes: int) -> TiffPage:
    def one(tag: int, default: int | None = None) -> int:
        if tag not in tags and default is not None:
            return default
        return int(tags[tag][0])

    samples = one(277, 1)
    depths = set(tags.get(258, (1,)))
    photometric, compression = one(262), _DEFLATES.get(one(259, 1), one(259, 1))
    rows, columns, bits = one(257), one(256), max(depths)
    check_budget(rows, columns, max(1, samples), max(1, -(-bits // 8)), max_bytes)
    colours = 3 if photometric in (RGB, YCBCR) else 1
    predictor, planar = one(317, 1), one(284, 1)
    _check_kind(depths, tags, photometric, compression, predictor)
    if samples < colours or (photometric == PALETTE and (samples != 1 or bits > 8)) or planar not in (1, 2):
        raise ValueError
    if samples - colours > 1:
        raise _unsupported(f"{samples} samples a pixel")
    tiled = 322 in tags
    tile = (one(323), one(322)) if tiled else (min(rows, one(278, rows)), columns)
    if min(tile) < 1 or tile[0] * tile[1] * samples * 2 > max_bytes:
        raise ValueError
    planar = planar == 2 and samples > 1
    if planar and compression == JPEG:
        raise _unsupported("JPEG by planes")
    across, down = -(-columns // tile[1]), -(-rows // tile[0])
    offsets, lengths = tags[324 if tiled else 273], tags[325 if tiled else 279]
    if not len(offsets) == len(lengths) == across * down * (samples if planar else 1):
        raise ValueError
    segments = tuple(zip(map(int, offsets), map(int, lengths), strict=True))
    if any(offset + length > len(data) for offset, length in segments):
        raise refuse(Code.TRUNCATED, "the tiff ends before its pixels", next_step="copy the file again")
    if any(offset < 8 or length < 1 for offset, length in segments):
        raise ValueError
    return TiffPage(
        order, rows, columns, samples, bits, compression, photometric, predictor, one(274, 1), planar, tiled, tile,
        segments, tuple(tags[320]) if photometric == PALETTE else (), bytes(tags.get(347, b"")),
        samples > colours and one(338, 0) == _ASSOCIATED_ALPHA,
    )  # fmt: skip


def _check_kind(depths: set[int], tags: dict[int, Any], photometric: int, compression: int, predictor: int) -> None:
    bits = max(depths)
    if set(tags.get(339, (1,))) != {1}:
        raise _unsupported("signed, floating-point or complex samples")
    if len(depths) != 1 or bits not in _DEPTHS:
        raise _unsupported(
            f"{', '.join(map(str, sorted(depths)))} bits a sample; 1, 2, 4, 8, 10, 12, 14 and 16 are read"
        )
    if photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR):
        raise _unsupported(f"photometric interpretation {photometric}")
    if compression not in (NONE, LZW, JPEG, DEFLATE, PACKBITS):
        raise _unsupported(f"compression {compression}; none, LZW, Deflate, PackBits and JPEG are read")
    if (photometric == YCBCR) > (compression == JPEG) or (compression == JPEG and bits != 8):
        raise _unsupported("YCbCr without JPEG, or JPEG of other than 8 bits")
    if predictor not in (1, 2) or (predictor == 2 and bits not in (8, 16)):
        raise _unsupported(f"predictor {predictor}")
    if int(tags.get(266, (1,))[0]) != 1:
        raise _unsupported("bits in reverse order")


def _unsupported(what: str) -> Exception:
    return refuse(Code.PIXEL_FORMAT, f"a tiff with {what}")
