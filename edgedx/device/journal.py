"""The ledger: every input the scanner ever saw and what became of it, in SQLite, before and after each step.

::

    received -> claimed -> done | refused | quarantined

``synchronous=FULL`` with a rollback journal: a commit that returned survives power loss (WAL with NORMAL does not).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import StorageError

# Names are bytes: a file name on Linux need not be UTF-8, and SQLite's text must be.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    sha256 TEXT NOT NULL,
    name BLOB NOT NULL,
    bytes INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'received',
    attempts INTEGER NOT NULL DEFAULT 0,
    code TEXT
);
CREATE TABLE IF NOT EXISTS paths (
    name BLOB PRIMARY KEY,
    bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    key TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_status ON items (status, sequence);
CREATE INDEX IF NOT EXISTS by_key ON paths (key);
"""
_VERSION = 1
FINAL = ("done", "refused", "quarantined")


@dataclass(frozen=True)
class Stat:
    """What tells one version of a file from another without reading it."""

    bytes: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True)
class Arrival:
    """A settled file that was hashed.

    Attributes
    ----------
    name : str
        Path relative to the inbox, as `os.fsdecode` gives it.
    key : str
        `core.result.result_key` of its content and the bundle.
    """

    name: str
    stat: Stat
    sha256: str
    key: str


@dataclass(frozen=True)
class Item:
    """One content to be read by one bundle."""

    sequence: int
    key: str
    sha256: str
    name: str
    bytes: int
    status: str
    attempts: int
    code: str | None


class Journal:
    """The ledger of one output folder, on a local disk.

    Raises
    ------
    StorageError
        The database cannot be opened or written, or is damaged; so does every method.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._translate():
            self._db = sqlite3.connect(path, isolation_level=None)
            for pragma in ("journal_mode=TRUNCATE", "synchronous=FULL", "temp_store=MEMORY", "busy_timeout=5000"):
                self._db.execute(f"PRAGMA {pragma}")
            version = self._one("PRAGMA user_version")
            if version not in (0, _VERSION):
                raise StorageError(
                    f"ledger {path} is of version {version}, this edgedx reads {_VERSION}",
                    next_step="scan with the edgedx that wrote it, or give another --out",
                )
            self._db.executescript(_SCHEMA)
            self._db.execute(f"PRAGMA user_version={_VERSION}")

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def known(self, name: str, stat: Stat) -> bool:
        """Whether this very version of a file was received before, so that it need not be hashed again."""
        with self._translate():
            row = self._db.execute(
                "SELECT bytes, mtime_ns, inode FROM paths WHERE name = ?", (os.fsencode(name),)
            ).fetchone()
        return bool(row == (stat.bytes, stat.mtime_ns, stat.inode))

    def receive(self, arrivals: Iterable[Arrival]) -> int:
        """Record files in one commit; returns how many hold a content that is to be read.

        A content already done or refused needs no second reading, under whatever name. One that was quarantined and
        is there again was put back by somebody: it gets fresh attempts.
        """
        new = 0
        with self._transaction():
            for one in arrivals:
                name = os.fsencode(one.name)
                new += self._db.execute(
                    "INSERT INTO items (key, sha256, name, bytes) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
                    "status = 'received', attempts = 0, code = NULL, name = excluded.name "
                    "WHERE items.status = 'quarantined'",
                    (one.key, one.sha256, name, one.stat.bytes),
                ).rowcount
                self._db.execute(
                    "INSERT INTO paths VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
                    "bytes = excluded.bytes, mtime_ns = excluded.mtime_ns, inode = excluded.inode, key = excluded.key",
                    (name, one.stat.bytes, one.stat.mtime_ns, one.stat.inode, one.key),
                )
        return new

    def pending(self, limit: int, skip: Collection[str] = ()) -> list[Item]:
        """The oldest items that have no final status, without those whose key is in `skip`."""
        found: list[Item] = []
        with self._translate():
            for item in self._items("status IN ('received', 'claimed') ORDER BY sequence"):
                if item.key not in skip:
                    found.append(item)
                    if len(found) == limit:
                        break
        return found

    def claim(self, keys: Collection[str]) -> None:
        """Count an attempt for each, durably, before anything that could kill the process."""
        self._update("status = 'claimed', attempts = attempts + 1", keys)

    def release(self, keys: Collection[str]) -> None:
        """Give claims back uncounted: the scanner, not the file, was the reason that they were not read."""
        self._update("status = 'received', attempts = max(attempts - 1, 0)", keys)

    def forget_path(self, name: str) -> None:
        """Forget a path, so that what is there now is looked at anew."""
        with self._transaction():
            self._db.execute("DELETE FROM paths WHERE name = ?", (os.fsencode(name),))

    def finish(self, outcomes: Iterable[tuple[str, str, str | None]]) -> None:
        """Record (key, final status, reason code) in one commit. Call it only after the outputs are durable."""
        with self._transaction():
            for key, status, code in outcomes:
                if status not in FINAL:
                    raise ValueError(f"{status!r} is not a final status")
                self._db.execute("UPDATE items SET status = ?, code = ? WHERE key = ?", (status, code, key))

    def names(self, key: str) -> list[str]:
        """Paths that held this content when they were last looked at."""
        with self._translate():
            rows = self._db.execute("SELECT name FROM paths WHERE key = ? ORDER BY name", (key,)).fetchall()
        return [os.fsdecode(row[0]) for row in rows]

    def items(self, status: str | None = None) -> Iterator[Item]:
        """Everything, or what has one status, in order of arrival. Write nothing before the last one was taken."""
        with self._translate():
            if status is None:
                yield from self._items("1 ORDER BY sequence")
            else:
                yield from self._items("status = ? ORDER BY sequence", status)

    def counts(self) -> dict[str, int]:
        """Items by status; all statuses are present."""
        with self._translate():
            found = dict(self._db.execute("SELECT status, count(*) FROM items GROUP BY status").fetchall())
        return {status: int(found.get(status, 0)) for status in ("received", "claimed", *FINAL)}

    def check(self) -> str:
        """SQLite's own verdict on the file: ``ok``, or what is wrong."""
        with self._translate():
            return str(self._one("PRAGMA integrity_check"))

    def _one(self, statement: str) -> Any:
        return self._db.execute(statement).fetchone()[0]

    def _items(self, where: str, *arguments: str) -> Iterator[Item]:
        rows = self._db.execute(
            "SELECT sequence, key, sha256, name, bytes, status, attempts, code FROM items WHERE " + where, arguments
        )
        for sequence, key, sha256, name, *rest in rows:
            yield Item(sequence, key, sha256, os.fsdecode(name), *rest)

    def _update(self, change: str, keys: Collection[str]) -> None:
        with self._transaction():
            self._db.executemany(f"UPDATE items SET {change} WHERE key = ?", [(key,) for key in keys])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._translate():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")  # fails on a full disk, and SQLite may or may not have rolled back itself
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _translate(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StorageError(
                f"ledger {self.path}: {error}", next_step="check that its disk is local, writable and not full"
            ) from error
        except sqlite3.Error as error:
            raise StorageError(
                f"ledger {self.path} is damaged: {error}",
                next_step="move it away and start again: what is in the inbox is read anew, results are overwritten",
            ) from error
