"""The people who may log in: ``OUT/people.sqlite``, written by the page and by `edgedx page person`."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import ClassVar

from edgedx.core.errors import UsageError
from edgedx.device.machine.database import Database

from .person import ROLES, Person, Role
from .pins import hash_pin

PEOPLE = "people.sqlite"
LONGEST_NAME = 64

_SCHEMA = """
CREATE TABLE people (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    folded TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL CHECK (role IN ('reader', 'administrator')),
    language TEXT NOT NULL DEFAULT '',
    pin BLOB NOT NULL,
    own_pin INTEGER NOT NULL DEFAULT 0,
    wrong INTEGER NOT NULL DEFAULT 0,
    epoch INTEGER NOT NULL DEFAULT 0,
    removed INTEGER NOT NULL DEFAULT 0
);
"""
_COLUMNS = "number, name, role, language, pin, own_pin, wrong, epoch, removed"


class LastAdministrator(UsageError):
    """Who cannot be removed or made a reader: nobody could let people in then."""


@dataclass(frozen=True)
class Entry:
    """One person as kept.

    Attributes
    ----------
    number : int
        Never given twice; stands in the audit log.
    pin : bytes
        See `pins`.
    own_pin : bool
        The person chose it; False where somebody else did, who knows it.
    wrong : int
        Wrong PINs since the last right one.
    epoch : int
        Grows when PIN or role change: sessions from before are over.
    removed : bool
        Kept, as answers are kept under the name; nobody else gets it.
    """

    number: int
    name: str
    role: Role
    language: str
    pin: bytes
    own_pin: bool
    wrong: int
    epoch: int
    removed: bool

    @property
    def person(self) -> Person:
        """What views are told."""
        return Person(self.name, self.role, self.language)


class People(Database):
    """Names, roles and PINs of one box; usable from any thread.

    Parameters
    ----------
    out : Path
        Folder of ``people.sqlite``.

    Raises
    ------
    StorageError
        See `Database`; so does every method.
    """

    kind: ClassVar[str] = "list of people"
    version: ClassVar[int] = 1
    schema: ClassVar[str] = _SCHEMA
    first_table: ClassVar[str] = "people"
    remedy: ClassVar[str] = "move it away, then make the first administrator anew: edgedx page person NAME --out OUT"

    def __init__(self, out: Path) -> None:
        self._lock = RLock()
        super().__init__(out / PEOPLE, any_thread=True)

    def is_empty(self) -> bool:
        """Whether nobody may log in."""
        return not self.list()

    def list(self) -> list[Entry]:
        """Everybody who may log in, by name."""
        with self._lock, self._translate():
            rows = self._db.execute(f"SELECT {_COLUMNS} FROM people WHERE removed = 0 ORDER BY folded").fetchall()
        return [_entry(row) for row in rows]

    def find(self, name: str) -> Entry | None:
        """Who has this name, in small or capital letters; None where nobody has, or who had it was removed."""
        return self._one("folded = ? AND removed = 0", _folded(name))

    def get(self, number: int) -> Entry | None:
        """Who has this number; None where nobody has, or who had it was removed."""
        return self._one("number = ? AND removed = 0", number)

    def add(self, name: str, role: Role, pin: str, *, own_pin: bool = False) -> Entry:
        """Let somebody in. One who was removed comes back under the number of before.

        Parameters
        ----------
        own_pin : bool
            Whether the person chose the PIN; who did not is asked to at the first log-in.

        Raises
        ------
        UsageError
            The name is taken or none; the PIN is not taken (`pins`).
        """
        shown, role = _checked(name), _role(role)
        kept, folded = hash_pin(pin), _folded(name)
        with self._lock:
            if self.find(name) is not None:
                raise UsageError("somebody has this name", next_step="add something to it, or give them a new PIN")
            with self._transaction():
                self._db.execute(
                    "INSERT INTO people (name, folded, role, pin, own_pin) VALUES (?, ?, ?, ?, ?) "
                    "ON CONFLICT (folded) DO UPDATE SET role = excluded.role, pin = excluded.pin, "
                    "own_pin = excluded.own_pin, removed = 0, wrong = 0, epoch = epoch + 1",
                    (shown, folded, role, kept, own_pin),
                )
            found = self.find(name)
        assert found is not None
        return found

    def set_pin(self, number: int, pin: str, *, own_pin: bool) -> None:
        """Give a new PIN: log-ins of before are over, and so is the wait after wrong ones."""
        self._change(number, "pin = ?, own_pin = ?, wrong = 0, epoch = epoch + 1", hash_pin(pin), own_pin)

    def set_role(self, number: int, role: Role) -> None:
        """Make somebody a reader or an administrator.

        Raises
        ------
        LastAdministrator
        """
        with self._lock:
            if role != "administrator":
                self._another_administrator(number)
            self._change(number, "role = ?, epoch = epoch + 1", _role(role))

    def set_language(self, number: int, language: str) -> None:
        """Speak another language to somebody."""
        self._change(number, "language = ?", language)

    def remove(self, number: int) -> None:
        """Let somebody in no more; answers stay under the name.

        Raises
        ------
        LastAdministrator
        """
        with self._lock:
            self._another_administrator(number)
            self._change(number, "removed = 1, epoch = epoch + 1")

    def count_wrong(self, number: int) -> int:
        """Count a try, durably and before it is known to be wrong; returns how many there are."""
        with self._lock:
            self._change(number, "wrong = wrong + 1")
            found = self.get(number)
        return found.wrong if found else 0

    def acquit(self, number: int) -> None:
        """The PIN was right: earlier tries count no more."""
        self._change(number, "wrong = 0")

    def _another_administrator(self, number: int) -> None:
        if all(one.number == number for one in self.list() if one.role == "administrator"):
            raise LastAdministrator(
                "this is the last administrator: nobody could let people in any more",
                next_step="make somebody else an administrator first",
            )

    def _change(self, number: int, what: str, *values: object) -> None:
        with self._lock, self._transaction():
            self._db.execute(f"UPDATE people SET {what} WHERE number = ?", (*values, number))

    def _one(self, where: str, value: object) -> Entry | None:
        with self._lock, self._translate():
            row = self._db.execute(f"SELECT {_COLUMNS} FROM people WHERE {where}", (value,)).fetchone()
        return None if row is None else _entry(row)


def _entry(row: tuple[object, ...]) -> Entry:
    number, name, role, language, pin, own_pin, wrong, epoch, removed = row
    return Entry(number, name, role, language, pin, bool(own_pin), wrong, epoch, bool(removed))  # type: ignore[arg-type]


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", " ".join(name.split())).casefold()


def _checked(name: str) -> str:
    shown = " ".join(unicodedata.normalize("NFC", name).split())
    if not shown or len(shown) > LONGEST_NAME or not shown.isprintable():
        raise UsageError(f"a name has 1 to {LONGEST_NAME} characters that can be seen", next_step="write another")
    return shown


def _role(role: str) -> Role:
    for known in ROLES:
        if role == known:
            return known
    raise UsageError(f"no such role; there are {', '.join(ROLES)}", next_step="choose one of them")
