"""Power cuts: whatever moment the scanner died at, the next one finishes its work."""

from __future__ import annotations

import hashlib
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bundles import dicom, png
from places import Place


def test_what_a_killed_run_left_half_written_is_swept_away(place: Place) -> None:
    png(place.inbox / "a.png")
    place.scan()
    (place.out / "results/.half.json.x1.tmp").write_text("{")
    (place.out / ".results.csv.x2.tmp").write_text("sequ")
    place.scan()
    assert list(place.out.rglob("*.tmp")) == []


def test_a_run_that_died_after_moving_a_file_is_finished_by_the_next(place: Place) -> None:
    (place.inbox / "letter.txt").write_text("text")
    place.scan()
    before = {path: path.read_bytes() for path in (place.out / "quarantine").iterdir()}
    _forget_the_end(place, next(path for path in before if path.suffix == ".txt"))
    assert place.scan() == {"received": 0, "claimed": 0, "done": 0, "refused": 0, "quarantined": 1}
    assert {path: path.read_bytes() for path in (place.out / "quarantine").iterdir()} == before
    assert len(before) == 2 and len(place.table()) == 1


def test_a_run_that_died_before_moving_a_file_is_finished_by_the_next(place: Place) -> None:
    (place.inbox / "letter.txt").write_text("text")
    place.scan()
    (moved,) = (path for path in (place.out / "quarantine").iterdir() if path.suffix == ".txt")
    _forget_the_end(place, moved.rename(place.inbox / "letter.txt"))
    assert place.scan()["quarantined"] == 1
    assert moved.read_text() == "text" and list(place.inbox.iterdir()) == [] and len(place.table()) == 1


def test_a_file_that_ends_the_scanner_again_and_again_is_put_aside(place: Place) -> None:
    class Deadly:
        """Ends the scanner at one file, as a crash of its own process would."""

        warm = place.decoder.warm
        close = place.decoder.close

        def decode(self, path: Path, sha256: str | None) -> Any:
            if path.name == "b.png":
                raise SystemExit
            return place.decoder.decode(path, sha256)

    for seed, name in enumerate("abc"):
        png(place.inbox / f"{name}.png", seed)
    ends = 0
    for _ in range(8):
        try:
            counts = place.scan(decoder=Deadly())
        except SystemExit:
            ends += 1
    # Once before the ledger knew it, and then with every file claimed before it was read.
    assert counts["done"] == 2 and counts["quarantined"] == 1 and ends == 1 + 5
    assert place.results()["b.png"]["reason"]["code"] == "INTERRUPTED"


def test_a_file_put_back_from_quarantine_is_tried_again(place: Place) -> None:
    (place.inbox / "letter.txt").write_text("text")
    place.scan()
    (place.inbox / "again.txt").write_text("text")
    assert place.scan()["quarantined"] == 1
    assert list(place.inbox.iterdir()) == []


def _forget_the_end(place: Place, file: Path) -> None:
    """Make the ledger what it was before the last commit of a run that read `file` as letter.txt."""
    facts = file.stat()
    row = (b"letter.txt", facts.st_size, facts.st_mtime_ns, facts.st_ino, hashlib.sha256(b"text").hexdigest())
    ledger = sqlite3.connect(place.out / "journal.sqlite")
    with ledger:
        ledger.execute("UPDATE items SET status = 'claimed', attempts = 1")
        ledger.execute("INSERT INTO paths (name, bytes, mtime_ns, inode, sha256) VALUES (?, ?, ?, ?, ?)", row)
    ledger.close()


def test_nothing_is_lost_when_the_power_goes_again_and_again(place: Place) -> None:
    for seed in range(14):
        png(place.inbox / f"{seed}.png", seed)
        dicom(place.inbox / f"{seed}.dcm", 100 + seed, kind="CR" if seed % 3 else "SC")
    for number in range(4):
        (place.inbox / f"{number}.txt").write_text(f"text {number}")
    later = sorted(place.inbox.iterdir())[::3]
    for path in later:  # they arrive while it is killed, so that there is always something left to read
        path.rename(path.with_name(f"{path.name}.part"))
    command = [sys.executable, "-m", "edgedx", "scan", str(place.inbox), "--bundle", str(place.bundle.path)]
    command += ["--out", str(place.out), "--once", "--settle", "0.1", "--threads", "1"]
    dice = random.Random(7)
    kills = 0
    for _ in range(12):
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _wait_for_lock(place.out, running)
        if later:
            path = later.pop()
            path.with_name(f"{path.name}.part").rename(path)
        time.sleep(dice.uniform(0.0, 0.7))
        kills += running.poll() is None
        running.kill()
        running.wait()
    assert not later and kills >= 3
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 0, finished.stderr
    assert kills >= 3

    results = place.results()
    assert Counter(r["status"] for r in results.values()) == {"done": 23, "refused": 5, "quarantined": 4}
    assert len(place.table()) == len(results) == 32
    with sqlite3.connect(place.out / "journal.sqlite") as ledger:
        assert ledger.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert ledger.execute("SELECT count(*) FROM items WHERE status IN ('received', 'claimed')").fetchone() == (0,)
    ledger.close()
    assert list(place.out.rglob("*.tmp")) == []
    assert {path.name for path in (place.out / "results").iterdir()} == {
        f"{r['key'][:32]}.json" for r in results.values()
    }
    moved = [path for path in (place.out / "quarantine").iterdir() if not path.name.endswith(".reason.json")]
    assert {path.read_text() for path in moved} == {f"text {number}" for number in range(4)}
    assert all(path.with_name(f"{path.name}.reason.json").is_file() for path in moved)
    assert len(list(place.inbox.iterdir())) == 28


def _wait_for_lock(out: Path, running: subprocess.Popen[bytes]) -> None:
    """Wait until the process has begun to work: killing the interpreter's start-up would prove nothing."""
    import fcntl

    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and running.poll() is None:
        if (out / ".lock").exists():
            with (out / ".lock").open() as stream:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return
        time.sleep(0.01)
