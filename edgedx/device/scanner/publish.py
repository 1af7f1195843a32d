"""Results on disk: one JSON per content, and a table for humans. All durable."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from edgedx.core.errors import InputOutputError
from edgedx.core.files import atomic_write, read_json, storage_error, sync_folder, write_together
from edgedx.core.result import Result
from edgedx.core.table import plain_cell

from .out_folder import MARK

log = logging.getLogger("edgedx.scan")

_FIRST = ("sequence", "file", "status", "label", "probability", "reason", "created", "model", "result")
_SECOND = (*_FIRST[:-1], "frame", "result")
_FORMER = (_FIRST, _SECOND)
"""Headers of earlier versions: a table that has one is old, and not edited."""
_COLUMNS = (*_SECOND[:-1], "threshold", "prediction_set", "result")
"""The last one is the place of the result, by which a line is known; a new column comes before it."""
_MOST_EDITED = 20  # tables that others wrote to and that are kept

_Version = tuple[int, int, int]
"""Inode, size and time of modification of a table."""


class Publisher:
    """Writes below one output folder: ``results/`` and ``results.csv``.

    Attributes
    ----------
    table_trouble : str, optional
        Why the table cannot be written now; results go on, and it is written anew from the ledger when it can be.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._results, self._csv = out / "results", out / "results.csv"
        self._finished: Callable[[], Iterable[str]] = list
        self._version: _Version | None = None
        self.table_trouble: str | None = None
        try:
            self._results.mkdir(parents=True, exist_ok=True)
            for left in [
                *self._results.glob(".*.tmp"),
                *out.glob(".results.csv.*.tmp"),
                *out.glob(f".{MARK}.*.tmp"),
            ]:  # by a process that was killed
                left.unlink()
            sync_folder(out)
        except OSError as error:
            raise storage_error(out, error) from error

    def path_of(self, key: str) -> Path:
        """Where the result of a key is; the name is a hash, never anything from the file."""
        return self._results / _file_name(key)

    def write(self, results: Iterable[Result]) -> None:
        """Write results durably; the same key overwrites."""
        write_together(self._results, {_file_name(one.key): result_text(one).encode() for one in results})

    def read(self, key: str) -> Result:
        """Read a result back.

        Raises
        ------
        InputOutputError
            Missing, damaged, or of another version.
        """
        path = self.path_of(key)
        try:
            return Result.model_validate(read_json(path))
        except ValueError as error:
            raise InputOutputError(f"{path} is not a result of this version") from error

    def text_of(self, key: str) -> str:
        """The JSON of a result as it lies there; raises OSError."""
        return self.path_of(key).read_text(encoding="utf-8")

    def begin_table(self, finished: Callable[[], Iterable[str]]) -> None:
        """Make ``results.csv`` hold one whole line for each result; a crash may have left fewer, or a person others.

        Parameters
        ----------
        finished : callable
            Gives the keys of all results, in order.
        """
        self._finished = finished
        self._version = _version(self._csv)
        if not self._holds(finished()):
            self._version = None
        self.keep_table(superseded=True)

    def extend_table(self, results: Sequence[Result]) -> None:
        """Append lines durably: rewriting the whole table for each image would wear out an SD card.

        Call it when the ledger has the results: a table that was removed, replaced or written to by others is begun
        anew from the ledger. It never raises: the table is for people, and no result waits for it.
        """
        self.keep_table(results)

    def keep_table(self, results: Sequence[Result] = (), *, superseded: bool = False) -> None:
        """Write the table anew where it is not as it was left; else append lines.

        Parameters
        ----------
        superseded : bool
            Lines of a known result that are not as they would be written now are of an earlier reading, not edited.
        """
        try:
            if self._version is None or _version(self._csv) != self._version:
                self._write_anew(superseded)
            elif results:
                self._append("".join(self._row(result) for result in results).encode())
            self.table_trouble = None
        except (OSError, InputOutputError) as error:
            self._version = None
            cause = error if isinstance(error, OSError) else error.__cause__
            why = cause.strerror if isinstance(cause, OSError) and cause.strerror else type(error).__name__
            if self.table_trouble is None:
                log.error("results.csv cannot be written: %s", why)
            self.table_trouble = f"results.csv cannot be written: {why}"

    def _append(self, data: bytes) -> None:
        handle = os.open(self._csv, os.O_WRONLY | os.O_APPEND)
        try:
            size = os.fstat(handle).st_size
            try:
                if os.write(handle, data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # a short write is how a full disk begins
                os.fsync(handle)
            except OSError:
                os.ftruncate(handle, size)  # no half line
                raise
        finally:
            os.close(handle)
        self._version = _version(self._csv)

    def _write_anew(self, superseded: bool) -> None:
        places = {_place(key) for key in self._finished()} if superseded else set()
        old = _Lines(self._csv, places)
        for header in _FORMER:
            old.discard(_line(header))
        with atomic_write(self._csv, "w", make_parent=False, encoding="utf-8", newline="") as stream:
            for line in self._lines():
                stream.write(line)
                old.discard(line)
            if old.lines:
                self._keep_edited()
        self._version = _version(self._csv)

    def _keep_edited(self) -> None:
        """Lines of the table are not ours: somebody edited it, and may want what they wrote."""
        number = 1
        while number < _MOST_EDITED and (self.out / f"results.edited-{number}.csv").exists():
            number += 1
        aside = self.out / f"results.edited-{number}.csv"
        aside.unlink(missing_ok=True)
        os.link(self._csv, aside)
        log.warning("results.csv was edited: it is kept as %s, and written anew", aside.name)

    def _lines(self) -> Iterable[str]:
        yield _line(_COLUMNS)
        for key in self._finished():
            with contextlib.suppress(InputOutputError):  # one damaged result must not stop the others
                yield self._row(self.read(key))

    def _holds(self, keys: Iterable[str]) -> bool:
        """Whether the table has its header and one line for each key, the last one whole."""
        expected = {_place(key) for key in keys}
        count, last = 0, "\n"
        try:
            with self._csv.open(encoding="utf-8", newline="") as stream:
                if next(stream, "") != _line(_COLUMNS):
                    return False
                for last in stream:
                    count += 1
                    expected.discard(last.rstrip("\n").rpartition(",")[2])
                    if not last.endswith("\n"):
                        return False
                return not expected and count == sum(1 for _ in self._finished())
        except (OSError, ValueError):
            return False

    def _row(self, result: Result) -> str:
        label = probability = ""
        if result.prediction is not None:
            label = result.prediction.label
            probabilities = result.prediction.probabilities
            probability = f"{probabilities.get(label, max(probabilities.values())):.4f}"
        reason = "" if result.reason is None else result.reason.code
        place = _place(result.key)
        name = plain_cell(result.source.name)
        return _line(
            (result.sequence, name, result.status, label, probability, reason)
            + (result.created, result.runtime.model, result.frame or "", *_decided_by(result), place)
        )


def _decided_by(result: Result) -> tuple[str, str]:
    """Threshold and prediction set as a cell each; empty where there is none.

    A threshold has its class beside it: the probability in the line may be of the other one. One that the site has
    chosen says so.
    """
    said = result.prediction
    limits, chosen = ({}, "") if said is None else (said.threshold, " local" * (said.origin == "local"))
    cells = [f"{name} {value:.4f}{chosen}" for name, value in limits.items()]
    if result.prediction_set is None:
        return "; ".join(cells), ""
    return "; ".join(cells), "|".join(result.prediction_set.classes) or "(no class)"


def result_text(result: Result) -> str:
    """A result as JSON."""
    return result.model_dump_json(indent=2) + "\n"


def _file_name(key: str) -> str:
    return f"{key[:32]}.json"


def _place(key: str) -> str:
    return f"results/{_file_name(key)}"


def _line(cells: Sequence[object]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(cells)
    return stream.getvalue()


def _version(path: Path) -> _Version | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


class _Lines:
    """What a table holds beyond the lines that are taken from it, by hash: there may be a million."""

    def __init__(self, path: Path, places: set[str]) -> None:
        self.lines: set[int] = set()
        with contextlib.suppress(OSError), path.open("rb") as stream:
            for line in stream:  # one without an end was cut off
                place = line.rstrip(b"\n").rpartition(b",")[2].decode("ascii", "replace")
                if line.endswith(b"\n") and place not in places:
                    self.lines.add(hash(line))

    def discard(self, line: str) -> None:
        """Take one line away."""
        self.lines.discard(hash(line.encode()))
