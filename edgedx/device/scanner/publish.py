"""Results on disk: one JSON per content, a table for humans, a folder for what could not be read. All durable."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgedx.core.errors import InputOutputError
from edgedx.core.files import (
    atomic_write,
    read_json,
    safe_name,
    storage_error,
    sync_folder,
    write_text,
    write_together,
)
from edgedx.core.result import Result
from edgedx.core.table import plain_cell

_COLUMNS = ("sequence", "file", "status", "label", "probability", "reason", "created", "model", "result")
REASON = ".reason.json"


class Publisher:
    """Writes below one output folder: ``results/``, ``quarantine/`` and ``results.csv``."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self._csv = out / "results.csv"
        try:
            for folder in (out / "results", out / "quarantine"):
                folder.mkdir(parents=True, exist_ok=True)
                for left in folder.glob(".*.tmp"):  # by a process that was killed while writing
                    left.unlink()
            for left in out.glob(".results.csv.*.tmp"):
                left.unlink()
            sync_folder(out)
        except OSError as error:
            raise storage_error(out, error) from error

    def path_of(self, key: str) -> Path:
        """Where the result of a key is; the name is a hash, never anything from the file."""
        return self.out / "results" / f"{key[:32]}.json"

    def write(self, results: Iterable[Result]) -> None:
        """Write results durably; the same key overwrites."""
        texts = {self.path_of(one.key).name: one.model_dump_json(indent=2) + "\n" for one in results}
        write_together(self.out / "results", {name: text.encode() for name, text in texts.items()})

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

    def quarantine(self, source: Path, key: str) -> bool:
        """Move a file out of the inbox and put its result beside it as the reason; bytes are never lost.

        Returns
        -------
        bool
            False where the inbox cannot be written: then the file was copied, and is still there, too.

        Raises
        ------
        StorageError, InputOutputError
            The file is still where it was.
        """
        target = self.out / "quarantine" / f"{key[:12]}-{safe_name(source.name)}"
        try:
            self._explain(target, key)
            try:
                os.replace(source, target)
            except FileNotFoundError:
                return True  # somebody took it
            except OSError:  # another file system, or one that is read-only: copy durably first, then remove
                with source.open("rb") as stream, atomic_write(target) as copy:
                    shutil.copyfileobj(stream, copy, 1 << 20)
                try:
                    source.unlink()
                except OSError:
                    return False
            sync_folder(target.parent)
            sync_folder(source.parent)
        except OSError as error:
            raise storage_error(target, error) from error
        return True

    def explain(self, key: str) -> None:
        """Put the reason beside what was quarantined under a key, in case a crash came in between."""
        for target in (self.out / "quarantine").glob(f"{key[:12]}-*"):
            if not target.name.endswith(REASON):
                self._explain(target, key)

    def _explain(self, target: Path, key: str) -> None:
        write_text(target.with_name(target.name + REASON), self.path_of(key).read_text(encoding="utf-8"))

    def begin_table(self, keys: Iterable[str], count: int) -> None:
        """Make ``results.csv`` hold one whole line for each of `count` results; a crash may have left fewer.

        Parameters
        ----------
        keys : iterable of str
            Of all results, in order; taken only where the table must be written anew.
        """
        if self._lines() == count + 1:
            return
        with atomic_write(self._csv, "w", encoding="utf-8", newline="") as stream:
            stream.write(_line(_COLUMNS))
            for key in keys:
                with contextlib.suppress(InputOutputError):  # one damaged result must not stop the others
                    stream.write(self._row(self.read(key)))

    def extend_table(self, results: Sequence[Result]) -> None:
        """Append lines durably: rewriting the whole table for each image would wear out an SD card."""
        data = "".join(self._row(result) for result in results).encode()
        try:
            handle = os.open(self._csv, os.O_WRONLY | os.O_APPEND)
            try:
                size = os.fstat(handle).st_size
                try:
                    if os.write(handle, data) != len(data):
                        raise OSError(errno.ENOSPC, "no space left")  # a short write is how a full disk begins
                    os.fsync(handle)
                except OSError:
                    os.ftruncate(handle, size)  # no half line
                    raise
            finally:
                os.close(handle)
        except OSError as error:
            raise storage_error(self._csv, error) from error

    def _lines(self) -> int:
        """Lines of the table, or -1 where there is none or its last one is cut."""
        count, last = 0, b""
        try:
            with self._csv.open("rb") as stream:
                while block := stream.read(1 << 20):
                    count, last = count + block.count(b"\n"), block[-1:]
        except OSError:
            return -1
        return count if last == b"\n" else -1

    def _row(self, result: Result) -> str:
        label = chance = ""
        if result.prediction is not None:
            label = result.prediction.label
            chances = result.prediction.probabilities
            chance = f"{chances.get(label, max(chances.values())):.4f}"
        reason = "" if result.reason is None else result.reason.code
        place = f"results/{self.path_of(result.key).name}"
        name = plain_cell(result.source.name)
        return _line(
            (result.sequence, name, result.status, label, chance, reason, result.created, result.runtime.model, place)
        )


def _line(cells: Sequence[object]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(cells)
    return stream.getvalue()
