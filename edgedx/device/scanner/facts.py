"""What the scanner knows of a file: how it lay in the folder, how it arrived, and what became of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import NamedTuple


class Stat(NamedTuple):  # one for each file of the inbox is kept in memory, and made anew at each look
    """What tells one version of a file from another without reading it.

    Attributes
    ----------
    ctime_ns : int
        When the inode last changed, which no program can set: one that writes and puts the old time of modification
        back (``cp -p``, ``touch -d``, sync programs) is seen by it. 0 where it is not known.
    """

    bytes: int
    mtime_ns: int
    inode: int
    ctime_ns: int = 0

    @classmethod
    def of(cls, facts: os.stat_result) -> Stat:
        """Those of a file that the system was asked about."""
        return cls(facts.st_size, facts.st_mtime_ns, facts.st_ino, facts.st_ctime_ns)


@dataclass(frozen=True)
class Arrival:
    """A settled file that was hashed.

    Attributes
    ----------
    name : str
        Path relative to the inbox, as `os.fsdecode` gives it.
    """

    name: str
    stat: Stat
    sha256: str


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


class Finished(NamedTuple):
    """What a result says of its item, for a ledger that is made anew."""

    sequence: int
    key: str
    sha256: str
    bundle: str
    name: str
    bytes: int
    status: str
    code: str | None
