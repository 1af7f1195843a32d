"""One durable SQLite base: versions, read-only looks, damage and full disks are the same for every ledger."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

import pytest

from edgedx.core.errors import StorageError
from edgedx.device.machine.database import DamagedDatabase, Database
from edgedx.device.pacs.outbox import Outbox
from edgedx.device.pacs.receipts import Receipts
from edgedx.device.scanner.journal import Journal


class Notes(Database):
    """Of the second version; the first had no `by`."""

    kind: ClassVar[str] = "notes"
    version: ClassVar[int] = 2
    schema: ClassVar[str] = "CREATE TABLE notes (text TEXT, by TEXT);"
    first_table: ClassVar[str] = "notes"
    upgrades = MappingProxyType({1: "ALTER TABLE notes ADD COLUMN by TEXT;"})

    def add(self, *texts: str) -> None:
        with self._transaction():
            self._db.executemany("INSERT INTO notes (text) VALUES (?)", [(text,) for text in texts])

    def all(self) -> list[str]:
        with self._translate():
            return [row[0] for row in self._db.execute("SELECT text FROM notes ORDER BY rowid")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.sqlite"


def _open(kind: type[Database], path: Path) -> Database:
    return Journal(path, "b" * 64) if kind is Journal else kind(path)


@pytest.mark.parametrize("kind", [Journal, Outbox, Receipts])
def test_every_ledger_has_the_same_durability(kind: type[Database], path: Path) -> None:
    opened = _open(kind, path)
    found = [opened._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert found == ["truncate", 2]  # 2 is FULL
    assert opened._db.execute("PRAGMA temp_store").fetchone()[0] == 2  # 2 is MEMORY
    assert opened._db.execute("PRAGMA user_version").fetchone()[0] == kind.version
    assert opened.check() == opened.check(quick=True) == "ok"
    opened.close()


@pytest.mark.parametrize("marked", [0, 1])
def test_an_earlier_version_is_brought_up_to_date_with_what_it_holds(path: Path, marked: int) -> None:
    with sqlite3.connect(path) as old:  # before versions were kept it had none
        old.execute("CREATE TABLE notes (text TEXT)")
        old.execute("INSERT INTO notes VALUES ('kept')")
        old.execute(f"PRAGMA user_version={marked}")
    old.close()
    notes = Notes(path)
    assert notes.all() == ["kept"] and notes._db.execute("SELECT by FROM notes").fetchone() == (None,)
    notes.close()
    assert Notes(path).all() == ["kept"]


@pytest.mark.parametrize("kind", [Journal, Outbox, Receipts, Notes])
def test_a_later_version_is_refused_and_not_touched(kind: type[Database], path: Path) -> None:
    with sqlite3.connect(path) as later:
        later.execute("PRAGMA user_version=99")
    later.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match="version 99"):
        _open(kind, path)
    assert path.read_bytes() == before


def test_who_only_looks_writes_nothing_and_leaves_no_file(path: Path) -> None:
    notes = Notes(path)
    notes.add("a")
    notes.close()
    before = (path.read_bytes(), sorted(os.listdir(path.parent)))
    looking = Notes(path, read_only=True)
    assert looking.all() == ["a"]
    with pytest.raises(StorageError, match="readonly"):
        looking.add("b")
    looking.close()
    assert (path.read_bytes(), sorted(os.listdir(path.parent))) == before


def test_a_look_does_not_make_what_is_not_there(path: Path) -> None:
    with pytest.raises(StorageError):
        Notes(path, read_only=True)
    assert not path.exists()


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_database import Notes
notes = Notes(Path(sys.argv[1]))
notes._db.execute("PRAGMA cache_size=1")
notes._db.execute("BEGIN IMMEDIATE")
notes._db.executemany("INSERT INTO notes (text) VALUES (?)", [("x" * 500,)] * 500)  # more than the cache holds
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_look_at_what_a_kill_cut_off_sees_what_was_committed_and_mends_nothing(path: Path) -> None:
    notes = Notes(path)
    notes.add("committed")
    notes.close()
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), str(Path(__file__).parent)], check=False)
    assert done.returncode == -signal.SIGKILL
    journal = path.with_name(path.name + "-journal")
    before = (path.read_bytes(), journal.read_bytes())
    assert len(before[1]) > 0
    looking = Notes(path, read_only=True)
    assert looking.all() == ["committed"]
    looking.close()
    assert (path.read_bytes(), journal.read_bytes()) == before
    assert Notes(path).all() == ["committed"]


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's file needs root")
def test_a_look_by_root_leaves_the_files_of_the_service_to_it(path: Path) -> None:
    Notes(path).close()
    for left in path.parent.glob("notes.sqlite*"):
        os.chown(left, 12345, 12345)
    Notes(path, read_only=True).close()
    assert {path.lstat().st_uid for path in path.parent.glob("notes.sqlite*")} == {12345}
    assert not stat.S_IMODE(path.stat().st_mode) & 0o002


@pytest.mark.parametrize("damage", ["text", "zeros", "garbage in the middle"])
def test_damage_is_told_apart_from_a_disk_that_is_full(path: Path, damage: str) -> None:
    notes = Notes(path)
    notes.add(*(f"{number}" * 300 for number in range(300)))
    notes.close()
    content = bytearray(path.read_bytes())
    if damage == "text":
        content[:] = b"no database" * 1000
    else:
        content[4096 * 3 : 4096 * 5] = bytes(8192) if damage == "zeros" else b"\xa5" * 8192
    path.write_bytes(content)
    with pytest.raises(DamagedDatabase, match="damaged"):
        opened = Notes(path)
        try:
            if opened.check(quick=True) != "ok":
                opened.all()
        finally:
            opened.close()


def test_a_full_disk_is_no_damage_and_what_was_there_stays(small_disk: Path) -> None:
    notes = Notes(small_disk / "notes.sqlite")
    notes.add("first")
    with pytest.raises(StorageError, match="full") as caught:
        notes.add(*("x" * 10_000 for _ in range(200)))
    assert not isinstance(caught.value, DamagedDatabase)
    assert notes.all() == ["first"]
    notes.add("second")
    assert notes.all() == ["first", "second"]
    notes.close()
