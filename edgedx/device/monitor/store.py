"""``OUT/monitor.sqlite``: the last images as figures, counts by day, and what both are compared with.

Written by the scanner, one commit a batch. It does not grow: of images the last `MOST_IMAGES` are kept, of days the
last `MOST_DAYS`. A result that is read again after a crash is known by its key, and counted once.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from edgedx.core.errors import InputOutputError
from edgedx.device.machine.database import Database

from .streams import Observation

MONITOR = "monitor.sqlite"
MOST_IMAGES, MOST_DAYS = 5000, 800
_PRUNE = 100
"""Images between two looks at what is too many."""
_DAY = 86400

_SCHEMA = """
CREATE TABLE images (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    model INTEGER NOT NULL,
    time INTEGER NOT NULL,
    trusted INTEGER NOT NULL,
    facts TEXT NOT NULL,
    mark BLOB
);
CREATE INDEX images_by_model ON images (model, sequence);
CREATE TABLE days (
    model INTEGER NOT NULL,
    day INTEGER NOT NULL,
    counts TEXT NOT NULL,
    PRIMARY KEY (model, day)
);
CREATE TABLE models (
    model INTEGER PRIMARY KEY,
    bundle TEXT NOT NULL,
    variant TEXT NOT NULL,
    about TEXT NOT NULL,
    reference TEXT,
    usual TEXT,
    known TEXT,
    UNIQUE (bundle, variant)
);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True)
class WatchedModel:
    """A bundle's variant that images were read by.

    Attributes
    ----------
    about : dict
        ``name`` (and version), ``task``, ``classes``, ``positive``.
    reference : str or None
        JSON of the bundle's reference (`core.bundle.reference`); None in older bundles.
    usual : str or None
        JSON of the site's own reference (`usual.Usual`), where it has been taken.
    known : str or None
        JSON of what a person has said is as usual here, by stream.
    """

    number: int
    bundle: str
    variant: str
    about: dict[str, Any]
    reference: str | None
    usual: str | None
    known: str | None


@dataclass(frozen=True)
class WatchedImage:
    """One row of what was observed."""

    sequence: int
    time: int
    trusted: bool
    facts: dict[str, Any]
    mark: bytes | None


