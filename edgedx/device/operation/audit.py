"""An audit log that shows when it was changed: each line holds the hash of the line before it.

Events are coded as DICOM's audit messages are (PS3.15 A.5.3, codes of PS3.16 CID 400 and 401). No patient data and no
file name is in it; an image is told by its result key, which a result file has, too.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedx.core.errors import InputOutputError
from edgedx.core.files import canonical_json, sha256_bytes, storage_error, sync_folder
from edgedx.device.scanner.sinks import Finding, Sink

AUDIT = "audit.jsonl"
FIRST = "0" * 64
"""What stands for the line before the first."""
STARTED = {"event": "110100", "type": "110120", "meaning": "Application Start"}
STOPPED = {"event": "110100", "type": "110121", "meaning": "Application Stop"}
ACCESSED = {"event": "110103", "meaning": "DICOM Instances Accessed"}
MENDED = {"event": "110113", "meaning": "Security Alert"}
_LONGEST = 1 << 16


def chained(entry: Mapping[str, Any], before: str) -> dict[str, Any]:
    """An entry with the hash of the line before it and its own, which is over all the rest."""
    linked = {**entry, "previous": before}
    return {**linked, "hash": sha256_bytes(canonical_json(linked))}


class AuditLog(Sink):
    """A sink that appends an event for each result.

    After a crash the last image may stand twice: it was read twice.

    Raises
    ------
    InputOutputError
        The file cannot be read or written.
    """

    name = "audit"

    def __init__(self, out: Path, bundle: str) -> None:
        self.path, self._bundle = out / AUDIT, bundle
        new = not self.path.exists()
        try:
            self._handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            if new:
                sync_folder(out)
        except OSError as error:
            raise storage_error(self.path, error) from error
        self._sequence, self._before, torn = self._last()
        if torn:
            self._append(MENDED, detail=f"{torn} bytes of a line that a crash had cut were removed")
        self._append(STARTED)
        self.flush()

    def _last(self) -> tuple[int, str, int]:
        """Sequence and hash of the last whole line; a cut one after it is removed, and its length told."""
        size = os.fstat(self._handle).st_size
        tail = os.pread(self._handle, _LONGEST, max(0, size - _LONGEST))
        whole = tail.rfind(b"\n") + 1
        torn = len(tail) - whole
        if torn:
            os.ftruncate(self._handle, size - torn)
            os.fsync(self._handle)
        if whole == 0:
            return 0, FIRST, torn
        line = tail[tail.rfind(b"\n", 0, whole - 1) + 1 : whole]
        try:
            entry = json.loads(line)
            return int(entry["sequence"]), str(entry["hash"]), torn
        except (ValueError, KeyError, TypeError) as error:
            raise InputOutputError(
                f"{self.path}: the last line is no audit event",
                next_step="keep the file as evidence: move it away, and a new one is begun",
            ) from error

    def publish(self, finding: Finding, path: Path, source: Path | None) -> None:
        """An image was read."""
        result = finding.result
        code = result.reason.code if result.reason else None
        self._append(ACCESSED, key=result.key, result=result.sequence, outcome=result.status, code=code)

    def flush(self) -> None:
        """Make the events durable."""
        try:
            os.fsync(self._handle)
        except OSError as error:
            raise storage_error(self.path, error) from error

    def close(self) -> None:
        """The scanner ends in order."""
        try:
            self._append(STOPPED)
            self.flush()
        finally:
            os.close(self._handle)

    def _append(self, event: Mapping[str, str], **about: Any) -> None:
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
                raise OSError(28, "no space left")
        except OSError as error:
            os.ftruncate(self._handle, size)  # no half line, and the chain goes on from the one before
            raise storage_error(self.path, error) from error
        self._sequence, self._before = entry["sequence"], entry["hash"]


@dataclass(frozen=True)
class Verified:
    """What `verify` found.

    Attributes
    ----------
    head : str
        Hash of the last line: noted elsewhere, it proves later that no line before it was changed or removed.
    broken_line : int or None
        First line that does not follow from those before it.
    problem : str
        Why.
    torn : int
        Bytes of a last line that has no end, as a crash leaves it; the next scanner removes and records them.
    """

    lines: int
    head: str
    broken_line: int | None = None
    problem: str = ""
    torn: int = 0


def verify(path: Path, expected: str | None = None) -> Verified:
    """Walk the chain from its first line.

    Parameters
    ----------
    expected : str, optional
        A head noted earlier: it must be the hash of some line.

    Raises
    ------
    InputOutputError
        The file cannot be read.
    """
    before, count, seen = FIRST, 0, expected in (None, FIRST)
    for number, line in _lines(path):
        if not line.endswith(b"\n"):
            return _end(count, before, seen, len(line))
        problem = _problem(line, number, before)
        if problem:
            return Verified(count, before, number, problem)
        count, before = number, json.loads(line)["hash"]
        seen = seen or before == expected
    return _end(count, before, seen, 0)


def _end(count: int, head: str, seen: bool, torn: int) -> Verified:
    if not seen:
        return Verified(count, head, count + 1, "the head that was noted is not in it: lines were removed", torn)
    return Verified(count, head, torn=torn)


def _problem(line: bytes, number: int, before: str) -> str:
    try:
        entry = json.loads(line)
        linked = {key: value for key, value in entry.items() if key != "hash"}
        if canonical_json(entry) + b"\n" != line:
            return "is not written as the scanner writes"
        if entry["previous"] != before:
            return "does not follow from the line before it: one was changed, removed or put in"
        if entry["hash"] != sha256_bytes(canonical_json(linked)):
            return "was changed"
        return "" if entry["sequence"] == number else "has another number than its place"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "is no audit event"


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as stream:
            yield from enumerate(iter(lambda: stream.readline(_LONGEST), b""), 1)
    except OSError as error:
        raise storage_error(path, error) from error
