"""What the scanner knows of a file: how it lay in the folder, how it arrived, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)  # one for each file of the inbox is kept in memory
class Stat:
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