class Watched(Database):
    """What the scanner has seen (see `Database` for durability)."""

    kind: ClassVar[str] = "monitor"
    schema: ClassVar[str] = _SCHEMA
    first_table: ClassVar[str] = "images"

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        super().__init__(path, read_only=read_only)
        self._since_pruned = 0

    def salt(self) -> bytes:
        """Of this folder; drawn at the first call."""
        with self._transaction():
            self._db.execute("INSERT OR IGNORE INTO facts VALUES ('salt', ?)", (secrets.token_hex(16),))
            return bytes.fromhex(str(self._value("SELECT value FROM facts WHERE name = 'salt'")))

    def begin(self, bundle: str, variant: str, about: Mapping[str, Any], reference: str | None) -> int:
        """The number of the model that images will be read by; what is known of it already is kept."""
        with self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO models (bundle, variant, about, reference) VALUES (?, ?, ?, ?)",
                (bundle, variant, json.dumps(dict(about)), reference),
            )
            number = int(self._value("SELECT model FROM models WHERE bundle = ? AND variant = ?", bundle, variant))
            self._db.execute("INSERT OR REPLACE INTO facts VALUES ('model', ?)", (str(number),))
        return number

    def add(self, model: int, batch: Sequence[Observation]) -> int:
        """Record a batch in one commit; returns how many of it were new."""
        new: list[Observation] = []
        with self._transaction():
            for one in batch:
                done = self._db.execute(
                    "INSERT OR IGNORE INTO images (key, model, time, trusted, facts, mark) VALUES (?, ?, ?, ?, ?, ?)",
                    (one.key, model, one.when, int(one.trusted), _packed(one), one.mark),
                )
                new += [one] if done.rowcount else []
            for day, counts in _by_day(new).items():
                found = self._value("SELECT counts FROM days WHERE model = ? AND day = ?", model, day)
                whole = Counter(json.loads(found) if found else {}) + counts
                self._db.execute("INSERT OR REPLACE INTO days VALUES (?, ?, ?)", (model, day, json.dumps(whole)))
            self._since_pruned += len(new)
            if self._since_pruned >= _PRUNE:
                self._since_pruned = 0
                self._prune()
        return len(new)

    def _prune(self) -> None:
        self._db.execute("DELETE FROM images WHERE sequence <= (SELECT max(sequence) FROM images) - ?", (MOST_IMAGES,))
        # By order of arrival, not by date: a clock that jumped a century ahead must not wipe what was before.
        self._db.execute(
            "DELETE FROM days WHERE rowid NOT IN (SELECT rowid FROM days ORDER BY rowid DESC LIMIT ?)", (MOST_DAYS,)
        )

    def model(self) -> WatchedModel | None:
        """The one that images are read by now, or were last."""
        with self._translate():
            number = self._value("SELECT value FROM facts WHERE name = 'model'")
            if number is None:
                return None
            row = self._db.execute(
                "SELECT model, bundle, variant, about, reference, usual, known FROM models WHERE model = ?", (number,)
            ).fetchone()
        return WatchedModel(row[0], row[1], row[2], json.loads(row[3]), *row[4:])

    def images(self, model: int, *, last: int) -> list[WatchedImage]:
        """The last images that a model read, in order of arrival."""
        return self._images("model = ? ORDER BY sequence DESC LIMIT ?", model, last)[::-1]

    def first(self, model: int, count: int) -> list[WatchedImage]:
        """The first images that a model read, of those that are still there."""
        return self._images("model = ? ORDER BY sequence LIMIT ?", model, count)

    def _images(self, where: str, *arguments: int) -> list[WatchedImage]:
        with self._translate():
            rows = self._db.execute(f"SELECT sequence, time, trusted, facts, mark FROM images WHERE {where}", arguments)
            return [WatchedImage(row[0], row[1], bool(row[2]), json.loads(row[3]), row[4]) for row in rows]

    def count(self, model: int) -> int:
        """How many of a model's images are there."""
        with self._translate():
            return int(self._value("SELECT count(*) FROM images WHERE model = ?", model))

    def days(self, model: int, *, last: int) -> Iterator[tuple[int, dict[str, int]]]:
        """Days since 1970 with their counts, in the order in which they came.

        Counts are ``images``, ``answered``, ``refused``, ``asked``, ``unlike`` and ``called:CLASS``.
        """
        with self._translate():
            rows = self._db.execute(
                "SELECT day, counts FROM days WHERE model = ? ORDER BY rowid DESC LIMIT ?", (model, last)
            ).fetchall()
        for day, counts in reversed(rows):
            yield int(day), json.loads(counts)

    def keep_usual(self, model: int, usual: str, known: str | None = None) -> None:
        """Record what is usual at the site, and what a person has said is."""
        with self._transaction():
            self._db.execute("UPDATE models SET usual = ?, known = coalesce(?, known) WHERE model = ?",
                             (usual, known, model))  # fmt: skip


def open_watched(out: Path) -> Watched:
    """To look at, without disturbing the scanner.

    Raises
    ------
    InputOutputError
        Nothing was watched there.
    """
    path = out / MONITOR
    if not path.is_file():
        raise InputOutputError(
            f"nothing was watched in {out}: no {MONITOR}",
            next_step="name the --out of `edgedx scan`; a scanner of this edgedx writes it with its first image",
        )
    return Watched(path, read_only=True)


def _packed(one: Observation) -> str:
    facts: dict[str, Any] = {
        "numbers": {name: float(f"{value:.6g}") for name, value in one.numbers.items()},
        "categories": dict(one.categories),
    }
    if one.probabilities:
        facts["p"] = {name: float(f"{value:.6g}") for name, value in one.probabilities.items()}
        facts["at"], facts["called"] = dict(one.thresholds), list(one.called)
    if one.refused is not None:
        facts["refused"] = one.refused
    if one.unlike is not None:
        facts["unlike"] = one.unlike
    return json.dumps(facts, separators=(",", ":"))


def _by_day(batch: Sequence[Observation]) -> dict[int, Counter[str]]:
    days: dict[int, Counter[str]] = {}
    for one in batch:
        counts = days.setdefault(one.when // _DAY, Counter())
        counts["images"] += 1
        counts["answered"] += bool(one.probabilities)
        counts["refused"] += one.refused is not None
        counts["asked"] += one.unlike is not None
        counts["unlike"] += bool(one.unlike)
        for name in one.called:
            counts[f"called:{name}"] += 1
    return days
