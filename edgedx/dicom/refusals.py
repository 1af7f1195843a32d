"""Why an image is refused: one table of reason codes, shared by the DICOM and the raster reader.

The codes are stable across releases: results, logs and site scripts match on them.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import NDArray

from ..core.errors import ImageError

MAX_DECODED_BYTES = 512 << 20
"""Default budget for one image, bytes: for the file itself and for its decoded pixels."""


class Code(str, Enum):
    """Reason codes of `ImageError`; each member's ``meaning`` is its documentation."""

    meaning: str

    def __new__(cls, code: str, meaning: str) -> Code:
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    EMPTY = "EMPTY", "The file has no bytes."
    UNKNOWN_FORMAT = "UNKNOWN_FORMAT", "The content is none of DICOM, PNG, JPEG, TIFF."
    NOT_DICOM = "NOT_DICOM", "Read as DICOM, but without the DICM prefix at byte 128 (PS3.10 7.1)."
    BROKEN_HEADER = "BROKEN_HEADER", "A header cannot be parsed, or lacks or contradicts what decoding needs."
    HEADER_MISMATCH = "HEADER_MISMATCH", "The compressed pixels have another size than the header says."
    TRUNCATED = "TRUNCATED", "The file or its pixel stream ends early."
    TOO_LARGE = "TOO_LARGE", "The file or its decoded pixels exceed the byte budget."
    DEFLATED = "DEFLATED", "Deflated transfer syntax: its size is unknown before it is inflated."
    TRANSFER_SYNTAX = "TRANSFER_SYNTAX", "No pinned decoder for this transfer syntax or its bit depth."
    MULTI_FRAME = "MULTI_FRAME", "More than one frame or page."
    DICOMDIR = "DICOMDIR", "A DICOMDIR: an index of files, not an image."
    REPORT = "REPORT", "A structured report or key object selection."
    RADIOTHERAPY = "RADIOTHERAPY", "A radiotherapy plan, structure set, dose or record."
    SEGMENTATION = "SEGMENTATION", "A segmentation: labels, not an image."
    PRESENTATION = "PRESENTATION", "A presentation state, registration, fiducials, measurement or mapping object."
    WAVEFORM = "WAVEFORM", "A waveform such as an ECG."
    DOCUMENT = "DOCUMENT", "An encapsulated document (PDF, CDA, model)."
    NO_PIXELS = "NO_PIXELS", "DICOM without pixel data or size: of no class above, or damaged early."
    PIXEL_FORMAT = "PIXEL_FORMAT", "Bit depth, sample count, float or signed pixels that edgedx does not read."
    PHOTOMETRIC = "PHOTOMETRIC", "A photometric interpretation or palette that edgedx does not read."
    DECODE_FAILED = "DECODE_FAILED", "The decoder refused the pixel stream."
    BLANK = "BLANK", "Every pixel has the same value: no exposure, or a decoder that cannot read its input."


def refuse(code: Code, message: str, *, next_step: str | None = None) -> ImageError:
    """`ImageError` with ``code``; `message` names fields of the header, never their values."""
    return ImageError(code.value, message, next_step=next_step)


def check_budget(rows: int, columns: int, samples: int, bytes_per_sample: int, max_bytes: int, frames: int = 1) -> None:
    """Compare the size that a header promises with the budget, before a byte is decoded.

    Raises
    ------
    ImageError
        ``TOO_LARGE``; ``BROKEN_HEADER`` when a side is not positive.
    """
    if rows < 1 or columns < 1 or frames < 1:
        raise refuse(Code.BROKEN_HEADER, f"the header says {rows} x {columns} pixels in {frames} frames")
    needed = rows * columns * frames * samples * bytes_per_sample
    if needed > max_bytes:
        raise refuse(
            Code.TOO_LARGE,
            f"decoding would take {needed} bytes, the budget is {max_bytes}",
            next_step="raise max_decoded_bytes if this device has the memory",
        )


def check_file_size(size: int, max_bytes: int) -> None:
    """Refuse empty files (``EMPTY``) and files over the budget (``TOO_LARGE``), before they are read."""
    if size == 0:
        raise refuse(Code.EMPTY, "the file is empty", next_step="copy it again")
    if size > max_bytes:
        raise refuse(Code.TOO_LARGE, f"the file has {size} bytes, the budget is {max_bytes}")


def check_content(pixels: NDArray[np.generic]) -> None:
    """Refuse constant images: some decoders return all zeros for input they cannot read (``BLANK``)."""
    if bool(pixels.min() == pixels.max()):
        raise refuse(
            Code.BLANK,
            "every pixel has the same value",
            next_step="look at the image in a viewer: it was not exposed, or its compression is not supported",
        )
