"""The worklist, out of the scanner's ledger: opened read-only, read in moments, so that the scanner never waits.

A page of the list begins at a place and goes back in time ("keyset paging"): the ten-thousandth page costs what the
first one does. What a person may not see yet (a blind read) is in every list where it could be: whether it is there
tells nothing.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from edgedx.core.errors import StorageError
from edgedx.device.clinic.answers import ANSWERS
from edgedx.device.clinic.worklist import LOOK, NOT_READ, SAID
from edgedx.device.scanner.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Iterator

LEDGER = "journal.sqlite"
Show = Literal["all", "look", "unread", "unanswered"]
SHOWS: tuple[str, ...] = get_args(Show)
PAGE = 25
"""Rows of one page."""
WINDOW = 1000
"""Images that are looked through at a time for those without this person's answer: the list then goes on by a link."""
_MOST_DRAWN = 200
"""The same, of those that are read blind."""
_BUSY_MS = 2000


class Row(NamedTuple):
    """One line of the worklist, as the ledger has it.

    Attributes
    ----------
    place : int
        Order of arrival.
    key, sha256, bundle : str
        Of the result, of the content, of the bundle.
    name : str
        Of the file, relative to the inbox; bytes that are no UTF-8 are surrogates.
    status : str
        ``done``, ``refused`` or ``quarantined``.
    code : str, optional
        Why it has no answer.
    look : int
        See `clinic.worklist`.
    label : str, optional
        Of the model.
    created : str
        ISO 8601 UTC; empty where it is not known yet.
    draw : float
        See `clinic.answers.drawn`; 1 where it is not known yet.
    """

    place: int
    key: str
    sha256: str
    bundle: str
    name: str
    status: str
    code: str | None
    look: int
    label: str | None
    created: str
    draw: float


@dataclass(frozen=True)
class Listing:
    """One page of the worklist.

    Attributes
    ----------
    rows : list of Row
        Newest first.
    older : int, optional
        Where the next page begins; None at the end.
    """

    rows: list[Row]
    older: int | None


_ROW = (
    "place, key, sha256, bundle, name, status, code, look, label, coalesce(created, ''), "
    "coalesce(draw, 1.0) FROM worklist JOIN items USING (sequence)"
)


