"""What people at the clinic say to an image, beside what the model says: ``OUT/answers.sqlite``, written by the page.

Every version is kept: an answer that is changed is a new row that names the one it replaces. Of a share of the images,
drawn by the content's hash so that nobody can choose, a person answers before the model's answer is shown ("blind").
Those answers alone tell how good the model is at this site: a reader who has seen the model's answer follows it too
often (Dratsch and others, Radiology 2023, 307(4):e222176).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, get_args

from edgedx.core.files import sync_folder
from edgedx.device.machine.database import Database

ANSWERS = "answers.sqlite"
BLIND_SHARE = 0.05
Verdict = Literal["agree", "disagree", "cannot_tell"]
VERDICTS: tuple[str, ...] = get_args(Verdict)
REASONS = ("missed", "overcalled", "wrong_place", "poor_image", "known_before", "other")
"""Why a person says otherwise; ``poor_image`` and ``other`` go with any verdict."""
LONGEST_NOTE = 2000
"""Characters of the free text."""

_SCHEMA = f"""
CREATE TABLE answers (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    bundle TEXT NOT NULL,
    person TEXT NOT NULL,
    time TEXT NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN {VERDICTS}),
    label TEXT,
    shown TEXT,
    blind INTEGER NOT NULL CHECK (blind IN (0, 1)),
    reason TEXT,
    note TEXT,
    replaces INTEGER REFERENCES answers (sequence)
);
CREATE INDEX answers_by_key ON answers (key, person, sequence);
"""
_COLUMNS = "sequence, key, sha256, bundle, person, time, verdict, label, shown, blind, reason, note, replaces"
_FEW = 500  # keys of one statement: SQLite takes at least 999 variables


class Answer(NamedTuple):
    """One version of what one person said to one result.

    Attributes
    ----------
    sequence : int
        Order in which answers came; the clock may be wrong.
    key, sha256, bundle : str
        Of the result, of the image's content, of the bundle that read it.
    person : str
        Name of the user on the box.
    time : str
        ISO 8601 UTC.
    verdict : str
        See `Verdict`.
    label : str, optional
        The class that the person says; several findings joined by ``|``, ``""`` for none of them. None for
        ``cannot_tell``.
    shown : str, optional
        The model's label that was in force; None where it had none.
    blind : bool
        Given before the model's answer was shown.
    reason : str, optional
        One of `REASONS`.
    note : str, optional
        Free text. It never leaves the box.
    replaces : int, optional
        Sequence of this person's earlier answer to the same result.
    """

    sequence: int
    key: str
    sha256: str
    bundle: str
    person: str
    time: str
    verdict: Verdict
    label: str | None
    shown: str | None
    blind: bool
    reason: str | None
    note: str | None
    replaces: int | None


class Answers(Database):
    """All answers of one output folder; each is durable when `give` returns (see `Database`).

    The page alone writes; others open it with ``read_only=True``.
    """

    kind: ClassVar[str] = "answers"
    schema: ClassVar[str] = _SCHEMA
    first_table: ClassVar[str] = "answers"
    remedy: ClassVar[str] = "keep the file, it may be mended with sqlite3's .recover; a new one is made where none is"

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        super().__init__(path, read_only=read_only, any_thread=True)
        if not read_only:
            sync_folder(path.parent)

    def give(
        self,
        *,
        key: str,
        sha256: str,
        bundle: str,
        person: str,
        label: str | None,
        shown: str | None,
        blind: bool = False,
        reason: str | None = None,
        note: str | None = None,
        when: str | None = None,
    ) -> int:
        """Record one answer durably; returns its sequence. The verdict follows from `label` and `shown`.

        Parameters
        ----------
        key, sha256, bundle, person, label, shown, blind, reason, note
            See `Answer`. An empty `note` is none.
        when : str, optional
            ISO 8601 UTC; now unless given.

        Raises
        ------
        ValueError
            `reason` is none of `REASONS`, `note` is too long, or `person` is empty: the page has checked them before.
        StorageError
            It cannot be written; nothing was recorded.
        """
        if reason is not None and reason not in REASONS:
            raise ValueError("reason is none of those that are known")
        if note is not None and len(note) > LONGEST_NOTE:
            raise ValueError(f"note has more than {LONGEST_NOTE} characters")
        if not person:
            raise ValueError("person is empty")
        when = when or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with self._transaction():
            earlier = self._value("SELECT max(sequence) FROM answers WHERE key = ? AND person = ?", key, person)
            done = self._db.execute(
                "INSERT INTO answers (key, sha256, bundle, person, time, verdict, label, shown, blind, reason, note, "
                "replaces) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (key, sha256, bundle, person, when, verdict_of(label, shown), label, shown, int(blind), reason,
                 note or None, earlier),
            )  # fmt: skip
        assert done.lastrowid is not None
        return done.lastrowid

    def history(self, key: str) -> list[Answer]:
        """Every version of every person's answer to one result, in order."""
        return list(self._answers("WHERE key = ? ORDER BY sequence", key))

    def latest(self) -> Iterator[Answer]:
        """The version in force of each person's answer to each result, in order."""
        yield from self._answers(
            "WHERE sequence IN (SELECT max(sequence) FROM answers GROUP BY key, person) ORDER BY sequence"
        )

    def blind(self) -> Iterator[Answer]:
        """The first blind answer of each person to each result: what they changed later, they changed after a look."""
        yield from self._answers(
            "WHERE sequence IN (SELECT min(sequence) FROM answers WHERE blind = 1 GROUP BY key, person) "
            "ORDER BY sequence"
        )

    def answered(self, keys: Iterable[str], person: str | None = None) -> set[str]:
        """Those of `keys` that have an answer: anybody's, or one person's."""
        asked, found = list(keys), set[str]()
        who, names = ("", ()) if person is None else (" AND person = ?", (person,))
        with self._translate():
            for start in range(0, len(asked), _FEW):
                some = asked[start : start + _FEW]
                marks = ", ".join("?" * len(some))
                sql = f"SELECT DISTINCT key FROM answers WHERE key IN ({marks}){who}"
                found |= {str(row[0]) for row in self._db.execute(sql, (*some, *names))}
        return found

    def count(self) -> int:
        """Answers in force: one of each person to each result."""
        with self._translate():
            return int(self._value("SELECT count(*) FROM (SELECT DISTINCT key, person FROM answers)"))

    def _answers(self, where: str, *arguments: object) -> Iterator[Answer]:
        with self._translate():
            for row in self._db.execute(f"SELECT {_COLUMNS} FROM answers {where}", arguments):
                answer = Answer(*row)
                yield answer._replace(blind=bool(answer.blind))


