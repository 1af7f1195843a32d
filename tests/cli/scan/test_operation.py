"""`edgedx scan status`, `edgedx scan audit`, the systemd unit and the log, as an operator sees them."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from bundles import dicom, png, write_tiny
from inprocess import edgedx

SCAN = ("--bundle", "tiny.edgedx", "--out", "out", "--once", "--settle", "0.1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scanner that has read one file of each fate, and was stopped."""
    folder = tmp_path_factory.mktemp("operation")
    write_tiny(folder / "tiny.edgedx")
    png(folder / "inbox/bright.png", 1, bright=True)
    dicom(folder / "inbox/other.dcm", 2, kind="SC")
    (folder / "inbox/letter.txt").write_text("Dear colleague")
    before = signal.getsignal(signal.SIGTERM)
    assert edgedx(folder, "scan", "inbox", *SCAN).returncode == 0
    assert signal.getsignal(signal.SIGTERM) is before
    return folder


def test_status_of_a_scan_that_read_what_was_there_is_well(folder: Path) -> None:
    done = edgedx(folder, "scan", "status", "out")
    assert done.returncode == 0 and done.stderr == "" and "scanner   finished" in done.stdout
    assert "1 done, 1 quarantined, 1 refused" in done.stdout and "1 UNKNOWN_FORMAT" in done.stdout
    said = json.loads(edgedx(folder, "scan", "status", "out", "--json").stdout)
    assert said["running"] is False and said["complaints"] == [] and said["state"] == "finished"


def test_status_where_nothing_scanned_is_5(folder: Path) -> None:
    done = edgedx(folder, "scan", "status", "elsewhere")
    assert done.returncode == 5 and "next:" in done.stderr


def test_the_audit_log_is_verified_with_its_head(folder: Path) -> None:
    said = json.loads(edgedx(folder, "scan", "audit", "out", "--json").stdout)
    assert said["intact"] and said["lines"] == 5
    assert edgedx(folder, "scan", "audit", "out", "--head", said["head"]).returncode == 0
    other = edgedx(folder, "scan", "audit", "out", "--head", "f" * 64)
    assert other.returncode == 1 and "lines were removed" in other.stdout
    assert edgedx(folder, "scan", "audit", "elsewhere").returncode == 5


def test_the_unit_holds_this_command_with_whole_paths_and_nothing_is_scanned(folder: Path) -> None:
    done = edgedx(folder, "scan", "unit", "inbox", "--bundle=tiny.edgedx", "--out", "new", "--threads", "1")
    assert done.returncode == 0, done.stderr
    start = next(line for line in done.stdout.splitlines() if line.startswith("ExecStart="))
    assert start.endswith(f"scan {folder}/inbox --bundle={folder}/tiny.edgedx --out {folder}/new --threads 1")
    write = "BindPaths" if str(folder).startswith("/tmp/") else "ReadWritePaths"  # PrivateTmp= hides /tmp
    assert f"{write}={folder}/inbox" in done.stdout and f"{folder}/new" in done.stdout
    assert "PrivateNetwork=yes" in done.stdout
    assert not (folder / "new").exists()


def test_help_names_the_commands_beside_the_scan_itself(folder: Path) -> None:
    done = edgedx(folder, "scan", "--help")
    assert done.returncode == 0 and "Example: edgedx scan inbox" in done.stdout and "edgedx scan status" in done.stdout


def test_quarantine_is_listed_and_put_back(folder: Path) -> None:
    listed = edgedx(folder, "scan", "retry", "out")
    assert listed.returncode == 0 and "UNKNOWN_FORMAT  letter.txt" in listed.stdout
    assert not (folder / "inbox/letter.txt").exists()
    assert edgedx(folder, "scan", "retry", "out", "f" * 12).returncode == 2
    said = json.loads(edgedx(folder, "scan", "retry", "out", "--all", "--json").stdout)
    (moved,) = map(Path, said["moved"])
    assert moved.parent == folder / "inbox" and moved.name.endswith("-letter.txt") and moved.is_file()
    assert "nothing is in quarantine" in edgedx(folder, "scan", "retry", "out").stdout


def test_what_is_older_than_keep_days_is_removed_and_status_says_so(tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny.edgedx")
    for seed in range(2):
        png(tmp_path / f"inbox/{seed}.png", seed)
    assert edgedx(tmp_path, "scan", "inbox", *SCAN).returncode == 0
    (tmp_path / "inbox/0.png").unlink()
    for path in (tmp_path / "out/results").iterdir():
        os.utime(path, (1_790_000_000, 1_790_000_000))
    done = edgedx(tmp_path, "scan", "inbox", *SCAN, "--keep-days", "30")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out/results").iterdir())) == 1 and (tmp_path / "inbox/1.png").exists()
    said = edgedx(tmp_path, "scan", "status", "out").stdout
    assert "removed   1 results" in said and "over the limit, and kept: 1 in the inbox" in said
    assert edgedx(tmp_path, "scan", "inbox", *SCAN, "--keep-gb", "-1").returncode == 2


NAMES = ["\x1b]0;owned\x07.txt", "\x9b2J\x9b31m.txt", "a\rdone.txt", "\u202etxt.exe", "b\nscanner   all is well.txt"]


def test_names_that_are_escape_sequences_move_no_cursor(tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny.edgedx")
    (tmp_path / "inbox").mkdir()
    for number, name in enumerate(NAMES):
        (tmp_path / "inbox" / name).write_text(f"Dear colleague {number}")
    assert edgedx(tmp_path, "scan", "inbox", *SCAN).returncode == 0
    listed = edgedx(tmp_path, "scan", "retry", "out")
    said = [listed, edgedx(tmp_path, "scan", "retry", "out", "--json"), edgedx(tmp_path, "scan", "status", "out")]
    said += [edgedx(tmp_path, "scan", f"in\x1b[2J{NAMES[0]}", *SCAN), edgedx(tmp_path, "recipes", "show", NAMES[1])]
    for done in said:
        assert all(line.isprintable() for line in (done.stdout + done.stderr).split("\n")), done
    assert "\\x1b]0;owned\\x07.txt" in listed.stdout and "\\u202etxt.exe" in listed.stdout
    assert len([line for line in listed.stdout.splitlines() if "UNKNOWN_FORMAT" in line]) == len(NAMES)
    moved = edgedx(tmp_path, "scan", "retry", "out", "--all", "--json")
    assert len(json.loads(moved.stdout)["moved"]) == len(NAMES)
