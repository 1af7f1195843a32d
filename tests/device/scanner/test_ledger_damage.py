"""A ledger that is damaged or gone is made anew from the results: nothing lost, nothing twice, and it is said.

Reported by an attack: a page of the ledger overwritten was noticed by nobody, or ended every start.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bundles import png, write_tiny
from instant import Place as InstantPlace
from places import Place

from edgedx.core.bundle.manifest import Bundle
from edgedx.core.errors import StorageError
from edgedx.device.scanner.rebuild import LEDGER, damaged_ledgers


def _zero_page(ledger: Path) -> None:
    with ledger.open("r+b") as stream:
        stream.seek(4096)
        stream.write(bytes(4096))


def _garbage(ledger: Path) -> None:
    with ledger.open("r+b") as stream:
        stream.seek(4096)
        stream.write(os.urandom(3 * 4096))


def _first_page(ledger: Path) -> None:
    with ledger.open("r+b") as stream:
        stream.write(b"\xff" * 4096)


def _text(ledger: Path) -> None:
    ledger.write_bytes(b"not a database, and long enough to be one" * 300)


def _half(ledger: Path) -> None:
    os.truncate(ledger, ledger.stat().st_size // 8192 * 4096)


def _status(ledger: Path) -> None:
    with sqlite3.connect(ledger) as opened:
        opened.execute("UPDATE items SET status = 'dome' WHERE sequence = 2")
    opened.close()


def _gone(ledger: Path) -> None:
    ledger.unlink()


DAMAGES = [_zero_page, _garbage, _first_page, _text, _half, _status, _gone]


def _fill(place: Place) -> None:
    for seed in range(3):
        png(place.inbox / f"{seed}.png", seed)
    (place.inbox / "letter.txt").write_text("Dear colleague")
    place.scan()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_start_makes_a_damaged_ledger_anew_and_reads_nothing_twice(
    place: Place, damage: Callable[[Path], None]
) -> None:
    _fill(place)
    before = {path: path.stat().st_mtime_ns for path in (place.out / "results").iterdir()}
    keys = {one["key"]: one["sequence"] for one in place.results().values()}
    damage(place.out / LEDGER)
    png(place.inbox / "new.png", 9)
    with place.scanner() as scanner:
        assert scanner.run_once() == {"received": 0, "claimed": 0, "done": 4, "refused": 0, "quarantined": 1}
        assert scanner.read_now["done"] == 1 and scanner.read_now["quarantined"] == 0
        assert scanner.journal.check() == "ok"
        assert {item.key: item.sequence for item in scanner.journal.items() if item.key in keys} == keys
        said = [one for one in scanner.troubles() if "the ledger was damaged" in one]
        assert len(said) == len(damaged_ledgers(place.out)) == (0 if damage is _gone else 1)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(place.table()) == 5
    for name in damaged_ledgers(place.out):
        (place.out / name).unlink()
    with place.scanner() as scanner:
        assert scanner.troubles() == []


@pytest.mark.parametrize("damage", [_zero_page, _garbage, _first_page, _text])
def test_a_ledger_that_is_damaged_at_work_is_made_anew_at_work(place: Place, damage: Callable[[Path], None]) -> None:
    _fill(place)
    with place.scanner() as scanner:

        def stop() -> None:
            scanner.stop = True

        def hurt() -> None:
            damage(place.out / LEDGER)
            with (place.out / LEDGER).open("r+b") as stream:  # as another program's commit: nothing cached is trusted
                stream.seek(24)
                stream.write(os.urandom(4))

        place.time.events = [
            *[lambda: None] * 3,
            hurt,
            *[lambda: png(place.inbox / "new.png", 9)],
            *[lambda: None] * 30,
            stop,
        ]
        counts = scanner.run()
        assert counts["done"] == 4 and counts["quarantined"] == 1
        assert scanner.journal.check() == "ok" and damaged_ledgers(place.out)
    assert len(place.table()) == len(place.results()) == 5


def test_what_had_no_result_yet_is_found_in_the_inbox_again(place: Place) -> None:
    _fill(place)
    with place.scanner() as scanner:
        png(place.inbox / "late.png", 7)
        scanner.look()
        place.time.now += 10
        scanner.look()
        assert scanner.journal.count_pending() == 1
    _garbage(place.out / LEDGER)
    assert place.scan()["done"] == 4 and len(place.table()) == 5


def test_a_result_that_is_damaged_with_the_ledger_is_made_anew_from_its_file(place: Place) -> None:
    _fill(place)
    results = {name: one["key"] for name, one in place.results().items()}
    (place.out / "results" / f"{results['1.png'][:32]}.json").write_text('{"schema')
    (place.out / "results" / f"{results['letter.txt'][:32]}.json").write_text("")
    _garbage(place.out / LEDGER)
    counts = place.scan()
    assert (counts["done"], counts["quarantined"]) == (3, 1), "the reason beside a file says the same as its result"
    assert json.loads((place.out / "results" / f"{results['1.png'][:32]}.json").read_text())["status"] == "done"


def test_a_later_version_is_not_taken_for_damage(place: Place) -> None:
    _fill(place)
    with sqlite3.connect(place.out / LEDGER) as later:
        later.execute("PRAGMA user_version=99")
    later.close()
    with pytest.raises(StorageError, match="version 99"):
        place.scan()
    assert not damaged_ledgers(place.out)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else tmp_path) as name:
        yield Path(name)


@pytest.mark.parametrize("damage", [_garbage, _gone])
def test_a_kill_at_any_step_of_making_it_anew_loses_nothing(
    memory: Path, damage: Callable[[Path], None], tmp_path: Path
) -> None:
    bundle: Bundle = write_tiny(tmp_path / "tiny.edgedx")
    for at in range(1, 60, 4):
        place = InstantPlace(memory / f"{damage.__name__}-{at}", bundle)
        assert not place.run()[0]
        damage(place.out / LEDGER)
        place.run(at)
        assert not place.run()[0]
        place.check()


def test_a_ledger_of_the_first_version_goes_on(place: Place) -> None:
    _fill(place)
    with sqlite3.connect(place.out / LEDGER) as old:
        old.executescript("DROP INDEX by_digest; DROP TABLE worklist; DROP TABLE identifiers")
        old.execute("ALTER TABLE paths DROP COLUMN ctime_ns")
        old.execute("PRAGMA user_version=1")
    old.close()
    with place.scanner() as scanner:
        assert scanner.run_once()["done"] == 3 and scanner.read_now.total() == 0
    assert not damaged_ledgers(place.out)


def test_the_command_line_says_that_it_was_made_anew(place: Place, tmp_path: Path) -> None:
    _fill(place)
    _zero_page(place.out / LEDGER)
    write_tiny(tmp_path / "tiny.edgedx")
    command = [sys.executable, "-m", "edgedx", "scan", place.inbox, "--bundle", tmp_path / "tiny.edgedx"]
    done = subprocess.run([*command, "--out", place.out, "--once"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "the ledger is damaged, and is made anew" in done.stderr, done.stderr
    status = subprocess.run([*command[:4], "status", place.out], capture_output=True, text=True, check=False)
    assert status.returncode == 1 and "the ledger was damaged and made anew" in status.stderr