class Ledger:
    """The scanner's ledger, to look at; one for the page, used by any thread.

    Parameters
    ----------
    out : Path
    share : float
        Of blind reads.
    """

    def __init__(self, out: Path, share: float) -> None:
        self._path, self._answers, self._share = out / LEDGER, out / ANSWERS, share
        self._lock = RLock()
        self._open: _Opened | None = None
        self._identity: tuple[int, int] | None = None
        self._has_answers = False

    def page(self, show: Show, person: str, *, day: str | None = None, before: int | None = None) -> Listing:
        """One page.

        Parameters
        ----------
        show : str
            ``look``: those to look at, with all that this person is to answer blind; ``unread``: those without an
            answer of the model; ``unanswered``: those that this person has not answered.
        day : str, optional
            ``YYYY-MM-DD`` by the box's time zone.
        before : int, optional
            `Listing.older` of the page before.

        Raises
        ------
        StorageError
            There is no ledger, or it cannot be read.
        """
        with self._reading() as db:
            if day is not None:
                first, last = db.execute("SELECT min(place), max(place) FROM worklist WHERE day = ?", (day,)).fetchone()
                if first is None:
                    return Listing([], None)
                before = min(before or last + 1, last + 1)
            else:
                first = 0
            newest = db.execute("SELECT max(place) FROM worklist").fetchone()[0]
            if newest is None:
                return Listing([], None)
            before = min(before or newest + 1, newest + 1)
            which = "place < :before AND place >= :first" + (" AND day = :day" if day else "")
            values = {"before": before, "first": first, "day": day, "person": person, "share": self._share}
            if show == "unanswered":
                return self._unanswered(db, which, values, first)
            if show == "look":
                return self._to_look_at(db, which, values)
            only = f" AND look > 0 AND look = {NOT_READ}" if show == "unread" else ""
            found = _rows(db, f"SELECT {_ROW} WHERE {which}{only} ORDER BY place DESC LIMIT {PAGE + 1}", values)
            return _listing(found)

    def _unanswered(self, db: sqlite3.Connection, which: str, values: dict[str, Any], first: int) -> Listing:
        low = max(first, values["before"] - WINDOW)
        found = _rows(
            db,
            f"SELECT {_ROW} WHERE {which} AND place >= :low AND look != {NOT_READ} AND {self._not_answered()} "
            f"ORDER BY place DESC LIMIT {PAGE + 1}",
            {**values, "low": low},
        )
        lowest = db.execute("SELECT min(place) FROM worklist").fetchone()[0]
        return _listing(found, low if low > max(first, lowest) else None)

    def _to_look_at(self, db: sqlite3.Connection, which: str, values: dict[str, Any]) -> Listing:
        drawn = f"{which} AND look != {NOT_READ} AND draw < :share"
        drawn += " AND draw < 0.05" if self._share <= 0.05 else ""  # there is an index for that
        end = db.execute(
            f"SELECT place FROM worklist WHERE {drawn} ORDER BY place DESC LIMIT 1 OFFSET {_MOST_DRAWN}", values
        ).fetchone()
        values["low"] = 0 if end is None else end[0]
        # One index for each kind; an ORDER BY over both would sort all of them.
        tail = f"place >= :low ORDER BY place DESC LIMIT {PAGE + 1}"
        said = [
            row
            for kind in (LOOK, SAID)
            for row in _rows(db, f"SELECT {_ROW} WHERE {which} AND look > 0 AND look = {kind} AND {tail}", values)
        ]
        found = {row.place: row for row in said}
        if len(found) > PAGE:
            values["low"] = sorted(found, reverse=True)[PAGE]
        blind = _rows(db, f"SELECT {_ROW} WHERE {drawn} AND {self._not_answered()} AND {tail}", values)
        found |= {row.place: row for row in blind}
        return _listing([found[place] for place in sorted(found, reverse=True)], end and end[0])

    def _not_answered(self) -> str:
        if not self._has_answers:
            return "1"
        return "NOT EXISTS (SELECT 1 FROM told.answers AS said WHERE said.key = items.key AND said.person = :person)"

    def row(self, key: str) -> Row | None:
        """The line of a result, by its key or the first 32 characters of that; of an earlier bundle's too."""
        with self._reading() as db:
            found = db.execute(
                "SELECT coalesce(place, 0), key, sha256, bundle, name, status, code, "
                "CASE WHEN items.sequence = worklist.sequence THEN look WHEN status = 'done' THEN 2 ELSE 3 END, "
                "label, coalesce(created, ''), coalesce(draw, 1.0) FROM items LEFT JOIN worklist ON worklist.place = "
                "(SELECT min(sequence) FROM items AS same WHERE same.sha256 = items.sha256) "
                "AND worklist.sequence = items.sequence "
                "WHERE key >= ? AND key < ? AND status NOT IN ('received', 'claimed')",
                (key, key + "g"),
            ).fetchone()
        return None if found is None else _row(found)

    def of_contents(self, sha256s: Iterable[str]) -> dict[str, Row]:
        """The newest line of each of these contents, by its hash; those that have none are left out."""
        with self._reading() as db:
            found = [
                db.execute(f"SELECT {_ROW} WHERE sha256 = ? ORDER BY sequence DESC LIMIT 1", (one,)).fetchone()
                for one in sha256s
            ]
        return {row.sha256: row for row in map(_row, filter(None, found))}

    def found_by(self, digest: bytes) -> list[Row]:
        """Images of one patient ID or accession number, by its digest (`decode.search`)."""
        with self._reading() as db:
            sql = f"SELECT {_ROW} WHERE place IN (SELECT place FROM identifiers WHERE digest = ?) "
            return _rows(db, sql + "ORDER BY place DESC LIMIT 200", (digest,))

    def named(self, name: str) -> list[Row]:
        """Images whose file is called so, exactly."""
        with self._reading() as db:
            places = "SELECT sha256 FROM paths WHERE name = ?"
            sql = f"SELECT {_ROW} WHERE sha256 IN ({places}) ORDER BY place DESC LIMIT 200"
            return _rows(db, sql, (os.fsencode(name),))

    def files_of(self, sha256: str) -> list[str]:
        """Paths, relative to the inbox, that held a content when they were last looked at."""
        with self._reading() as db:
            rows = db.execute("SELECT name FROM paths WHERE sha256 = ? ORDER BY name", (sha256,)).fetchall()
        return [os.fsdecode(row[0]) for row in rows]

    def days(self, most: int = 31) -> list[str]:
        """Days on which images came, the newest first."""
        found: list[str] = []
        with self._reading() as db:
            day = db.execute("SELECT max(day) FROM worklist").fetchone()[0]
            while day and len(found) < most:
                found.append(str(day))
                day = db.execute("SELECT max(day) FROM worklist WHERE day < ?", (day,)).fetchone()[0]
        return found

    def waiting(self) -> int:
        """Images that were received and have no result yet."""
        with self._reading() as db:
            sql = "SELECT count(*) FROM items WHERE bundle = ? AND status IN ('received', 'claimed')"
            bundles = [row[0] for row in db.execute("SELECT bundle FROM items ORDER BY sequence DESC LIMIT 1")]
            return sum(int(db.execute(sql, (bundle,)).fetchone()[0]) for bundle in bundles)

    def version(self) -> tuple[int, int]:
        """Another value whenever something may have changed; takes no lock."""
        try:
            facts = os.stat(self._path)
        except OSError:
            return 0, 0
        return facts.st_mtime_ns, facts.st_size

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._open is not None:
                self._open.close()
                self._open = None

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection()
            except sqlite3.Error as error:
                self.close()  # a journal that a kill left, or a ledger that was made anew: opened again by the next
                raise StorageError(
                    f"the ledger cannot be read now: {error}", next_step="try again; see `edgedx scan status`"
                ) from error
            except StorageError:
                self.close()
                raise

    def _connection(self) -> sqlite3.Connection:
        identity = None
        with suppress(OSError):
            facts = os.stat(self._path)
            identity = (facts.st_dev, facts.st_ino)
        if self._open is None or identity != self._identity:
            self.close()
            self._open, self._identity, self._has_answers = _Opened(self._path), identity, False
        if not self._has_answers and self._answers.exists():
            self._open.db.execute("ATTACH ? AS told", (f"{self._answers.absolute().as_uri()}?mode=ro",))
            self._has_answers = True
        return self._open.db


class _Opened(Journal):
    """The ledger as `Database` opens it to look: what a kill cut off is seen as it was before."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "", read_only=True)
        self.db = self._db
        self.db.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
        if self._known_version() < self.version:
            self.close()
            raise StorageError(
                f"the ledger {path} is of an earlier edgedx", next_step="start the scanner of this edgedx once"
            )


def _listing(found: list[Row], end: int | None = None) -> Listing:
    """A page of what was found; `end`: where the search ended before it had found a page."""
    return Listing(found[:PAGE], found[PAGE - 1].place if len(found) > PAGE else end)


def _rows(db: sqlite3.Connection, sql: str, values: Any) -> list[Row]:
    return [_row(found) for found in db.execute(sql, values).fetchall()]


def _row(found: tuple[Any, ...]) -> Row:
    row = Row(*found)
    return row._replace(name=os.fsdecode(row.name))
