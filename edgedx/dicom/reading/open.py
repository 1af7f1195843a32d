"""Any supported image file to `Image`, recognised by content. What the lab's data sets and the scanner both call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from edgedx.core.codes import Code
from edgedx.core.errors import ImageError
from edgedx.core.image import Image
from edgedx.core.settings.accept import FramePolicy
from edgedx.dicom.decoding.refusals import MAX_DECODED_BYTES, refuse

from .source import read_bytes

Format = Literal["dicom", "png", "jpeg", "tiff", "bmp", "webp"]

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
    """

    image: Image
    format: Format
    decoder: str
    transfer_syntax: str | None = None
    sop_instance_uid: str | None = None


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
        What to do with a DICOM file of several frames: refuse, or read the first or the middle one.
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
    try:
        return _open(data, max_decoded_bytes, frames, frame)
    except ImageError as error:
        if error.code in _DAMAGE and len(data) >= _TAIL and not data[-_TAIL:].strip(b"\0"):
            # Copiers that set the size first leave zeros where they have not been; so does a disk that was cut off.
            raise refuse(Code.TRUNCATED, "the file ends in zeros", next_step="copy the file again") from None
        raise


def _open(data: bytes, max_decoded_bytes: int, frames: FramePolicy, frame: int | None) -> Decoded:
    kind = sniff(data)
    if kind == "dicom":
        from .read import read_dicom  # raster input does not pay for importing pydicom

        read = read_dicom(data, max_decoded_bytes=max_decoded_bytes, frames=frames, frame=frame)
        return Decoded(read.image, kind, read.decoder, read.transfer_syntax, read.sop_instance_uid or None)
    from .raster import read_raster

    image, decoder = read_raster(data, kind, max_decoded_bytes=max_decoded_bytes)
    return Decoded(image, kind, decoder)
