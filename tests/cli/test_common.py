"""What comes from files and headers cannot command a terminal.

The report: CVE-2021-25743, where kubectl printed escape sequences of what it listed to the terminal.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bundles import write_tiny
from inprocess import edgedx

from edgedx.cli.common import line, print_json, print_table, printable, warn

EVIL = "a\x1b[2J\x9b31mb\x07\r\x7f"
SAFE = r"a\x1b[2J\x9b31mb\x07\x0d\x7f"


def test_control_characters_become_visible_and_text_stays() -> None:
    assert printable(EVIL) == SAFE
    assert printable("Müller\t1\n日本 é") == "Müller\t1\n日本 é"
    assert printable(Path("a\x1bb")) == r"a\x1bb"


def test_every_way_to_print_is_safe(capsys: pytest.CaptureFixture[str]) -> None:
    line("label", EVIL)
    warn(EVIL)
    print_table(("", EVIL), [["x", EVIL]], title=EVIL, width=200)
    print_json({"name": EVIL})
    out, err = capsys.readouterr()
    assert not {"\x1b", "\x9b", "\x07", "\r", "\x7f"} & set(out + err)
    assert out.startswith(f"label     {SAFE}\n") and err == f"warning: {SAFE}\n"
    assert json.loads(out[out.index("{") :]) == {"name": EVIL}, "JSON keeps the value, escaped"


def test_an_error_that_names_a_file_is_safe(tmp_path: Path) -> None:
    done = edgedx(tmp_path, "gate", EVIL)
    assert done.returncode == 5 and SAFE in done.stderr and "\x1b" not in done.stderr


def test_a_name_in_quarantine_is_safe(tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny.edgedx")
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "evil\x1b[31m.txt").write_text("Dear colleague")
    call = ("scan", "inbox", "--bundle", "tiny.edgedx", "--out", "out", "--once", "--settle", "0.1")
    assert edgedx(tmp_path, *call).returncode == 0
    listed = edgedx(tmp_path, "scan", "retry", "out")
    assert r"evil\x1b[31m.txt" in listed.stdout and "\x1b" not in listed.stdout
