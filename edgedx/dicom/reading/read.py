"""DICOM file to `Image`: after the modality LUT, before any window, polarity noted and not applied.

What each kind of file gives is fixed:

===============================  =======================================================================
single-frame image               an `Image`; MONOCHROME1 sets ``inverted``
colour, palette, YBR             RGB; pydicom converts YBR once, the palette is applied
1-bit image                      0 and 1
overlays (60xx)                  left out; never burned into the pixels
big endian, implicit VR          read
deflated                         ``DEFLATED``
multi-frame                      ``MULTI_FRAME``, or the first, the middle, a numbered or each frame where asked for
enhanced objects                 rescale and window from their functional groups
SR, RT, SEG, DICOMDIR, ...       a code each, see `core.codes.Code`
JPEG Lossless, 12-bit JPEG       read
pixel padding                    a mask of the `Image`
MPEG, JPEG XL and others         ``TRANSFER_SYNTAX``
no ``DICM`` prefix               ``NOT_DICOM``; edgedx does not guess
===============================  =======================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.uid import UID

from edgedx.core.codes import Code
from edgedx.core.errors import ImageError
from edgedx.core.image import WINDOW_UNREADABLE, Image
from edgedx.core.settings.accept import FramePolicy
from edgedx.dicom.decoding.refusals import MAX_DECODED_BYTES, check_content, refuse

from .frames import kept_as_it_is, take_frame_attributes
from .grey import grey_where_equal
from .header import (
    Parsed,
    PixelElement,
    acquisition,
    check_class,
    describe,
    field,
    read_file_meta,
    read_header,
    silence_pydicom,
)
from .layout import Layout, read_layout
from .lut import first_voi, modality_lut, palette_to_rgb
from .pixels import check_transfer_syntax, clean_uid, decode
from .source import read_bytes


@dataclass(frozen=True)
class DicomImage:
    """One decoded DICOM image and what a result records about it.

    Attributes
    ----------
    image : Image
        ``meta`` holds what `header.describe` gives, PhotometricInterpretation, Rows, Columns, BitsStored;
        WindowUnreadable with the reason when the header's window is unusable; and Frame, counted from 1, where there
        are several.
    transfer_syntax, sop_class_uid, sop_instance_uid : str
        UIDs; the last two are empty when absent.
    decoder : str
        Package and version that decoded the pixels, e.g. ``pillow 12.0.0``.
    frames : int
        How many the object has.
    """

    image: Image
    transfer_syntax: str
    decoder: str
    sop_class_uid: str
    sop_instance_uid: str
    frames: int = 1


def read_dicom(
    source: Path | str | bytes | BinaryIO,
    *,
    max_decoded_bytes: int = MAX_DECODED_BYTES,
    frames: FramePolicy = "refuse",
    frame: int | None = None,
) -> DicomImage:
    """Read one DICOM Part 10 file.

    Parameters
    ----------
    source : path, bytes or binary stream
    max_decoded_bytes : int
        Budget for the file and for its decoded pixels, bytes.
    frames : str
        What to do with several frames: refuse, or read the first or the middle one.
    frame : int, optional
        Index of the frame to read, from 0, whatever `frames` says.

    Raises
    ------
    ImageError
        With a code of `core.codes.Code`. Neither message nor cause holds a header value.
    InputOutputError
        The file is missing or cannot be opened.
    DependencyMissing
        The decoder of this transfer syntax is not installed.
    """
    header = _read_header(read_bytes(source, max_decoded_bytes))
    return _image(header, read_layout(header.dataset, max_decoded_bytes, frames, frame))


def read_frames(
    source: Path | str | bytes | BinaryIO, *, most: int, max_decoded_bytes: int = MAX_DECODED_BYTES
) -> Iterator[DicomImage]:
    """Read every frame of one DICOM Part 10 file, one at a time: no more than one is in memory.

    Parameters
    ----------
    source : path, bytes or binary stream
    most : int
        Frames that are read; an object with more is refused before the first.
    max_decoded_bytes : int
        Budget for the file and for each decoded frame, bytes.

    Raises
    ------
    ImageError
        As `read_dicom`; ``TOO_MANY_FRAMES``. Of several frames, the message names the one that cannot be read. What
        came before it is then no answer: the object is damaged.
    """
    header = _read_header(read_bytes(source, max_decoded_bytes))
    layout = read_layout(header.dataset, max_decoded_bytes, frame=0)
    if layout.frames > most:
        raise refuse(Code.TOO_MANY_FRAMES, f"{layout.frames} frames; at most {most} are answered one by one")
    for index in range(layout.frames):
        try:
            with kept_as_it_is(header.dataset):
                found = _image(header, replace(layout, frame=index))
        except ImageError as error:
            if layout.frames == 1:
                raise
            where = f"frame {index + 1} of {layout.frames}: {error.message}"
            raise ImageError(error.code, where, next_step=error.next_step) from None
        yield found


@dataclass(frozen=True)
class _Header:
    """A file up to its pixels."""

    data: bytes
    transfer_syntax: str
    dataset: Dataset
    element: PixelElement


def _read_header(data: bytes) -> _Header:
    silence_pydicom()
    meta = read_file_meta(data)
    check_class(meta.sop_class_uid)
    if meta.transfer_syntax != "1.2.840.10008.1.2.1.99":  # deflated has a code of its own
        check_transfer_syntax(meta.transfer_syntax)
    parsed = read_header(data, meta)
    check_class(field(parsed.dataset, "SOPClassUID", str, ""))
    return _Header(data, meta.transfer_syntax, parsed.dataset, pixel_element(parsed))


def _image(header: _Header, layout: Layout) -> DicomImage:
    """Decode the frame of a layout; writes what is of that frame alone into the data set."""
    dataset = header.dataset
    decoded = decode(header.data, header.element, dataset, header.transfer_syntax, layout)
    stored, layout = decoded.pixels, decoded.layout
    check_content(stored, decoded.padding)
    take_frame_attributes(dataset, layout.frame)

    pixels, value_range = stored, layout.stored_range
    voi, ignored = None, None
    if layout.photometric == "PALETTE COLOR":
        pixels, bits = palette_to_rgb(stored, dataset, value_range)
        value_range = (0.0, float(2**bits - 1))
    elif layout.samples == 1:
        pixels, value_range = modality_lut(stored, value_range, dataset)
        voi, ignored = first_voi(dataset, value_range)
    if pixels is not stored:
        check_content(pixels, decoded.padding)  # a table may map all values to one

    facts = describe(dataset) | acquisition(dataset)
    facts["PhotometricInterpretation"] = layout.photometric
    facts["Rows"], facts["Columns"] = str(layout.rows), str(layout.columns)
    facts["BitsStored"] = str(layout.stored)
    if layout.frames > 1:
        facts["Frame"] = str(layout.frame + 1)
    if ignored:
        facts[WINDOW_UNREADABLE] = ignored
    inverted = layout.photometric == "MONOCHROME1"
    image = Image(grey_where_equal(pixels), value_range, voi, inverted, facts, decoded.padding)
    return DicomImage(
        image=image,
        transfer_syntax=header.transfer_syntax,
        decoder=decoded.decoder,
        sop_class_uid=_uid(dataset, "SOPClassUID"),
        sop_instance_uid=_uid(dataset, "SOPInstanceUID"),
        frames=layout.frames,
    )


def pixel_element(parsed: Parsed) -> PixelElement:
    """Where the integer pixels of a data set are.

    Raises
    ------
    ImageError
        ``PIXEL_FORMAT``, ``TRUNCATED``, ``NO_PIXELS``.
    """
    element, dataset = parsed.pixels, parsed.dataset
    if element is not None and element.keyword != "PixelData":
        raise refuse(Code.PIXEL_FORMAT, "floating-point pixel data")
    if element is not None and element.length != 0:
        return element
    # A copy that is still being written may end between two elements, so that nothing but its class tells.
    if parsed.cut or "Rows" in dataset or _is_image_class(dataset):
        raise refuse(Code.TRUNCATED, "the file ends before its pixels")
    raise refuse(Code.NO_PIXELS, "no pixel data: not an image, or its header is damaged")


def _is_image_class(dataset: Dataset) -> bool:
    stated = field(dataset, "SOPClassUID", str, "") or field(dataset.file_meta, "MediaStorageSOPClassUID", str, "")
    return "ImageStorage" in UID(stated).keyword


def _uid(dataset: Dataset, keyword: str) -> str:
    text = field(dataset, keyword, str, "")
    return text if text and clean_uid(text) == text else ""
