"""Bytes of one image, from a path, a stream or memory, never more than the budget."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from edgedx.core.files import storage_error
from edgedx.dicom.decoding.refusals import check_file_size


def read_bytes(source: Path | str | bytes | BinaryIO, max_bytes: int) -> bytes:
    """The whole content of `source`, refused before reading when over `max_bytes`.

    Raises
    ------
    ImageError
        ``EMPTY``, ``TOO_LARGE``.
    InputOutputError
        Missing, a folder, not permitted.
    """
    if isinstance(source, (str, Path)):
        try:
            with open(source, "rb") as stream:
                # One byte more than allowed: the size is judged on what was read, not on a stat that may be stale. The
                # stat only spares asking for `max_bytes` of memory at once.
                size = min(os.fstat(stream.fileno()).st_size, max_bytes)
                data = stream.read(size + 1)
                if len(data) > size:
                    data += stream.read(max_bytes + 1 - len(data))
        except OSError as error:
            raise storage_error(Path(source), error) from error
    else:
        data = bytes(source) if isinstance(source, (bytes, bytearray, memoryview)) else source.read(max_bytes + 1)
    check_file_size(len(data), max_bytes)
    return data