def verdict_of(label: str | None, shown: str | None) -> Verdict:
    """What it means that a person says `label` where the model said `shown`.

    Several findings are joined by ``|``; their order does not matter. Where the model had no answer (None), a person
    who has one disagrees with that.
    """
    if label is None:
        return "cannot_tell"
    return "agree" if shown is not None and findings_of(label) == findings_of(shown) else "disagree"


def findings_of(text: str) -> frozenset[str]:
    """What a label says is there: of several findings none is ``""``, as people say it, or ``none``, as the model does.

    Examples
    --------
    >>> findings_of("") == findings_of("none"), sorted(findings_of("nodule|effusion"))
    (True, ['effusion', 'nodule'])
    """
    return frozenset(part for part in text.split("|") if part not in ("", "none"))


def is_blind(sha256: str, bundle: str, share: float = BLIND_SHARE) -> bool:
    """Whether an image is among those that a person answers before the model's answer is shown.

    Parameters
    ----------
    sha256 : str
        Of the image's content, hex.
    bundle : str
        Digest of the bundle, hex: a new model draws anew.
    share : float
        0 to 1: how many of all images.
    """
    return drawn(sha256, bundle) < share


def drawn(sha256: str, bundle: str) -> float:
    """The number from 0 to 1 that an image draws: below the share, it is read blind."""
    digest = hashlib.sha256(b"blind" + bundle.encode() + sha256.encode()).digest()[:8]
    return int.from_bytes(digest, "big") / 2**64
