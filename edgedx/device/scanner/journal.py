"""The ledger: every input the scanner ever saw and what became of it, in SQLite, before and after each step.

::

    received [-> claimed] -> done | refused | quarantined

What was decoded before it was received is not claimed (`early`).

A commit that returned survives power loss (`machine.database`). What a damaged ledger held is taken from the results
(`rebuild`).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from edgedx.core.result import result_key
from edgedx.device.clinic.worklist import FILL, LAYOUT, NOT_READ, SAID, Line
from edgedx.device.machine.database import Database

from .facts import Arrival, Finished, Item, Stat

# Names are bytes: a file name on Linux need not be UTF-8, and SQLite's text must be.
_ITEMS = """
CREATE TABLE items (
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
CREATE TABLE paths (
    name BLOB PRIMARY KEY,
    bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    ctime_ns INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX by_status ON items (bundle, status, sequence);
CREATE INDEX by_content ON paths (sha256);
CREATE INDEX by_digest ON items (sha256);
"""
_SCHEMA = _ITEMS + LAYOUT
_PLACE = "SELECT min(sequence) FROM items AS same WHERE same.sha256 = items.sha256"
"""Of an item, the order in which its content came first."""
FINAL = ("done", "refused", "quarantined")


class Journal(Database):
    """The ledger of one output folder, on a local disk, as one bundle sees it: another one reads everything anew.

    Parameters
    ----------
    path : Path
    bundle : str
        Digest of the bundle.

    Raises
    ------
    StorageError
        See `Database`; so does every method.
    """

    kind: ClassVar[str] = "ledger"
    version: ClassVar[int] = 3
    schema: ClassVar[str] = _SCHEMA
    first_table: ClassVar[str] = "items"
    # 0: not known, and then nothing is said against a file that is otherwise the same.
    upgrades: ClassVar[Mapping[int, str]] = MappingProxyType(
        {
            1: "ALTER TABLE paths ADD COLUMN ctime_ns INTEGER NOT NULL DEFAULT 0;"
            "CREATE INDEX by_digest ON items (sha256);",
            2: LAYOUT + FILL,
        }
    )
    remedy: ClassVar[str] = "start the scanner: it puts the file aside and makes it anew from the results"

    def __init__(self, path: Path, bundle: str, *, read_only: bool = False) -> None:
        self.bundle = bundle
        self._codes: dict[str, int] | None = None
        super().__init__(path, read_only=read_only, any_thread=read_only)

    def recall(self, name: str, stat: Stat) -> str | None:
        """SHA-256 of this very version of a file, where it was received before; it need not be hashed again."""
        with self._translate():
            row = self._db.execute(
                "SELECT sha256 FROM paths WHERE name = ? AND bytes = ? AND mtime_ns = ? AND inode = ? "
                "AND ctime_ns IN (0, ?)",
                (os.fsencode(name), stat.bytes, stat.mtime_ns, stat.inode, stat.ctime_ns),
            ).fetchone()
        return None if row is None else str(row[0])

    def has(self, key: str) -> bool:
        """Whether this content was received for this bundle."""
        with self._translate():
            return self._db.execute("SELECT 1 FROM items WHERE key = ?", (key,)).fetchone() is not None

    def is_answered(self, sha256: str) -> bool:
        """Whether any bundle has a final status for this content."""
        with self._translate():
            sql = f"SELECT 1 FROM items WHERE sha256 = ? AND status IN {FINAL}"
            return self._db.execute(sql, (sha256,)).fetchone() is not None

    def receive(self, arrivals: Iterable[Arrival]) -> int:
        """Record files in one commit; returns how many hold a content that is to be read.

        A content already done or refused needs no second reading, under whatever name. One that was quarantined and
        is there again was put back by somebody: it gets fresh attempts.
        """
        new, self._codes = 0, None
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
                    "INSERT OR REPLACE INTO paths (name, bytes, mtime_ns, inode, ctime_ns, sha256) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (name, one.stat.bytes, one.stat.mtime_ns, one.stat.inode, one.stat.ctime_ns, one.sha256),
                )
        return new

    def pending(self, limit: int, skip: Collection[str] = ()) -> list[Item]:
        """The oldest items that have no final status, without those whose key is in `skip`."""
        items: list[Item] = []
        with self._translate():
            for item in self._items("bundle = ? AND status IN ('received', 'claimed') ORDER BY sequence", self.bundle):
                if item.key not in skip:
                    items.append(item)
                    if len(items) == limit:
                        break
        return items

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

    def finish(
        self, outcomes: Iterable[tuple[str, str, str | None]], gone: Iterable[str] = (), lines: Iterable[Line] = ()
    ) -> None:
        """Record (key, final status, reason code) in one commit. Call it only after the outputs are durable.

        Parameters
        ----------
        gone : iterable of str
            Paths that were moved away; what comes to be there is looked at anew.
        lines : iterable of Line
            What the worklist says of them; of others it says the status alone, until `describe`.
        """
        said = {line.key: line for line in lines}
        self._codes = None
        with self._transaction():
            for key, status, code in outcomes:
                if status not in FINAL:
                    raise ValueError(f"{status!r} is not a final status")
                self._db.execute("UPDATE items SET status = ?, code = ? WHERE key = ?", (status, code, key))
                self._list(key, status, said.get(key))
            self._db.executemany("DELETE FROM paths WHERE name = ?", [(os.fsencode(name),) for name in gone])

    def restore(self, finished: Iterable[Finished]) -> int:
        """Record what results say that an earlier ledger knew, in one commit; returns how many."""
        count, self._codes = 0, None
        with self._transaction():
            for one in finished:
                taken = self._value("SELECT 1 FROM items WHERE sequence = ?", one.sequence)
                count += self._db.execute(
                    "INSERT OR IGNORE INTO items (sequence, key, sha256, bundle, name, bytes, status, code) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (None if taken else one.sequence, *one[1:4], os.fsencode(one.name), *one[5:]),
                ).rowcount
                self._list(one.key, one.status)
        return count

    def _list(self, key: str, status: str, line: Line | None = None) -> None:
        """The row that this content has in the worklist: a later bundle's result takes an earlier one's place."""
        found = self._db.execute(f"SELECT sequence, ({_PLACE}) FROM items WHERE key = ?", (key,)).fetchone()
        if found is None:
            return
        sequence, place = found
        bare = SAID if status == "done" else NOT_READ
        row = (bare, None, None, None, None) if line is None else line[1:6]
        self._db.execute(
            "INSERT OR REPLACE INTO worklist (place, sequence, look, label, created, day, draw) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (place, sequence, *row),
        )
        if line is not None and line.identifiers:
            rows = [(digest, place) for digest in line.identifiers]
            self._db.executemany("INSERT OR IGNORE INTO identifiers (digest, place) VALUES (?, ?)", rows)

    def _unlist(self, key: str) -> None:
        """Take away the row that shows this result, where one does: a later bundle's may have taken its place."""
        item = self._db.execute(
            f"SELECT sequence, ({_PLACE}) FROM items WHERE key = ? AND status IN {FINAL}", (key,)
        ).fetchone()
        if item is None:
            return
        row = self._db.execute("SELECT sequence, place FROM worklist WHERE place = ?", item[1:]).fetchone()
        if row is None:  # the item that the row has its place from was forgotten before this one: that is rare
            row = self._db.execute("SELECT sequence, place FROM worklist WHERE sequence = ?", item[:1]).fetchone()
        if row is not None and row[0] == item[0]:
            self._db.execute("DELETE FROM identifiers WHERE place = ?", row[1:])
            self._db.execute("DELETE FROM worklist WHERE place = ?", row[1:])

    def undescribed(self, limit: int) -> list[str]:
        """Keys of results of which the worklist says the status alone, the newest first."""
        with self._translate():
            rows = self._db.execute(
                "SELECT key FROM worklist JOIN items USING (sequence) WHERE created IS NULL "
                "ORDER BY place DESC LIMIT ?",
                (limit,),
            ).fetchall()
        return [str(row[0]) for row in rows]

    def describe(self, lines: Iterable[Line], unreadable: Iterable[str] = ()) -> None:
        """Complete rows of the worklist; of results that cannot be read the status is all that will be said."""
        with self._transaction():
            self._db.executemany(
                f"UPDATE worklist SET created = '' WHERE place = (SELECT ({_PLACE}) FROM items WHERE key = ?)",
                [(key,) for key in unreadable],
            )
            for line in lines:
                self._db.execute(
                    "UPDATE worklist SET look = ?, label = ?, created = ?, day = ?, draw = ? "
                    f"WHERE place = (SELECT ({_PLACE}) FROM items WHERE key = ?)",
                    (*line[1:6], line.key),
                )

    def left_in_inbox(self) -> list[tuple[str, str, str]]:
        """Files that could not be read and not be moved into quarantine either: name, key, SHA-256 of the content."""
        with self._translate():
            rows = self._db.execute(
                "SELECT paths.name, key, paths.sha256 FROM paths JOIN items ON items.sha256 = paths.sha256 "
                "AND items.bundle = ? AND items.status = 'quarantined' ORDER BY sequence",
                (self.bundle,),
            ).fetchall()
        return [(os.fsdecode(name), str(key), str(sha256)) for name, key, sha256 in rows]

    def unknown_statuses(self) -> int:
        """Items whose status is none: SQLite's checks look at a page's form, not at what is written in it."""
        with self._translate():
            statuses = ("received", "claimed", *FINAL)
            return int(self._value(f"SELECT count(*) FROM items WHERE status NOT IN {statuses} OR length(key) != 64"))

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
            return int(self._value(f"SELECT count(*) FROM items WHERE status IN {FINAL}"))

    def counts(self) -> dict[str, int]:
        """Items of all bundles by status; all statuses are present."""
        with self._translate():
            counts = dict(self._db.execute("SELECT status, count(*) FROM items GROUP BY status").fetchall())
        return {status: int(counts.get(status, 0)) for status in ("received", "claimed", *FINAL)}

    def codes(self) -> dict[str, int]:
        """Results of all bundles, by status and reason code: ``"done "``, ``"refused MODALITY"`` ...

        Counted when they changed: the work loop asks all the time, and there may be a million.
        """
        if self._codes is None:
            with self._translate():
                rows = self._db.execute(
                    "SELECT status, coalesce(code, ''), count(*) FROM items "
                    f"WHERE status IN {FINAL} GROUP BY 1, 2 ORDER BY 1, 2"
                ).fetchall()
            self._codes = {f"{status} {code}": int(count) for status, code, count in rows}
        return dict(self._codes)

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
        self._codes = None
        forgotten = [(key,) for key in keys]
        with self._transaction():
            for one in forgotten:
                self._unlist(*one)
            self._db.executemany(f"DELETE FROM items WHERE key = ? AND status IN {FINAL}", forgotten)
            self._db.executemany("DELETE FROM paths WHERE name = ?", [(os.fsencode(name),) for name in names])

    def _items(self, where: str, *arguments: str) -> Iterator[Item]:
        rows = self._db.execute(
            "SELECT sequence, key, sha256, name, bytes, status, attempts, code FROM items WHERE " + where, arguments
        )
        for sequence, key, sha256, name, *rest in rows:
            yield Item(sequence, key, sha256, os.fsdecode(name), *rest)

    def _update(self, change: str, keys: Collection[str], only: str = "") -> None:
        if not keys:
            return
        with self._transaction():
            self._db.executemany(f"UPDATE items SET {change} WHERE key = ? {only}", [(key,) for key in keys])
