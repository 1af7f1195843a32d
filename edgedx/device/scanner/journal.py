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
from pathlib import Path
from typing import Any

from edgedx.core.errors import StorageError
from edgedx.core.result import result_key

from .facts import Arrival, Item, Stat

# Names are bytes: a file name on Linux need not be UTF-8, and SQLite's text must be.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    sha256 TEXT NOT NULL,
    bundle TEXT NOT NULL,
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
    sha256 TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_status ON items (bundle, status, sequence);
CREATE INDEX IF NOT EXISTS by_content ON paths (sha256);
"""
_VERSION = 1
FINAL = ("done", "refused", "quarantined")


class Journal:
    """The ledger of one output folder, on a local disk, as one bundle sees it: another one reads everything anew.

    Parameters
    ----------
    path : Path
    bundle : str
        Digest of the bundle.

    Raises
    ------
    StorageError
        The database cannot be opened or written, or is damaged; so does every method.
    """

    def __init__(self, path: Path, bundle: str) -> None:
        self.path, self.bundle = path, bundle
        with self._translate():
            self._db = sqlite3.connect(path, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    def _prepare(self) -> None:
        for pragma in ("journal_mode=TRUNCATE", "synchronous=FULL", "temp_store=MEMORY", "busy_timeout=5000"):
            self._db.execute(f"PRAGMA {pragma}")
        version = self._one("PRAGMA user_version")
        if version == _VERSION:  # nothing is written: a scanner must start on a full disk, and wait
            return
        if version != 0:
            raise StorageError(
                f"ledger {self.path} is of version {version}, this edgedx reads {_VERSION}",
                next_step="scan with the edgedx that wrote it, or give another --out",
            )
        self._db.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version={_VERSION};COMMIT;")

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def recall(self, name: str, stat: Stat) -> str | None:
        """SHA-256 of this very version of a file, where it was received before; it need not be hashed again."""
        with self._translate():
            row = self._db.execute(
                "SELECT sha256 FROM paths WHERE name = ? AND bytes = ? AND mtime_ns = ? AND inode = ?",
                (os.fsencode(name), stat.bytes, stat.mtime_ns, stat.inode),
            ).fetchone()
        return None if row is None else str(row[0])

    def has(self, key: str) -> bool:
        """Whether this content was received for this bundle."""
        with self._translate():
            return self._db.execute("SELECT 1 FROM items WHERE key = ?", (key,)).fetchone() is not None

    def receive(self, arrivals: Iterable[Arrival]) -> int:
        """Record files in one commit; returns how many hold a content that is to be read.

        A content already done or refused needs no second reading, under whatever name. One that was quarantined and
        is there again was put back by somebody: it gets fresh attempts.
        """
        new = 0
        with self._transaction():
            for one in arrivals:
                name, key = os.fsencode(one.name), result_key(one.sha256, self.bundle)
                revived = self._db.execute(
                    "UPDATE items SET status = 'received', attempts = 0, code = NULL, name = ? "
                    "WHERE key = ? AND status = 'quarantined'",
                    (name, key),
                ).rowcount
                inserted = self._db.execute(  # ON CONFLICT DO NOTHING would use up a sequence number
                    "INSERT INTO items (key, sha256, bundle, name, bytes) SELECT ?, ?, ?, ?, ? "
                    "WHERE NOT EXISTS (SELECT 1 FROM items WHERE key = ?)",
                    (key, one.sha256, self.bundle, name, one.stat.bytes, key),
                ).rowcount
                new += revived + inserted
                self._db.execute(
                    "INSERT INTO paths VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
                    "bytes = excluded.bytes, mtime_ns = excluded.mtime_ns, inode = excluded.inode, "
                    "sha256 = excluded.sha256",
                    (name, one.stat.bytes, one.stat.mtime_ns, one.stat.inode, one.sha256),
                )
        return new

    def pending(self, limit: int, skip: Collection[str] = ()) -> list[Item]:
        """The oldest items that have no final status, without those whose key is in `skip`."""
        found: list[Item] = []
        with self._translate():
            for item in self._items("bundle = ? AND status IN ('received', 'claimed') ORDER BY sequence", self.bundle):
                if item.key not in skip:
                    found.append(item)
                    if len(found) == limit:
                        break
        return found

    def count_pending(self) -> int:
        """Items of this bundle that have no final status."""
        with self._translate():
            return int(
                self._db.execute(
                    "SELECT count(*) FROM items WHERE bundle = ? AND status IN ('received', 'claimed')", (self.bundle,)
                ).fetchone()[0]
            )

    def claim(self, keys: Collection[str]) -> None:
        """Count an attempt for each, durably, before anything that could kill the process."""
        self._update("status = 'claimed', attempts = attempts + 1", keys)

    def release(self, keys: Collection[str]) -> None:
        """Give claims back uncounted: the scanner, not the file, was the reason that they were not read."""
        self._update("status = 'received', attempts = max(attempts - 1, 0)", keys, "AND status = 'claimed'")

    def acquit(self, keys: Collection[str]) -> None:
        """Forget the attempts of claims that were read and answered: what ends the scanner now is not their fault."""
        self._update("status = 'received', attempts = 0", keys, "AND status = 'claimed'")

    def finish(self, outcomes: Iterable[tuple[str, str, str | None]], gone: Iterable[str] = ()) -> None:
        """Record (key, final status, reason code) in one commit. Call it only after the outputs are durable.

        Parameters
        ----------
        gone : iterable of str
            Paths that were moved away; what comes to be there is looked at anew.
        """
        with self._transaction():
            for key, status, code in outcomes:
                if status not in FINAL:
                    raise ValueError(f"{status!r} is not a final status")
                self._db.execute("UPDATE items SET status = ?, code = ? WHERE key = ?", (status, code, key))
            self._db.executemany("DELETE FROM paths WHERE name = ?", [(os.fsencode(name),) for name in gone])

    def names(self, sha256: str) -> list[str]:
        """Paths that held this content when they were last looked at."""
        with self._translate():
            rows = self._db.execute("SELECT name FROM paths WHERE sha256 = ? ORDER BY name", (sha256,)).fetchall()
        return [os.fsdecode(row[0]) for row in rows]

    def items(self, status: str | None = None) -> Iterator[Item]:
        """What this bundle has read or is to read, or what of it has one status, in order of arrival."""
        with self._translate():
            if status is None:
                yield from self._items("bundle = ? ORDER BY sequence", self.bundle)
            else:
                yield from self._items("bundle = ? AND status = ? ORDER BY sequence", self.bundle, status)

    def finished(self) -> Iterator[str]:
        """Keys of all results, of all bundles, in order of arrival."""
        with self._translate():
            for row in self._db.execute(f"SELECT key FROM items WHERE status IN {FINAL} ORDER BY sequence"):
                yield row[0]

    def count_finished(self) -> int:
        """How many keys `finished` gives."""
        with self._translate():
            return int(self._one(f"SELECT count(*) FROM items WHERE status IN {FINAL}"))

    def counts(self) -> dict[str, int]:
        """Items of all bundles by status; all statuses are present."""
        with self._translate():
            found = dict(self._db.execute("SELECT status, count(*) FROM items GROUP BY status").fetchall())
        return {status: int(found.get(status, 0)) for status in ("received", "claimed", *FINAL)}

    def codes(self) -> dict[str, int]:
        """Results of all bundles, by status and reason code: ``"done "``, ``"refused MODALITY"`` ..."""
        with self._translate():
            rows = self._db.execute(
                "SELECT status, coalesce(code, ''), count(*) FROM items "
                f"WHERE status IN {FINAL} GROUP BY 1, 2 ORDER BY 1, 2"
            ).fetchall()
        return {f"{status} {code}": int(count) for status, code, count in rows}

    def answers(self) -> Iterator[tuple[str, str, str, str | None]]:
        """Key, content hash, status and reason code of every result, of all bundles."""
        with self._translate():
            yield from self._db.execute(f"SELECT key, sha256, status, code FROM items WHERE status IN {FINAL}")

    def is_pending(self, sha256: str) -> bool:
        """Whether any bundle has yet to read this content."""
        with self._translate():
            sql = f"SELECT 1 FROM items WHERE sha256 = ? AND status NOT IN {FINAL}"
            return self._db.execute(sql, (sha256,)).fetchone() is not None

    def forget(self, keys: Iterable[str], names: Iterable[str]) -> None:
        """Drop results and paths, as if they had never been: a content that comes again is read anew."""
        with self._transaction():
            self._db.executemany(f"DELETE FROM items WHERE key = ? AND status IN {FINAL}", [(key,) for key in keys])
            self._db.executemany("DELETE FROM paths WHERE name = ?", [(os.fsencode(name),) for name in names])

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

    def _update(self, change: str, keys: Collection[str], only: str = "") -> None:
        with self._transaction():
            self._db.executemany(f"UPDATE items SET {change} WHERE key = ? {only}", [(key,) for key in keys])

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
