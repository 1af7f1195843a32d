"""Text from outside, made harmless before a terminal, a log or a JSON document shows it.

A file name, a header or a log line of a child process may hold escape sequences that move the cursor, set the window's
title or hide what stands before them (CVE-2003-0063 and its many kin), or characters that turn the direction of the
text around (CVE-2021-42574). Whoever prints a text that somebody else wrote calls `printable` first.
"""

from __future__ import annotations

import json
import shlex
import unicodedata
from typing import Any

_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Controls, format characters (direction, zero width), surrogates, private use, unassigned, line and paragraph ends."""


def _is_safe(sign: str) -> bool:
    return sign.isascii() and sign.isprintable() or unicodedata.category(sign) not in _UNSAFE_CATEGORIES


def _escaped(sign: str) -> str:
    code = ord(sign)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, as `os.fsdecode` gives it
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def printable(text: str, *, lines: bool = False) -> str:
    """`text` with everything that is not a visible character or a blank written as an escape.

    Parameters
    ----------
    lines : bool
        Keep line feeds and tabs: for messages of several lines that edgedx composed itself.

    Examples
    --------
    >>> printable("scan\\x1b]0;owned\\x07.dcm")
    'scan\\\\x1b]0;owned\\\\x07.dcm'
    """
    kept = "\n\t" if lines else ""
    return "".join(sign if sign in kept or _is_safe(sign) else _escaped(sign) for sign in text)


def command_line(*words: object) -> str:
    """A call of edgedx that can be pasted into a shell: a path with a blank in it is quoted.

    Examples
    --------
    >>> command_line("compress", "runs/chest 2", "--device", "orin-nano-8gb")
    "edgedx compress 'runs/chest 2' --device orin-nano-8gb"
    """
    return shlex.join(["edgedx", *map(str, words)])


def printable_json(value: Any, *, indent: int | None = 2) -> str:
    """JSON in readable Unicode whose strings hold no control or direction character in the raw; NaN is refused.

    What is escaped is escaped as JSON does it, so that a program reads the very string that was given.
    """
    text = json.dumps(value, indent=indent, allow_nan=False, ensure_ascii=False)
    return "".join(sign if sign == "\n" or _is_safe(sign) else json.dumps(sign)[1:-1] for sign in text)
