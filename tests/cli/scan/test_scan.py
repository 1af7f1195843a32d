"""`edgedx scan` and `edgedx install` from the command line: summary, exit codes, and an orderly end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bundles import dicom, golden, model, png, write_tiny
from inprocess import Done, edgedx

from edgedx.core.result import NOT_A_MEDICAL_DEVICE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle and an inbox with one file of each fate."""
    write_tiny(tmp_path / "tiny.edgedx")
    png(tmp_path / "inbox/bright.png", 1, bright=True)
    dicom(tmp_path / "inbox/other.dcm", 2, kind="SC")
    (tmp_path / "inbox/letter.txt").write_text("Dear colleague")
    return tmp_path


def _scan(folder: Path, *arguments: str, inbox: str = "inbox", bundle: str = "tiny.edgedx") -> Done:
    fixed = ("--bundle", bundle, "--out", "out", "--once", "--settle", "0.1")
    return edgedx(folder, "scan", inbox, *fixed, *arguments)


def test_a_single_scan_prints_its_summary_as_json(folder: Path) -> None:
    done = _scan(folder, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["read_now"] == {"done": 1, "refused": 1, "quarantined": 1}
    assert said["ledger"] == {"received": 0, "claimed": 0, "done": 1, "refused": 1, "quarantined": 1}
    assert NOT_A_MEDICAL_DEVICE in done.stderr


def test_a_second_scan_reads_nothing_now(folder: Path) -> None:
    _scan(folder)
    said = json.loads(_scan(folder, "--json").stdout)
    assert set(said["read_now"].values()) == {0} and said["ledger"]["done"] == 1


def test_the_summary_for_people_says_where_to_look(folder: Path) -> None:
    said = _scan(folder).stdout
    assert "done 1" in said and "quarantined 1" in said and "results.csv" in said and "quarantine:" in said


def test_a_missing_inbox_is_5(folder: Path) -> None:
    done = _scan(folder, inbox="absent")
    assert done.returncode == 5 and "absent" in done.stderr and "next:" in done.stderr and not done.stdout


def test_a_missing_bundle_is_5(folder: Path) -> None:
    done = _scan(folder, bundle="absent.edgedx")
    assert done.returncode == 5 and "absent.edgedx" in done.stderr and "next:" in done.stderr
    assert not (folder / "out").exists()


def test_a_damaged_bundle_is_5_and_nothing_is_read(folder: Path) -> None:
    path = folder / "tiny.edgedx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    done = _scan(folder)
    assert done.returncode == 5 and "damaged" in done.stderr and "next:" in done.stderr
    assert not (folder / "out").exists() and len(list((folder / "inbox").iterdir())) == 3


def test_a_bundle_that_computes_other_values_here_is_1_and_nothing_is_read(folder: Path) -> None:
    write_tiny(folder / "tiny.edgedx", samples=golden(model(), shift=0.5))
    done = _scan(folder)
    assert done.returncode == 1 and "other values" in done.stderr
    assert not (folder / "out").exists()


def test_an_unknown_operating_point_is_2_and_lists_the_known(folder: Path) -> None:
    done = _scan(folder, "--point", "best")
    assert done.returncode == 2 and "youden" in done.stderr


def test_an_output_inside_the_inbox_is_2(folder: Path) -> None:
    done = edgedx(folder, "scan", "inbox", "--bundle", "tiny.edgedx", "--out", "inbox/out", "--once")
    assert done.returncode == 2 and "inside the inbox" in done.stderr


def test_an_installed_bundle_can_be_scanned_with(folder: Path) -> None:
    done = edgedx(folder, "install", "tiny.edgedx", "--root", "device", "--allow-unsigned", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["current"] == "device/current" and said["name"] == "tiny 1"
    scanned = json.loads(_scan(folder, "--json", bundle="device/current").stdout)
    assert scanned["read_now"]["done"] == 1


def test_a_damaged_bundle_is_not_installed(folder: Path) -> None:
    (folder / "tiny.edgedx").write_bytes(b"something else")
    done = edgedx(folder, "install", "tiny.edgedx", "--root", "device")
    assert done.returncode == 5 and not (folder / "device/current").is_symlink()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_scanner_ends_in_order_when_told(folder: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "edgedx", "scan", "inbox", "--bundle", "tiny.edgedx", "--out", "out"]
    command += ["--interval", "0.2", "--settle", "0.1", "--json"]
    running = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        _wait(lambda: len(list((folder / "out/results").glob("*.json"))) == 3, running)
        running.send_signal(number)
        out, err = running.communicate(timeout=20)
    finally:
        running.kill()
    assert running.returncode == 0, err
    assert json.loads(out)["ledger"] == {"received": 0, "claimed": 0, "done": 1, "refused": 1, "quarantined": 1}
    assert "stopped: what was read is kept in out\nnext:  edgedx scan inbox --bundle" in err


def test_reading_what_is_there_is_stopped_with_130_and_goes_on_by_the_line_that_was_printed(folder: Path) -> None:
    for number in range(400):
        png(folder / f"inbox/{number}.png", 10 + number)
    call = ["scan", "inbox", "--bundle", "tiny.edgedx", "--out", "out", "--once", "--settle", "0.1", "--workers", "1"]
    command = [sys.executable, "-m", "edgedx", *call]
    running = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        _wait(lambda: len(list((folder / "out/results").glob("*.json"))) > 3, running)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=20)
    finally:
        running.kill()
    assert running.returncode == 130 and "Traceback" not in err, err
    assert f"next:  edgedx {' '.join(call)}" in err
    done = edgedx(folder, *call)
    assert done.returncode == 0 and len(list((folder / "out/results").glob("*.json"))) == 403


def _wait(reached, running: subprocess.Popen[str]) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 40
    while not reached():
        assert time.monotonic() < deadline and running.poll() is None, "the scanner never got that far"
        time.sleep(0.05)
