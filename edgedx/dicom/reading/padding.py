"""Pixels that are no image: Pixel Padding Value and Range Limit (PS3.3 C.7.5.1.1.2)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from .layout import Layout


def padded(
    pixels: NDArray[Any], words: NDArray[Any] | None, dataset: Dataset, layout: Layout
) -> NDArray[np.bool_] | None:
    """Which pixels the header calls padding.

    The value and its limit are compared with stored values, before any rescale; the range holds both ends. Writers
    give them in either sign whatever Pixel Representation says, so the bits count, not the sign. A value that the
    stored bits cannot hold is compared with whole words.

    Parameters
    ----------
    pixels : ndarray of shape (H, W), integer
        Stored values.
    words : ndarray of shape (H, W), unsigned, optional
        The same as words of the allocated bits, where the decoder has them.

    Returns
    -------
    ndarray of shape (H, W), bool, or None
        None where there is none: colour, no value in the header, or none that occurs.
    """
    if layout.samples != 1 or layout.photometric == "PALETTE COLOR":
        return None
    value, limit = _number(dataset, "PixelPaddingValue"), _number(dataset, "PixelPaddingRangeLimit")
    if value is None:
        return None
    limit = value if limit is None else limit
    ends = sorted(_as_stored(end, layout.allocated, layout.signed) for end in (value, limit))
    low, high = layout.stored_range
    if words is not None and not (low <= ends[0] and ends[1] <= high):
        mask = _words_between(words, ends, layout)
    else:
        mask = (pixels >= ends[0]) & (pixels <= ends[1]) if ends[0] != ends[1] else pixels == ends[0]
    return mask if bool(mask.any()) else None


def _words_between(words: NDArray[Any], ends: list[int], layout: Layout) -> NDArray[np.bool_]:
    values = words.view(f"{'i' if layout.signed else 'u'}{words.dtype.itemsize}")
    return np.asarray((values >= ends[0]) & (values <= ends[1]))


def _as_stored(value: int, bits: int, signed: bool) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def _number(dataset: Dataset, keyword: str) -> int | None:
    try:
        value = dataset.get(keyword)
        if isinstance(value, bytes):  # VR UN, or OW
            return int.from_bytes(value[:2], "little" if dataset.original_encoding[1] else "big") if value else None
        return None if value is None or value == "" else int(value)
    except Exception:  # several values, or none that is a number: nothing is called padding
        return None
