"""Seeded mutations of image files, for `scan_fuzz.py`: bytes flipped, cut, lengths and VRs broken, tags removed, lies
about size and transfer syntax. It works on bytes alone, so that it can say what no DICOM library would write.
"""

from __future__ import annotations

import os
import random
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pydicom.data

_LARGEST = 1 << 20  # bytes of a seed: larger ones would only slow the hunt down
# Group and element, then a VR of PS3.5 6.2: explicit VR, little endian.
_ELEMENT = re.compile(
    rb"[\x00-\xff]\x00[\x00-\xff]{2}"
    rb"(?:AE|AS|AT|CS|DA|DS|DT|FD|FL|IS|LO|LT|OB|OD|OF|OL|OV|OW|PN|SH|SL|SQ|SS|ST|SV|TM|UC|UI|UL|UN|UR|US|UT|UV)"
)
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_VRS = [b"OB", b"OW", b"SQ", b"UN", b"US", b"UL", b"DS", b"IS", b"PN", b"UI", b"FD", b"AT", b"??", b"\0\0"]
_LENGTHS = [0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF]
# Rows, Columns, bits, samples, planar configuration, sign: all US, all in the group of the image (PS3.3 C.7.6.3).
_SIZES = [0x0010, 0x0011, 0x0100, 0x0101, 0x0102, 0x0002, 0x0006, 0x0103]
_PIXELS = struct.pack("<HH", 0x7FE0, 0x0010)
_SYNTAXES = [
    f"1.2.840.10008.1.2{end}".encode()
    for end in ("", ".1", ".1.99", ".2", ".5", *(f".4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91, 201, 203)))
]


def seeds(faults: Path | None = None) -> list[bytes]:
    """What is mutated: the files that pydicom's package holds, known hostile ones, and one of each raster format.

    Parameters
    ----------
    faults : Path, optional
        Folder with ``dicom/``; ``EDGEDX_FAULTS`` where it is None.
    """
    folders = [Path(pydicom.data.__file__).parent / "test_files"]
    faults = faults or (Path(os.environ["EDGEDX_FAULTS"]) if os.environ.get("EDGEDX_FAULTS") else None)
    if faults is not None:
        folders.append(faults / "dicom")
    files = [path for folder in folders for path in sorted(folder.glob("*.dcm"))]
    found = [path.read_bytes() for path in files if path.stat().st_size <= _LARGEST]
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64), dtype=np.uint8)
    return found + [cv2.imencode(end, pixels)[1].tobytes() for end in (".png", ".jpg", ".tiff")]


def mutants(sources: list[bytes], seed: int) -> Iterator[bytes]:
    """Endless; the same seed gives the same files."""
    dice = random.Random(seed)
    # Decoders are where the danger is, and many of pydicom's files hold no pixels.
    weights = [4 if _PIXELS in data or data[128:132] != b"DICM" else 1 for data in sources]
    while True:
        data = bytearray(dice.choices(sources, weights)[0])
        for _ in range(dice.randint(1, 3)):
            dice.choice(_KINDS)(data, dice)
        if len(data) > 64 and dice.random() < 0.02:
            data += dice.choice(sources)
        yield bytes(data)


def _flip(data: bytearray, dice: random.Random) -> None:
    # Half of the time in the header, which is small and decides most.
    end = min(len(data), 2048) if dice.random() < 0.5 else len(data)
    for _ in range(dice.choice((1, 2, 4, 16, 64)) if end else 0):
        data[dice.randrange(end)] = dice.randrange(256)


def _cut(data: bytearray, dice: random.Random) -> None:
    del data[dice.randrange(len(data) + 1) :]


def _drop(data: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(data) + 1)
    del data[start : start + dice.choice((1, 2, 3, 8, 64, 1024))]


def _element(data: bytearray, dice: random.Random) -> tuple[int, bytes] | None:
    places = [match.start() for match in _ELEMENT.finditer(data, 132, 132 + 16384)]
    if not places:
        return None
    start = dice.choice(places)
    return start, bytes(data[start + 4 : start + 6])


def _length(data: bytearray, dice: random.Random) -> None:
    if (place := _element(data, dice)) is None:
        return
    start, vr = place
    value = dice.choice(_LENGTHS) if dice.random() < 0.8 else dice.randrange(1 << 32)
    if vr in _LONG:
        data[start + 8 : start + 12] = struct.pack("<I", value)
    else:
        data[start + 6 : start + 8] = struct.pack("<H", value & 0xFFFF)


def _vr(data: bytearray, dice: random.Random) -> None:
    if (place := _element(data, dice)) is not None:
        data[place[0] + 4 : place[0] + 6] = dice.choice(_VRS)


def _remove(data: bytearray, dice: random.Random) -> None:
    if (place := _element(data, dice)) is None:
        return
    start, vr = place
    form, at = ("<I", 8) if vr in _LONG else ("<H", 6)
    head = at + struct.calcsize(form)
    raw = bytes(data[start + at : start + head])
    if len(raw) == head - at:
        length = struct.unpack(form, raw)[0]
        del data[start : start + head + (0 if length == 0xFFFFFFFF else length)]


def _size(data: bytearray, dice: random.Random) -> None:
    start = data.find(struct.pack("<HH2sH", 0x0028, dice.choice(_SIZES), b"US", 2))
    if start >= 0:
        value = dice.choice((0, 1, 2, 3, 7, 8, 12, 16, 32, 64, 255, 256, 1024, 32768, 60000, 65535))
        data[start + 8 : start + 10] = struct.pack("<H", value)


def _syntax(data: bytearray, dice: random.Random) -> None:
    start = data.find(struct.pack("<HH2s", 0x0002, 0x0010, b"UI"), 132)
    if start < 0 or len(data) < start + 8:
        return
    (length,) = struct.unpack_from("<H", data, start + 6)
    name = dice.choice(_SYNTAXES)
    name += b"\0" * (len(name) % 2)
    data[start + 6 : start + 8 + length] = struct.pack("<H", len(name)) + name
    if data[132:138] == struct.pack("<HH2s", 0x0002, 0x0000, b"UL"):  # else the lie is found out too early
        (group,) = struct.unpack_from("<I", data, 140)
        struct.pack_into("<I", data, 140, (group + len(name) - length) & 0xFFFFFFFF)


_KINDS: list[Callable[[bytearray, random.Random], None]] = [
    _flip,
    _flip,
    _cut,
    _drop,
    _length,
    _vr,
    _remove,
    _size,
    _syntax,
]
