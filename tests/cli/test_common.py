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


@pytest.mark.parametrize("screen", [110, 120, 160])
def test_no_name_and_no_interval_is_broken_where_there_is_room(
    screen: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(screen))
    titles = ("", "method", "rank correlation to teacher", "above", "deletion", "random weights", "remark")
    name, interval = "student,int8-u8s8-percentile", "-0.475 [-0.672, -0.334]"
    row = (name, "LIME", "n/a", interval, "0.618", "FAILS", "some sentence that may be folded wherever it has a blank")
    print_table(titles, [row])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= screen
    assert any(name in line and interval in line and "FAILS" in line for line in lines)
    assert all(word in " ".join(lines) for word in (*titles[2].split(), *row[-1].split()))


def test_words_are_broken_only_where_they_alone_are_too_wide(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    print_table(("name", "what"), [("x" * 30, "y" * 30)])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 40 and sum(line.count("x") for line in lines) == 30
