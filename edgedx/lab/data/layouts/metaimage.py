"""MetaImage volumes (.mhd and .raw), as LUNA16 publishes its CT scans: a strict reader, mapped instead of loaded.

SimpleITK reads them too, as one more compiled package. But a 2.5-D patch needs three small planes of a volume of 100 to
300 MB, the values are stored uncompressed, and the header is a dozen lines: a memory map reads the few pages that a
patch touches, in many threads at once, and nothing is installed for it. A test compares this reader with SimpleITK.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx.core.errors import ImageError
from edgedx.core.files import storage_error

_TYPES = {"MET_SHORT": "i2", "MET_USHORT": "u2", "MET_UCHAR": "u1", "MET_FLOAT": "f4"}
_MAX_HEADER = 1 << 16  # bytes
_ALIASES = {"Position": "Offset", "Origin": "Offset", "Rotation": "TransformMatrix", "Orientation": "TransformMatrix"}


@dataclass(frozen=True)
class Volume:
    """A scan in patient coordinates (mm; x to the left, y to the back, z to the head).

    Attributes
    ----------
    path : Path
        Of the values.
    shape : (int, int, int)
        Slices, rows, columns: the order in which values are stored.
    dtype : str
    origin : (float, float, float)
        Position of the first voxel's centre, mm, in the order z, y, x.
    step : (float, float, float)
        From one voxel to the next along z, y and x, mm; negative where the axis is stored backwards.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: str
    origin: tuple[float, float, float]
    step: tuple[float, float, float]

    def values(self) -> NDArray[Any]:
        """Stored values as a read-only map of `shape`; Hounsfield units for CT."""
        try:
            return np.memmap(self.path, dtype=self.dtype, mode="r", shape=self.shape)
        except OSError as error:
            raise storage_error(self.path, error) from error

    def voxel(self, world: tuple[float, float, float]) -> tuple[float, float, float]:
        """Position of a point in voxels, from one in mm; both in the order z, y, x.

        Raises
        ------
        ImageError
            ``OUTSIDE_VOLUME``: further than half a voxel.
        """
        z, y, x = ((place - start) / step for place, start, step in zip(world, self.origin, self.step, strict=True))
        if not all(-0.5 <= place < size - 0.5 for place, size in zip((z, y, x), self.shape, strict=True)):
            raise ImageError("OUTSIDE_VOLUME", f"{self.path.name}: the position lies outside of the scan")
        return z, y, x


def read_header(path: Path) -> Volume:
    """Read a .mhd file and check its .raw file, without reading a value.

    Raises
    ------
    ImageError
        ``BROKEN_VOLUME``: compressed, of another type or dimension, oblique, cut, or values elsewhere than beside it.
    InputOutputError
        A file is missing.
    """
    fields = _fields(path)
    size, spacing, offset = _numbers(path, fields, "DimSize", 3), _spacing(path, fields), _offset(path, fields)
    if fields.get("ObjectType") != "Image" or fields.get("NDims") != "3" or min(size) < 1:
        raise _broken(path, "not an image of three dimensions")
    if fields.get("CompressedData", "False") != "False" or fields.get("BinaryData", "True") != "True":
        raise _broken(path, "its values are compressed or written as text")
    if (kind := _TYPES.get(fields.get("ElementType", ""))) is None or fields.get("ElementNumberOfChannels", "1") != "1":
        raise _broken(path, f"ElementType is none of {', '.join(_TYPES)}")
    # Only the neighbour of the same name is opened: a header does not choose what is read.
    raw = path.with_suffix(".raw")
    if fields.get("ElementDataFile") != raw.name:
        raise _broken(path, f"ElementDataFile is not {raw.name}")
    big = "True" in (fields.get("BinaryDataByteOrderMSB"), fields.get("ElementByteOrderMSB"))
    dtype = np.dtype(kind).newbyteorder(">" if big else "<")
    shape = (int(size[2]), int(size[1]), int(size[0]))
    try:
        stored = raw.stat().st_size
    except OSError as error:
        raise storage_error(raw, error) from error
    if stored != (wanted := int(np.prod(shape, dtype=np.int64)) * dtype.itemsize):
        raise _broken(path, f"{raw.name} has {stored} bytes, the header wants {wanted}")
    signs = _signs(path, fields)
    step = (spacing[2] * signs[2], spacing[1] * signs[1], spacing[0] * signs[0])
    return Volume(raw, shape, dtype.str, (offset[2], offset[1], offset[0]), step)


def _fields(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="ascii", errors="replace") as stream:
            lines = stream.read(_MAX_HEADER).splitlines()
    except OSError as error:
        raise storage_error(path, error) from error
    pairs = (line.partition("=")[::2] for line in lines if "=" in line)
    return {_ALIASES.get(key.strip(), key.strip()): value.strip() for key, value in pairs}


def _numbers(path: Path, fields: dict[str, str], key: str, count: int) -> list[float]:
    try:
        found = [float(text) for text in fields[key].split()]
    except (KeyError, ValueError):
        found = []
    if len(found) != count or not np.isfinite(found).all():
        raise _broken(path, f"{key} is not {count} numbers")
    return found


def _spacing(path: Path, fields: dict[str, str]) -> list[float]:
    found = _numbers(path, fields, "ElementSpacing", 3)
    if min(found) <= 0:
        raise _broken(path, "ElementSpacing is not positive")
    return found


def _offset(path: Path, fields: dict[str, str]) -> list[float]:
    return _numbers(path, fields, "Offset", 3)


def _signs(path: Path, fields: dict[str, str]) -> list[float]:
    """Direction of each axis. Some LUNA16 scans have x and y turned round; none is oblique."""
    matrix = np.array(_numbers(path, fields, "TransformMatrix", 9)).reshape(3, 3)
    signs = np.diagonal(matrix)
    if np.abs(matrix - np.diag(np.sign(signs))).max() > 1e-3 or not signs.all():
        raise _broken(path, "its axes are oblique")
    return [float(sign) for sign in np.sign(signs)]


def _broken(path: Path, why: str) -> ImageError:
    return ImageError("BROKEN_VOLUME", f"{path.name}: {why}", next_step="unpack the archive again")
