"""The ledger: every input the scanner ever saw and what became of it, in SQLite, before and after each step.

::

    received -> claimed -> done | refused | quarantined

``synchronous=FULL`` with a rollback journal: a commit that returned survives power loss (WAL with NORMAL does not).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import StorageError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    sha256 TEXT NOT NULL,
    name TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'received',
    attempts INTEGER NOT NULL DEFAULT 0,
    code TEXT
);
CREATE TABLE IF NOT EXISTS paths (
    name TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    key TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_status ON items (status, sequence);
CREATE INDEX IF NOT EXISTS by_key ON paths (key);
"""
FINAL = ("done", "refused", "quarantined")


@dataclass(frozen=True)
class Stat:
    """What tells one version of a file from another without reading it."""

    bytes: int
    mtime_ns: int
    inode: int


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
        The database cannot be opened or written, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._translate():
            self._db = sqlite3.connect(path, isolation_level=None)
            for pragma in ("journal_mode=TRUNCATE", "synchronous=FULL", "temp_store=MEMORY", "busy_timeout=5000"):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def known(self, name: str, stat: Stat) -> bool:
        """Whether this very version of a file was received before, so that it need not be hashed again."""
        row = self._db.execute("SELECT bytes, mtime_ns, inode FROM paths WHERE name = ?", (name,)).fetchone()
        return bool(row == (stat.bytes, stat.mtime_ns, stat.inode))

    def receive(self, name: str, stat: Stat, sha256: str, key: str) -> bool:
        """Record a file; False when the same content was received before, under whatever name."""
        with self._transaction():
            new = self._db.execute(
                "INSERT INTO items (key, sha256, name, bytes) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
                (key, sha256, name, stat.bytes),
            ).rowcount
            self._db.execute(
                "INSERT INTO paths VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
                "bytes = excluded.bytes, mtime_ns = excluded.mtime_ns, inode = excluded.inode, key = excluded.key",
                (name, stat.bytes, stat.mtime_ns, stat.inode, key),
            )
        return bool(new)

    def pending(self, limit: int) -> list[Item]:
        """The oldest items that have no final status."""
        return self._items("status IN ('received', 'claimed') ORDER BY sequence LIMIT ?", limit)

    def claim(self, key: str) -> int:
        """Count an attempt, durably, before anything that could kill the process; returns the attempts so far."""
        with self._transaction():
            self._db.execute("UPDATE items SET status = 'claimed', attempts = attempts + 1 WHERE key = ?", (key,))
        return int(self._db.execute("SELECT attempts FROM items WHERE key = ?", (key,)).fetchone()[0])

    def release(self, key: str) -> None:
        """Give a claim back uncounted: the file changed or went away before it was read."""
        with self._transaction():
            self._db.execute(
                "UPDATE items SET status = 'received', attempts = max(attempts - 1, 0) WHERE key = ?", (key,)
            )

    def forget_path(self, name: str) -> None:
        """Forget a path, so that what is there now is looked at anew."""
        with self._transaction():
            self._db.execute("DELETE FROM paths WHERE name = ?", (name,))

    def finish(self, key: str, status: str, code: str | None = None) -> None:
        """Record a final status. Call it only after the outputs are durable."""
        assert status in FINAL
        with self._transaction():
            self._db.execute("UPDATE items SET status = ?, code = ? WHERE key = ?", (status, code, key))

    def names(self, key: str) -> list[str]:
        """Paths that hold this content."""
        return [row[0] for row in self._db.execute("SELECT name FROM paths WHERE key = ? ORDER BY name", (key,))]

    def items(self) -> list[Item]:
        """Everything, in order of arrival."""
        return self._items("1 ORDER BY sequence")

    def counts(self) -> dict[str, int]:
        """Items by status; all statuses are present."""
        found = dict(self._db.execute("SELECT status, count(*) FROM items GROUP BY status").fetchall())
        return {status: int(found.get(status, 0)) for status in ("received", "claimed", *FINAL)}

    def _items(self, where: str, *arguments: int) -> list[Item]:
        with self._translate():
            rows = self._db.execute(
                "SELECT sequence, key, sha256, name, bytes, status, attempts, code FROM items WHERE " + where, arguments
            ).fetchall()
        return [Item(*row) for row in rows]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._translate():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _translate(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StorageError(
                f"ledger {self.path}: {error}", next_step="check that its disk is local, writable and not full"
            ) from error
