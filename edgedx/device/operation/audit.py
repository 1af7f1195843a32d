"""The audit log that shows when it was changed: each line holds the hash of the line before it (see `audit_file`).

Events are coded as DICOM's audit messages are (PS3.15 A.5.3, codes of PS3.16 CID 400 and 401). No patient data and no
file name is in it; an image is named by its result key, which a result file has, too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgedx.core.errors import InputOutputError
from edgedx.core.files import sha256_file, storage_error
from edgedx.core.result import Result
from edgedx.core.stats.points import OperatingPoint
from edgedx.device.scanner.sinks import ScannedImage, Sink

from .audit_file import ASIDE, FIRST, LONGEST, AuditFile, problem_of

STARTED = {"event": "110100", "type": "110120", "meaning": "Application Start"}
STOPPED = {"event": "110100", "type": "110121", "meaning": "Application Stop"}
ACCESSED = {"event": "110103", "meaning": "DICOM Instances Accessed"}
EXPORTED = {"event": "110106", "meaning": "Export"}
DELETED = {"event": "110105", "meaning": "DICOM Study Deleted"}


class AuditLog(Sink):
    """A sink that appends an event for each result.

    After a crash the last image may stand twice: it was read twice.

    Parameters
    ----------
    point : OperatingPoint, optional
        At which the scanner decides; it stands in the event of its start.

    Raises
    ------
    InputOutputError
        The file cannot be read or written.
    """

    name = "audit"

    def __init__(self, out: Path, bundle: str, point: OperatingPoint | None = None) -> None:
        self._file = AuditFile(out, bundle)
        decided = {} if point is None else {"operating_point": point.name, "threshold": point.threshold}
        self._file.append(STARTED, **decided)
        self._file.flush()

    def publish(self, reading: ScannedImage, path: Path, source: Path | None) -> None:
        """An image was read."""
        result = reading.result
        code = result.reason.code if result.reason else None
        self._file.append(ACCESSED, key=result.key, result=result.sequence, outcome=result.status, code=code)

    def flush(self) -> None:
        """Make the events durable."""
        self._file.flush()

    def close(self) -> None:
        """The scanner ends in order."""
        try:
            self._file.append(STOPPED)
            self._file.flush()
        finally:
            self._file.close()


class ExportAudit:
    """Records each image that leaves in a de-identified copy, durably and before the copy is there."""

    def __init__(self, out: Path) -> None:
        self._file = AuditFile(out)

    def record(self, result: Result) -> None:
        """One image is about to be exported."""
        self._file.append(EXPORTED, key=result.key, result=result.sequence, user=os.getuid(), form="de-identified")
        self._file.flush()

    def close(self) -> None:
        """No more."""
        self._file.close()


class RetentionAudit:
    """Records each result that is removed because it is older or more than what is to be kept."""

    def __init__(self, out: Path) -> None:
        self._file = AuditFile(out)

    def record(self, keys: Iterable[str]) -> None:
        """Results, with images that were received, are about to be removed."""
        for key in keys:
            self._file.append(DELETED, key=key, why="retention")
        self._file.flush()

    def close(self) -> None:
        """No more."""
        self._file.close()


TAKEN_AWAY = "was taken away; this is its SHA-256"


@dataclass(frozen=True)
class SetAside:
    """A log that was put aside, as the log that followed it names it.

    Attributes
    ----------
    problem : str
        Empty where the file is still there with the content that it had.
    """

    file: str
    sha256: str
    problem: str = ""


@dataclass(frozen=True)
class Verified:
    """What `verify` saw.

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
    aside : tuple of SetAside
        Earlier logs, whose end was not an event of edgedx.
    """

    lines: int
    head: str
    broken_line: int | None = None
    problem: str = ""
    torn: int = 0
    aside: tuple[SetAside, ...] = ()

    @property
    def intact(self) -> bool:
        """Whether the chain is whole, and no log that was put aside waits for a person to take it away."""
        return self.broken_line is None and all(one.problem == TAKEN_AWAY for one in self.aside)


def verify(path: Path, expected: str | None = None) -> Verified:
    """Walk the chain from its first line, and look at the logs that it says were put aside.

    Parameters
    ----------
    expected : str, optional
        A head noted earlier: it must be the hash of some line, here or in a log that was put aside.

    Raises
    ------
    InputOutputError
        The file cannot be read.
    """
    before, count, seen, aside = FIRST, 0, expected in (None, FIRST), list[SetAside]()
    torn = 0
    for number, line in _lines(path):
        if not line.endswith(b"\n"):
            torn = len(line)
            break
        problem = problem_of(line, number, before)
        if problem:
            return Verified(count, before, number, problem, aside=_with_unnamed(path, aside))
        entry = json.loads(line)
        if "aside" in entry:
            aside.append(_look(path.parent, str(entry["aside"]), str(entry["sha256"])))
        count, before = number, entry["hash"]
        seen = seen or before == expected
    every = _with_unnamed(path, aside)
    if not seen and expected is not None and not any(_holds(path.parent / one.file, expected) for one in every):
        problem = "the head that was noted is not in it: lines were removed"
        return Verified(count, before, count + 1, problem, torn, every)
    return Verified(count, before, torn=torn, aside=every)


def _look(folder: Path, name: str, sha256: str) -> SetAside:
    path = folder / Path(name).name
    if not path.is_file():
        return SetAside(name, sha256, TAKEN_AWAY)
    return SetAside(name, sha256, "" if sha256_file(path) == sha256 else "was changed after it was put aside")


def _with_unnamed(path: Path, named: list[SetAside]) -> tuple[SetAside, ...]:
    """With logs that lie there and that this one does not name."""
    known = {one.file for one in named}
    others = [one for one in sorted(path.parent.glob(ASIDE)) if one.name not in known]
    return (*named, *(SetAside(one.name, sha256_file(one), "is named by no line of the log") for one in others))


def _holds(path: Path, expected: str) -> bool:
    """Whether a line of a log that was put aside has this hash, in an unbroken chain from its first line."""
    before = FIRST
    try:
        for number, line in _lines(path):
            if problem_of(line, number, before):
                return False
            before = str(json.loads(line)["hash"])
            if before == expected:
                return True
    except InputOutputError:
        pass
    return False


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as stream:
            yield from enumerate(iter(lambda: stream.readline(LONGEST), b""), 1)
    except OSError as error:
        raise storage_error(path, error) from error
