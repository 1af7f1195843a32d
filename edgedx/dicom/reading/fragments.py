"""Encapsulated pixel data (PS3.5 A.4): its items, and which of them are one frame.

pydicom ends without a word where such data are cut, and believes every offset table. Here a cut is an error, and a
table is used where it is needed and fits the items.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from edgedx.core.codes import Code
from edgedx.dicom.decoding.refusals import refuse

_ITEM, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"  # (FFFE,E000) and (FFFE,E0DD), little endian
_BEGINNINGS = (b"\xff\xd8", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")  # SOI; SOC; the signature box of JP2


@dataclass(frozen=True)
class Fragments:
    """Items of encapsulated pixel data.

    Attributes
    ----------
    offsets : tuple of int
        Basic Offset Table; empty where there is none. They count from the first item behind the table.
    items : tuple of (int, int, int)
        Of every fragment: offset of its item, counted as in the table; start and end of its value in the file.
    """

    offsets: tuple[int, ...]
    items: tuple[tuple[int, int, int], ...]


def read_fragments(data: bytes, start: int, length: int | None) -> Fragments:
    """Walk through the items.

    Parameters
    ----------
    data : bytes
        The whole file.
    start : int
        Offset of the element's value.
    length : int, optional
        Of the value; None where it is undefined and a delimiter ends it.

    Raises
    ------
    ImageError
        ``TRUNCATED``: an item or the delimiter is not there; ``BROKEN_HEADER``: something else stands in its stead.
    """
    limit = len(data) if length is None else min(len(data), start + length)
    values: list[tuple[int, int]] = []
    position = start
    while length is None or position < limit:
        header = data[position : position + 8]
        tag = header[:4]
        if tag not in (_ITEM, _SEQUENCE_END) and values and data[position + 1 : position + 5] in (_ITEM, _SEQUENCE_END):
            position += 1  # an odd length whose pad byte was not counted
            continue
        if tag == _SEQUENCE_END:
            break
        if len(header) < 8 or not header.strip(b"\0") and position + 8 >= limit:
            raise _truncated()
        if tag != _ITEM:
            raise refuse(Code.BROKEN_HEADER, "the encapsulated pixels are not a sequence of items")
        (size,) = struct.unpack("<I", header[4:])
        begin, position = position + 8, position + 8 + size
        if position > limit:
            raise _truncated()
        values.append((begin, position))
    if len(values) < 2:
        raise _truncated()
    table = data[values[0][0] : values[0][1]]
    offsets = struct.unpack(f"<{len(table) // 4}I", table[: len(table) // 4 * 4])
    first = values[1][0] - 8
    return Fragments(offsets, tuple((begin - 8 - first, begin, end) for begin, end in values[1:]))


def frame_of(data: bytes, fragments: Fragments, frames: int, index: int, extended: tuple[int, ...]) -> bytes:
    """The compressed bytes of one frame.

    One frame has all fragments, as many fragments as frames are one each, whatever a table says. Else the extended
    table decides, or the basic one, or how fragments begin; each only where it fits.

    Parameters
    ----------
    extended : tuple of int
        Extended Offset Table (7FE0,0001), PS3.3 C.7.6.3.1.8; empty where there is none.

    Raises
    ------
    ImageError
        ``TRUNCATED``: fewer fragments than frames; ``BROKEN_HEADER``: nothing tells which fragments are a frame.
    """
    items = fragments.items
    if frames == 1:
        return b"".join(data[begin:end] for _, begin, end in items)
    if len(items) < frames:
        raise _truncated()
    if len(items) == frames:
        return data[items[index][1] : items[index][2]]
    for starts in (extended, fragments.offsets, _starts(data, fragments)):
        known = {at for at, _, _ in items}
        if len(starts) == frames and starts[0] == 0 and list(starts) == sorted(set(starts)) and known >= set(starts):
            limits = [*starts[1:], float("inf")]
            return b"".join(data[b:e] for at, b, e in items if starts[index] <= at < limits[index])
    raise refuse(Code.BROKEN_HEADER, "nothing tells which of the compressed fragments are one frame")


def _starts(data: bytes, fragments: Fragments) -> tuple[int, ...]:
    return tuple(at for at, begin, _ in fragments.items if data.startswith(_BEGINNINGS, begin))


def _truncated() -> Exception:
    return refuse(Code.TRUNCATED, "the encapsulated pixels are incomplete", next_step="copy the file again")
