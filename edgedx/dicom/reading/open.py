"""Any supported image file to `Image`, recognised by content. What the lab's data sets and the scanner both call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from edgedx.core.codes import Code
from edgedx.core.errors import ImageError
from edgedx.core.image import Image
from edgedx.core.settings.accept import FramePolicy
from edgedx.dicom.decoding.refusals import MAX_DECODED_BYTES, refuse

from .source import read_bytes

if TYPE_CHECKING:
    from .read import DicomImage

Format = Literal["dicom", "png", "jpeg", "tiff", "bmp", "webp"]
SUFFIXES = frozenset({".dcm", ".dicom", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})
"""Of files that are read; a file is known by its content, and DICOM files often have no suffix."""

_MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),
    (b"MM\x00+", "tiff"),
)
_BMP_HEADERS = {size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124)}  # "BM" begins words, too
_DAMAGE = {Code.BROKEN_HEADER, Code.DECODE_FAILED, Code.HEADER_MISMATCH, Code.UNKNOWN_FORMAT, Code.NO_PIXELS}
_TAIL = 512  # bytes


@dataclass(frozen=True)
class Decoded:
    """One image and how it was read; the fields of `core.result.Source`.

    Attributes
    ----------
    image : Image
    format : str
        ``dicom``, ``png``, ``jpeg``, ``tiff``, ``bmp`` or ``webp``.
    decoder : str
        Package and version that decoded the pixels.
    transfer_syntax, sop_instance_uid : str or None
        DICOM only.
    frames : int
        How many the object has.
    """

    image: Image
    format: Format
    decoder: str
    transfer_syntax: str | None = None
    sop_instance_uid: str | None = None
    frames: int = 1


def sniff(data: bytes) -> Format:
    """Recognise the format by its first 132 bytes.

    DICOM comes first: its 128-byte preamble is free, and dual-personality files put a TIFF header there (PS3.10 7.1).

    Raises
    ------
    ImageError
        ``UNKNOWN_FORMAT``.
    """
    if data[128:132] == b"DICM":
        return "dicom"
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[:2] == b"BM" and data[14:18] in _BMP_HEADERS:
        return "bmp"
    raise refuse(Code.UNKNOWN_FORMAT, "the content is none of DICOM, PNG, JPEG, TIFF, BMP, WebP")


def open_image(
    source: Path | str | bytes | BinaryIO,
    *,
    max_decoded_bytes: int = MAX_DECODED_BYTES,
    frames: FramePolicy = "refuse",
    frame: int | None = None,
) -> Decoded:
    """Read an image of any supported format; its name and extension play no part.

    Parameters
    ----------
    source : path, bytes or binary stream
    max_decoded_bytes : int
        Budget for the file and for its decoded pixels, bytes.
    frames : str
        What to do with a DICOM file of several frames: refuse, or read the first or the middle one. ``each`` refuses
        here, where one image is asked for; `open_frames` reads them.
    frame : int, optional
        Index of the frame of a DICOM file to read, from 0, whatever `frames` says.

    Raises
    ------
    ImageError
        With a code of `core.codes.Code`.
    InputOutputError
        The file is missing or cannot be opened.
    """
    data = read_bytes(source, max_decoded_bytes)
    with _seeing_a_cut(data):
        return _open(data, max_decoded_bytes, frames, frame)


def open_frames(
    source: Path | str | bytes | BinaryIO, *, most: int, max_decoded_bytes: int = MAX_DECODED_BYTES
) -> Iterator[Decoded]:
    """Read an image of any supported format, each frame of it, one at a time; a raster file is one.

    Parameters
    ----------
    source, max_decoded_bytes
        As for `open_image`; the budget is for each frame.
    most : int
        Frames that are read; an object with more is refused before the first.

    Raises
    ------
    ImageError
        As `open_image`, at any frame, which its message names; ``TOO_MANY_FRAMES``.
    """
    data = read_bytes(source, max_decoded_bytes)
    with _seeing_a_cut(data):
        if sniff(data) != "dicom":
            yield _open(data, max_decoded_bytes, "refuse", None)
            return
        from .read import read_frames

        for read in read_frames(data, most=most, max_decoded_bytes=max_decoded_bytes):
            yield _of_dicom(read)


@contextmanager
def _seeing_a_cut(data: bytes) -> Iterator[None]:
    try:
        yield
    except ImageError as error:
        if error.code in _DAMAGE and len(data) >= _TAIL and not data[-_TAIL:].strip(b"\0"):
            # Copiers that set the size first leave zeros where they have not been; so does a disk that was cut off.
            raise refuse(Code.TRUNCATED, "the file ends in zeros", next_step="copy the file again") from None
        raise


def _open(data: bytes, max_decoded_bytes: int, frames: FramePolicy, frame: int | None) -> Decoded:
    kind = sniff(data)
    if kind == "dicom":
        from .read import read_dicom  # raster input does not pay for importing pydicom

        return _of_dicom(read_dicom(data, max_decoded_bytes=max_decoded_bytes, frames=frames, frame=frame))
    from .raster import read_raster

    image, decoder = read_raster(data, kind, max_decoded_bytes=max_decoded_bytes)
    return Decoded(image, kind, decoder)


def _of_dicom(read: DicomImage) -> Decoded:
    uid = read.sop_instance_uid or None
    return Decoded(read.image, "dicom", read.decoder, read.transfer_syntax, uid, read.frames)
