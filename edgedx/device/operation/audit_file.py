"""The file of the audit log: one line for each event, each with the hash of the line before it.

Several processes may write it (a scanner, an export): each line is written under a lock, after what the others wrote.
A file whose end is not an event of ours is kept as evidence: it is put aside as it is, and the new one begins with its
name, size and hash.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edgedx.core.errors import InputOutputError
from edgedx.core.files import canonical_json, sha256_bytes, sha256_file, storage_error, sync_folder

log = logging.getLogger("edgedx.scan")

AUDIT = "audit.jsonl"
ASIDE = "audit.aside-*.jsonl"
"""Logs that were put aside, beside the one that is written."""
FIRST = "0" * 64
"""What stands for the line before the first."""
MENDED = {"event": "110113", "meaning": "Security Alert"}
LONGEST = 1 << 16
_BEGINS = b'{"bundle":"'  # of every line of ours: keys are sorted


def chained(entry: Mapping[str, Any], before: str) -> dict[str, Any]:
    """An entry with the hash of the line before it and its own, which is over all the rest."""
    linked = {**entry, "previous": before}
    return {**linked, "hash": sha256_bytes(canonical_json(linked))}


def problem_of(line: bytes, number: int | None, before: str | None) -> str:
    """Why a line is not an event of ours, or not the one that follows; empty where it is (None: not examined)."""
    try:
        entry = json.loads(line)
        linked = {key: value for key, value in entry.items() if key != "hash"}
        if canonical_json(entry) + b"\n" != line:
            return "is not written as edgedx writes"
        if before is not None and entry["previous"] != before:
            return "does not follow from the line before it: one was changed, removed or put in"
        if entry["hash"] != sha256_bytes(canonical_json(linked)):
            return "was changed"
        return "" if number in (None, entry["sequence"]) else "has another number than its position"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "is no audit event"


class AuditFile:
    """Appends events to ``OUT/audit.jsonl``.

    Parameters
    ----------
    out : Path
    bundle : str
        Digest of the bundle at work; empty where there is none.

    Raises
    ------
    InputOutputError, StorageError
        The file cannot be read or written; so does every method.
    """

    def __init__(self, out: Path, bundle: str = "") -> None:
        self.path, self._bundle = out / AUDIT, bundle
        self._handle, self._size = -1, -1
        self._sequence, self._before = 0, FIRST
        with self._held():
            pass

    def append(self, event: Mapping[str, str], **about: Any) -> None:
        """Write one event; `flush` makes it durable."""
        with self._held():
            self._write(event, **about)

    def flush(self) -> None:
        """Make the events durable."""
        try:
            os.fsync(self._handle)
        except OSError as error:
            raise storage_error(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the file's lock, and know its last line."""
        try:
            while True:
                self._open()
                fcntl.flock(self._handle, fcntl.LOCK_EX)
                try:
                    if self._is_the_one() and (os.fstat(self._handle).st_size == self._size or self._catch_up()):
                        yield
                        self._size = os.fstat(self._handle).st_size
                        return
                finally:
                    fcntl.flock(self._handle, fcntl.LOCK_UN)
        except OSError as error:
            raise storage_error(self.path, error) from error

    def _open(self) -> None:
        """Open what has the name now: it may have been put aside, or taken away."""
        if self._handle >= 0 and self._is_the_one():
            return
        self.close()
        with suppress(FileNotFoundError):
            if not stat.S_ISREG(os.stat(self.path).st_mode):
                raise InputOutputError(f"{self.path} is not a regular file", next_step="move it away, then start again")
        self._handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._size = -1

    def _is_the_one(self) -> bool:
        try:
            there, ours = os.stat(self.path), os.fstat(self._handle)
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def _catch_up(self) -> bool:
        """Read the last line; returns False where the file was put aside, and another is to be opened."""
        size = os.fstat(self._handle).st_size
        tail = os.pread(self._handle, LONGEST, max(0, size - LONGEST))
        end = tail.rfind(b"\n") + 1
        line, torn = tail[tail.rfind(b"\n", 0, max(0, end - 1)) + 1 : end], tail[end:]
        if (end == 0 and size > len(tail)) or not _cut_by_a_crash(torn) or (line and problem_of(line, None, None)):
            self._put_aside()
            return False
        if torn:
            os.ftruncate(self._handle, size - len(torn))
            os.fsync(self._handle)
        last: dict[str, Any] = json.loads(line) if line else {"sequence": 0, "hash": FIRST}
        self._sequence, self._before = int(last["sequence"]), str(last["hash"])
        if torn:
            self._write(MENDED, detail=f"{len(torn)} bytes of a line that a crash had cut were removed")
        if not line:
            self._begin()
        self._size = os.fstat(self._handle).st_size
        return True

    def _begin(self) -> None:
        """The first lines of a new log name what was put aside, be it by a process that was killed then."""
        sync_folder(self.path.parent)
        for path in sorted(self.path.parent.glob(ASIDE)):
            self._write(
                MENDED, detail="an audit log whose end was no event of edgedx was put aside, as it is",
                aside=path.name, sha256=sha256_file(path), bytes=path.stat().st_size,
            )  # fmt: skip
        os.fsync(self._handle)

    def _put_aside(self) -> None:
        name = ASIDE.replace("*", sha256_file(self.path)[:16])
        os.replace(self.path, self.path.with_name(name))
        sync_folder(self.path.parent)
        log.error("audit log: its end is no event of edgedx; it was put aside as %s, and a new one is begun", name)

    def _write(self, event: Mapping[str, str], **about: Any) -> None:
        entry = chained(
            {
                "sequence": self._sequence + 1,
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                **event,
                "bundle": self._bundle,
                "process": os.getpid(),
                **about,
            },
            self._before,
        )
        line = canonical_json(entry) + b"\n"
        size = os.fstat(self._handle).st_size
        try:
            if os.write(self._handle, line) != len(line):
                raise OSError(errno.ENOSPC, "no space left")
        except OSError:
            os.ftruncate(self._handle, size)  # no half line, and the chain goes on from the one before
            raise
        self._sequence, self._before = entry["sequence"], entry["hash"]


def _cut_by_a_crash(torn: bytes) -> bool:
    """Whether bytes without a line's end are the beginning of a line of ours, or zeros, as a power cut leaves them."""
    return not torn.strip(b"\0") or torn[: len(_BEGINS)] == _BEGINS[: len(torn)]
