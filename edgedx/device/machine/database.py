"""The one way to keep facts that must survive a power cut: SQLite, opened, versioned and spoken of alike.

Durability (power cuts over 200 acknowledged commits): a rollback journal with ``synchronous=FULL`` lost none, WAL with
``NORMAL`` all. ``TRUNCATE`` and not ``DELETE``: SQLite then syncs the emptied journal itself, where a deleted one may
be back after a power cut and undo a commit unless its folder is synced too
(https://sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote

from edgedx.core.errors import StorageError

DURABLE = MappingProxyType(
    {"journal_mode": "TRUNCATE", "synchronous": "FULL", "temp_store": "MEMORY", "busy_timeout": "30000"}
)
"""Pragmas of every connection that writes. The disk must be local: SQLite's locks do not hold on network shares."""
BESIDE = ("-journal", "-wal", "-shm")
"""What SQLite keeps beside a database, by ending."""

D = TypeVar("D", bound="Database")


class DamagedDatabase(StorageError):
    """The file's content is not what SQLite wrote."""


class Database:
    """One SQLite file with one layout; subclasses say which.

    Parameters
    ----------
    path : Path
    read_only : bool
        For commands that only look: nothing is written, made or locked for long, and no file of another owner is left.
        What was cut off in the middle of a commit is seen as it was before that.
    any_thread : bool
        Whether threads other than the one that opens it may use it, one at a time.

    Raises
    ------
    StorageError
        It cannot be opened or written, or is of a later version; so does every method.
    DamagedDatabase
        It is no database, or a damaged one.

    Attributes
    ----------
    kind : str
        What messages call it.
    version : int
        Of the layout, in ``PRAGMA user_version``.
    schema : str
        Statements that make the layout.
    first_table : str
        One that is in every version: a file that has it and no version was written before versions were kept, and is
        of version 1.
    upgrades : mapping of int
        Statements that make version n + 1 of version n, by n.
    remedy : str
        What to do where it is damaged.
    """

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    schema: ClassVar[str]
    first_table: ClassVar[str]
    upgrades: ClassVar[Mapping[int, str]] = MappingProxyType({})
    remedy: ClassVar[str] = "move it away: it is made anew"

    def __init__(self, path: Path, *, read_only: bool = False, any_thread: bool = False) -> None:
        self.path, self._copy = path, None
        with self._translate():
            if read_only:
                self._db, self._copy = _open_to_look(path, any_thread)
            else:
                self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=not any_thread)
            try:
                self._prepare(read_only)
            except BaseException:
                self.close()
                raise

    def _prepare(self, read_only: bool) -> None:
        if not read_only:
            for name, value in DURABLE.items():
                self._db.execute(f"PRAGMA {name}={value}")
        known = self._known_version()
        if known > self.version:
            raise StorageError(
                f"{self.kind} {self.path} is of version {known}, this edgedx reads {self.version}",
                next_step="use the edgedx that wrote it, or give another --out",
            )
        if known == self.version or read_only:  # nothing is written: who starts on a full disk waits, and says so
            return
        with self._transaction():
            known = self._known_version()  # another process may have made it meanwhile
            steps = [self.schema] if known == 0 else [self.upgrades[number] for number in range(known, self.version)]
            for statement in "".join(steps).split(";"):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version={self.version}")

    def _known_version(self) -> int:
        version = int(self._value("PRAGMA user_version"))
        if version == 0 and self._value("SELECT count(*) FROM sqlite_master WHERE name = ?", self.first_table):
            return 1
        return version

    def close(self) -> None:
        """Close the connection."""
        self._db.close()
        if self._copy is not None:
            self._copy.cleanup()

    def check(self, *, quick: bool = False) -> str:
        """SQLite's own verdict on the file: ``ok``, or what is wrong. Quick leaves out whether indices agree."""
        with self._translate():
            return str(self._value(f"PRAGMA {'quick' if quick else 'integrity'}_check"))

    def _value(self, statement: str, *arguments: object) -> Any:
        row = self._db.execute(statement, arguments).fetchone()
        return None if row is None else row[0]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One commit, or nothing."""
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
                f"{self.kind} {self.path}: {error}", next_step="check that its disk is local, writable and not full"
            ) from error
        except sqlite3.Error as error:
            raise DamagedDatabase(f"{self.kind} {self.path} is damaged: {error}", next_step=self.remedy) from error


def _open_to_look(path: Path, any_thread: bool) -> tuple[sqlite3.Connection, tempfile.TemporaryDirectory[str] | None]:
    """A connection that cannot write.

    A journal that a kill left must be rolled back before anything can be read, which writes: a copy is read then.
    """
    connection = _read_only(path, any_thread)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return connection, None
    except sqlite3.OperationalError:
        connection.close()
        if not path.with_name(path.name + BESIDE[0]).is_file():
            raise
    copies = tempfile.TemporaryDirectory(prefix="edgedx-")
    try:
        for ending in ("", *BESIDE):
            if (beside := path.with_name(path.name + ending)).is_file():
                shutil.copy(beside, Path(copies.name, path.name + ending))
        copy = Path(copies.name, path.name)
        return sqlite3.connect(copy, uri=True, isolation_level=None, check_same_thread=not any_thread), copies
    except OSError as error:
        copies.cleanup()
        raise sqlite3.OperationalError(error.strerror) from error


def _read_only(path: Path, any_thread: bool) -> sqlite3.Connection:
    name = f"file:{quote(str(path.absolute()))}?mode=ro"
    return sqlite3.connect(name, uri=True, isolation_level=None, check_same_thread=not any_thread)
