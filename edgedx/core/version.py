"""Versions of bundles: dotted whole numbers, compared as numbers."""

from __future__ import annotations

import re

from .errors import BundleError

VERSION_PATTERN = r"^(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8})){0,3}$"
"""One to four numbers without leading zeros: 3, 1.10, 2026.11.23."""


def version_key(text: str) -> tuple[int, ...]:
    """`text` as numbers that compare in order; 1.0 is 1.

    Raises
    ------
    BundleError
        It is not of `VERSION_PATTERN`.
    """
    if re.fullmatch(VERSION_PATTERN[1:-1], text) is None:
        raise BundleError(f"{text!r} is not a version", next_step="use dotted numbers such as 1.10")
    numbers = [int(piece) for piece in text.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
