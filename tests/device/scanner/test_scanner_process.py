"""The scanner under kill -9, power cuts and hostile files, by the programs that give the published figures."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundles import write_tiny

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def inner(program: str, *arguments: str) -> dict[str, Any]:
        bundle, report = tmp_path / "tiny.edgedx", tmp_path / "report.json"
        write_tiny(bundle)
        command = [sys.executable, BENCHMARKS / program, bundle, "--report", report, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(json.loads(report.read_text()))

    return inner


def check_kills(found: dict[str, Any], kills: int) -> None:
    assert found["kills"] == kills and found["killed_while"]["working"] > 0
    assert found["inputs"] == found["final"] >= kills
    assert (found["lost"], found["duplicated"], found["pending"]) == (0, 0, 0)
    assert found["broken"] == [] and found["troubles_between"] == []


def check_fuzz(found: dict[str, Any], least: int) -> None:
    assert found["files"] == found["final"] >= least and len(found["codes"]) > 5
    assert (found["daemon_deaths"], found["exit_status"], found["lost"], found["duplicated"]) == (0, 0, 0, 0)
    assert found["broken"] == []


def test_kill_9_under_load_loses_nothing_and_repeats_nothing(run: Run) -> None:
    check_kills(run("scan_kills.py", "--kills", "1", "--seed", "3"), 1)


def test_hostile_files_neither_end_the_scanner_nor_stay_without_a_status(run: Run) -> None:
    check_fuzz(run("scan_fuzz.py", "--seconds", "2", "--seed", "1"), 60)


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs the Debian package strace")
def test_what_the_ledger_says_is_on_the_disk_before_it_says_so(run: Run) -> None:
    found = run("scan_power.py", "--images", "6")
    assert (found["lost"], found["renamed_before_synced"], found["committed_before_folder_synced"]) == (0, [], [])
    assert found["statuses"] == {"done": 6, "quarantined": 1} and found["ledger_syncs"] >= 3
    # Seven results, the table, a text that was moved with its reason, and the mark of the output folder; what the
    # monitor says, at its first look, and at the end where something came since.
    assert found["renames"] in (12, 13) and found["syncs_per_file"]["results"] == 1.0


WRITE, SYNC = "write(5</o/results/.a.json.x.tmp>, ...) = 9", "fsync(5</o/results/.a.json.x.tmp>) = 0"
RENAME, FOLDER = 'rename("/o/results/.a.json.x.tmp", "/o/results/a.json") = 0', "fsync(6</o/results>) = 0"
COMMIT = "fdatasync(3</o/journal.sqlite>) = 0"


@pytest.mark.parametrize(
    "order, empty, forgotten",
    [
        ((WRITE, SYNC, RENAME, FOLDER, COMMIT), 0, 0),
        ((WRITE, RENAME, SYNC, FOLDER, COMMIT), 1, 0),
        ((SYNC, WRITE, RENAME, FOLDER, COMMIT), 1, 0),
        ((WRITE, SYNC, RENAME, COMMIT, FOLDER), 0, 1),
        ((WRITE, SYNC, FOLDER, RENAME, COMMIT), 0, 1),
        ((WRITE, SYNC.replace("= 0", "= -1 EIO"), RENAME, FOLDER.replace("= 0", "= -1 EIO"), COMMIT), 1, 1),
    ],
)
def test_a_wrong_order_is_seen(
    order: tuple[str, ...], empty: int, forgotten: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    from scan_power import Disk, calls

    trace = [f"7 {call}" for call in order]
    cut = trace.index(f"7 {WRITE}")
    begun, ended = WRITE.split(", ")
    trace[cut : cut + 1] = [
        f"7 {begun} <unfinished ...>",
        "8 write(1<pipe:[2]>, ...) = 4",
        f"7 <... write resumed>, {ended}",
    ]
    disk = Disk("/o").see(calls(trace))
    assert (len(disk.empty), len(disk.forgotten), disk.renames) == (empty, forgotten, 1)


@pytest.mark.slow
def test_twenty_kills_lose_nothing(run: Run) -> None:
    check_kills(run("scan_kills.py", "--kills", "20", "--seed", "1"), 20)


@pytest.mark.slow
def test_two_minutes_of_hostile_files(run: Run) -> None:
    check_fuzz(run("scan_fuzz.py", "--seconds", "120", "--seed", "0"), 200)
