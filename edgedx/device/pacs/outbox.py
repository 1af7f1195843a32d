"""The outbox: which objects a PACS is to get and what became of each, in SQLite; and the rules for trying again.

::

    queued -> sent
           -> failed   (an answer that the same object would get again; kept, shown, retried only when asked)

An association that cannot be had is no object's fault: it costs a pause, and no object an attempt.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from edgedx.device.machine.database import Database

LONGEST_PAUSE = 300.0
MAX_ATTEMPTS = 8  # answers of "processing failure", which may pass or not
REMEMBERED = 20_000  # sent objects whose rows are kept, so that a replay does not make and send them again

SendOutcome = Literal["sent", "again", "pause", "failed"]

_SCHEMA = """
CREATE TABLE objects (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    uid TEXT NOT NULL UNIQUE,
    file TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued',
    attempts INTEGER NOT NULL DEFAULT 0,
    code TEXT
);
CREATE INDEX by_state ON objects (state, attempts, sequence);
"""


@dataclass(frozen=True)
class QueuedObject:
    """One object to send.

    Attributes
    ----------
    uid : str
        SOP Instance UID.
    file : str
        Name in the folder of the outbox.
    code : str, optional
        What the last attempt gave: ``0x0110``, ``NO_ANSWER``, ``NO_CONTEXT``, ``FILE_GONE``.
    """

    sequence: int
    uid: str
    file: str
    bytes: int
    state: str
    attempts: int
    code: str | None


class Outbox(Database):
    """The queue of one output folder (see `Database`). Several processes may have it open."""

    kind: ClassVar[str] = "outbox"
    schema: ClassVar[str] = _SCHEMA
    first_table: ClassVar[str] = "objects"
    remedy: ClassVar[str] = "move it away: it is made anew; objects beside it that were not sent are yours to send"

    def add(self, uid: str, file: str, size: int) -> bool:
        """Queue an object whose file is durable; False where it was queued before."""
        with self._translate():
            sql = "INSERT OR IGNORE INTO objects (uid, file, bytes) VALUES (?, ?, ?)"
            return self._db.execute(sql, (uid, file, size)).rowcount == 1

    def knows(self, uid: str) -> bool:
        """Whether an object was ever queued, as far as that is remembered."""
        with self._translate():
            return self._db.execute("SELECT 1 FROM objects WHERE uid = ?", (uid,)).fetchone() is not None

    def next(self, count: int) -> list[QueuedObject]:
        """Queued objects, least tried first, so that one that the PACS chokes on does not stop the others."""
        return self._objects("WHERE state = 'queued' ORDER BY attempts, sequence LIMIT ?", count)

    def failed(self, limit: int = 1000) -> list[QueuedObject]:
        """Objects that are not tried any more."""
        return self._objects("WHERE state = 'failed' ORDER BY sequence LIMIT ?", limit)

    def settle(self, queued: QueuedObject, outcome: SendOutcome, code: str) -> None:
        """Record an attempt."""
        state = outcome if outcome in ("sent", "failed") else "queued"
        with self._translate():
            sql = "UPDATE objects SET state = ?, attempts = attempts + ?, code = ? WHERE uid = ?"
            self._db.execute(sql, (state, int(outcome != "pause"), code, queued.uid))

    def forget(self) -> None:
        """Drop rows of objects that were sent long ago: the disk is bounded."""
        with self._translate():
            self._db.execute(
                "DELETE FROM objects WHERE state = 'sent' AND sequence <= (SELECT max(sequence) FROM objects) - ?",
                (REMEMBERED,),
            )

    def retry(self) -> int:
        """Queue what failed again; returns how many."""
        with self._translate():
            return self._db.execute("UPDATE objects SET state = 'queued', attempts = 0 WHERE state = 'failed'").rowcount

    def counts(self) -> dict[str, int]:
        """Objects by state, and the bytes of what is queued."""
        with self._translate():
            rows = self._db.execute("SELECT state, count(*), sum(bytes) FROM objects GROUP BY state").fetchall()
        found = {str(state): (int(count), int(size)) for state, count, size in rows}
        counts = {state: found.get(state, (0, 0))[0] for state in ("queued", "sent", "failed")}
        return {**counts, "queued_bytes": found.get("queued", (0, 0))[1]}

    def _objects(self, clause: str, limit: int) -> list[QueuedObject]:
        with self._translate():
            columns = "sequence, uid, file, bytes, state, attempts, code"
            return [QueuedObject(*row) for row in self._db.execute(f"SELECT {columns} FROM objects {clause}", (limit,))]


def folder_of(out: Path) -> Path:
    """Where the DICOM objects of an output folder are."""
    return out / "dicom"


def pause(failures: int, dice: float) -> float:
    """Seconds before the next association after so many that failed in a row.

    Doubles from 1 s to 300 s; a random half of it is left out, so that many devices do not come back at once.

    Parameters
    ----------
    dice : float
        0 to 1.
    """
    return min(LONGEST_PAUSE, 2.0 ** min(failures - 1, 20)) * (0.5 + 0.5 * dice)


def outcome_of(status: int | None, attempts: int) -> tuple[SendOutcome, str]:
    """What a C-STORE response means (PS3.4 B.2.3, PS3.7 annex C).

    Parameters
    ----------
    status : int, optional
        None where the association ended without an answer.
    attempts : int
        Of this object before this one.

    Returns
    -------
    tuple
        ``sent``; ``again``, others first; ``pause``, the PACS needs time; or ``failed`` for good; and the code.
    """
    if status is None:
        return "again", "NO_ANSWER"
    code = f"0x{status:04X}"
    # 0xB000, 0xB006, 0xB007: stored, with a remark. 0x0111: it has that instance already, which is ours.
    if status in (0x0000, 0x0107, 0x0111, 0x0116) or status >> 12 == 0xB:
        return "sent", code
    if status >> 8 == 0xA7:  # out of resources
        return "pause", code
    if status in (0x0110, 0x0213):  # processing failure, resource limitation
        return ("again" if attempts + 1 < MAX_ATTEMPTS else "failed"), code
    return "failed", code


def counts_of(out: Path) -> dict[str, Any] | None:
    """Counts of an output folder's outbox, for status; None where nothing was ever queued."""
    path = folder_of(out) / "outbox.sqlite"
    if not path.is_file():
        return None
    outbox = Outbox(path, read_only=True)
    try:
        return outbox.counts()
    finally:
        outbox.close()
