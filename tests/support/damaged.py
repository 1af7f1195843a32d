"""Damage as transport and disks do it, inside coded pixels only: a hole of zeros, a flipped bit, a lost end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from edgedx.core.errors import EdgedxError
from edgedx.dicom.reading.open import open_image

HOLE = 512  # bytes: the least that a disk loses

Damage = Callable[[bytes, np.random.Generator, int, int], bytes]


def hole(data: bytes, rng: np.random.Generator, begin: int, end: int) -> bytes:
    """`HOLE` bytes of zeros somewhere from `begin` to `end`."""
    at = int(rng.integers(begin, end - HOLE))
    return data[:at] + bytes(HOLE) + data[at + HOLE :]


def foreign(data: bytes, rng: np.random.Generator, begin: int, end: int) -> bytes:
    """`HOLE` bytes of another file."""
    at = int(rng.integers(begin, end - HOLE))
    return data[:at] + rng.bytes(HOLE) + data[at + HOLE :]


def flip(data: bytes, rng: np.random.Generator, begin: int, end: int) -> bytes:
    """One bit the other way."""
    at = int(rng.integers(begin, end))
    return data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :]


def lost_end(data: bytes, rng: np.random.Generator, begin: int, end: int) -> bytes:
    """Everything from somewhere to the end is zeros, the last two bytes (an end marker) excepted."""
    at = int(rng.integers(begin, end - HOLE))
    return data[:at] + bytes(end - at) + data[end:]


def outcomes(data: bytes, damage: Damage, begin: int, end: int, tries: int) -> dict[str, int]:
    """How often damaged files are refused, read with the same pixels, and read with others."""
    whole = pixels_of(data)
    assert whole is not None
    counts = {"refused": 0, "same": 0, "wrong": 0}
    for hurt in _hurt(data, damage, begin, end, tries):
        pixels = pixels_of(hurt)
        same = pixels is not None and pixels.shape == whole.shape and np.array_equal(pixels, whole)
        counts["refused" if pixels is None else "same" if same else "wrong"] += 1
    return counts


def pixels_of(data: bytes) -> NDArray[np.generic] | None:
    """Pixels as read, or None where the file is refused."""
    try:
        return open_image(data).image.pixels
    except EdgedxError:
        return None


def _hurt(data: bytes, damage: Damage, begin: int, end: int, tries: int) -> Iterator[bytes]:
    rng = np.random.default_rng(0)
    made = 0
    while made < tries:
        hurt = damage(data, rng, begin, end)
        if hurt != data:
            made += 1
            yield hurt
