"""How the DICOM and the raster reader refuse an image: the error with its code, and the checks that both make."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx.core.codes import Code
from edgedx.core.errors import ImageError

MAX_DECODED_BYTES = 512 << 20
"""Default budget for one image, bytes: for the file itself and for its decoded pixels."""


def refuse(code: Code, message: str, *, next_step: str | None = None) -> ImageError:
    """`ImageError` with ``code``; `message` names fields of the header, never their values."""
    return ImageError(code.value, message, next_step=next_step or code.remedy)


def check_budget(rows: int, columns: int, samples: int, bytes_per_sample: int, max_bytes: int) -> None:
    """Compare the size that a header promises with the budget, before a byte is decoded.

    Raises
    ------
    ImageError
        ``TOO_LARGE``; ``BROKEN_HEADER`` when a side is not positive.
    """
    if rows < 1 or columns < 1:
        raise refuse(Code.BROKEN_HEADER, f"the header says {rows} x {columns} pixels")
    needed = rows * columns * samples * bytes_per_sample
    if needed > max_bytes:
        raise refuse(
            Code.TOO_LARGE,
            f"decoding would take {needed} bytes, the budget is {max_bytes}",
            next_step="raise max_decoded_bytes if this device has the memory",
        )


def check_file_size(size: int, max_bytes: int) -> None:
    """Refuse empty files (``EMPTY``) and files over the budget (``TOO_LARGE``), before they are read."""
    if size == 0:
        raise refuse(Code.EMPTY, "the file is empty")
    if size > max_bytes:
        raise refuse(Code.TOO_LARGE, f"the file has {size} bytes, the budget is {max_bytes}")


def check_content(pixels: NDArray[Any], padding: NDArray[np.bool_] | None = None) -> None:
    """Refuse constant images: some decoders return all zeros for input they cannot read (``BLANK``).

    Parameters
    ----------
    pixels : ndarray of shape (H, W) or (H, W, 3)
    padding : ndarray of shape (H, W), bool, optional
        Pixels that do not count.
    """
    if padding is not None:
        pixels = pixels[~padding]
    if pixels.size == 0 or bool(pixels.min() == pixels.max()):
        raise refuse(Code.BLANK, "every pixel has the same value")
