"""Nothing that a stranger wrote reaches a terminal as more than visible characters."""

from __future__ import annotations

import json
import os

import pytest

from edgedx.core.text import printable, printable_json

ATTACKS = {
    "title": "\x1b]0;owned\x07",
    "clear": "\x1b[2J\x1b[H",
    "C1 control sequence introducer": "\x9b31m",
    "overstrike": "quarantined\rdone       ",
    "backspace": "bad\b\b\bgood",
    "new line": "a\nscanner   all is well",
    "direction": "\u202egnp.exe",
    "isolate": "\u2066a\u2069",
    "zero width": "ad\u200bmin",
    "byte order mark": "\ufeffname",
    "line separator": "a\u2028b",
    "not UTF-8": os.fsdecode(b"r\xf6ntgen"),
    "tag": "\U000e0041",
    "delete": "a\x7f",
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_what_is_printed_holds_visible_characters_alone(attack: str) -> None:
    shown = printable(attack)
    assert shown != attack and shown.isprintable() and shown.encode()
    assert all(sign.isascii() or sign in attack for sign in shown)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_json_keeps_the_string_and_shows_none_of_it_raw(attack: str) -> None:
    text = printable_json({"name": attack, attack: [1, None]})
    assert json.loads(text) == {"name": attack, attack: [1, None]}
    assert all(sign == "\n" or sign.isprintable() for sign in text) and text.encode()


@pytest.mark.parametrize("text", ["chest.dcm", "Röntgen Thorax a.p.", "胸部X線", "صدر", "é (e\u0301)", "100 % – µm"])
def test_names_in_every_script_stay_as_they_are(text: str) -> None:
    assert printable(text) == text and json.loads(printable_json(text)) == text


def test_escapes_name_the_byte_or_the_character() -> None:
    assert printable("\x1b\x9b\u202e\U000e0041" + os.fsdecode(b"\xf6")) == r"\x1b\x9b\u202e\U000e0041\xf6"


def test_lines_of_our_own_are_kept_on_request() -> None:
    assert printable("a\n\tb\x1b", lines=True) == "a\n\tb\\x1b"


def test_nan_is_no_json() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        printable_json({"auc": float("nan")})
