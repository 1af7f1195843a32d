"""A PIN as it is kept: never itself, but what scrypt makes of it."""

from __future__ import annotations

import hashlib
import hmac
import os
import re

from edgedx.core.errors import UsageError

LEAST, MOST = 6, 32
"""Digits."""
_N, _R, _P = 1 << 13, 8, 10
"""Cost of scrypt (RFC 7914), of OWASP's Password Storage Cheat Sheet, in the row with the least memory: 8 MiB a try."""
_SALT, _LENGTH = 16, 32


def problem_with(pin: str) -> str:
    """Why a PIN is not taken, as a message key; empty where it is."""
    if not re.fullmatch(rf"[0-9]{{{LEAST},{MOST}}}", pin):
        return "door.pin_digits"
    steps = {int(after) - int(before) for before, after in zip(pin, pin[1:], strict=False)}
    if len(steps) == 1 and steps <= {0, 1, -1}:  # 111111, 123456, 987654
        return "door.pin_easy"
    return ""


def hash_pin(pin: str) -> bytes:
    """Salt and hash of a PIN, drawn anew at each call.

    Raises
    ------
    UsageError
        It is too short, too long, no row of digits, or one of those that are tried first.
    """
    if problem_with(pin):
        raise UsageError(
            f"a PIN is {LEAST} to {MOST} digits, and neither one digit alone nor a row such as 123456",
            next_step="choose another",
        )
    salt = os.urandom(_SALT)
    return salt + _scrypt(pin, salt)


def is_pin(pin: str, kept: bytes) -> bool:
    """Whether `kept` was made of this PIN; takes as long where it was not, or where nobody has that name (empty)."""
    salt, expected = kept[:_SALT].ljust(_SALT, b"\0"), kept[_SALT:]
    return hmac.compare_digest(_scrypt(pin[: MOST + 1], salt), expected)


def _scrypt(pin: str, salt: bytes) -> bytes:
    return hashlib.scrypt(pin.encode(), salt=salt, n=_N, r=_R, p=_P, maxmem=32 << 20, dklen=_LENGTH)
