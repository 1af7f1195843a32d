"""Results on disk: one JSON per content, a table for humans, a folder for what could not be read. All durable."""

from __future__ import annotations

import csv
import io
import os
import shutil
from pathlib import Path

from ..core.errors import BundleError
from ..core.files import atomic_write, read_json, safe_name, storage_error, sync_folder, write_text
from ..core.result import Result
from .journal import Item

_COLUMNS = ("sequence", "file", "status", "label", "probability", "reason", "created", "result")


class Publisher:
    """Writes below one output folder: ``results/``, ``quarantine/`` and ``results.csv``."""

    def __init__(self, out: Path) -> None:
        self.out = out
        for folder in (out / "results", out / "quarantine"):
            folder.mkdir(parents=True, exist_ok=True)

    def path_of(self, key: str) -> Path:
        """Where the result of a key is; the name is a hash, never anything from the file."""
        return self.out / "results" / f"{key[:32]}.json"

    def write(self, result: Result) -> None:
        """Write a result durably; the same key overwrites."""
        write_text(self.path_of(result.key), result.model_dump_json(indent=2) + "\n")

    def read(self, key: str) -> Result:
        """Read a result back."""
        path = self.path_of(key)
        try:
            return Result.model_validate(read_json(path))
        except ValueError as error:
            raise BundleError(f"{path} is not a result of this version") from error

    def quarantine(self, source: Path, key: str) -> Path:
        """Move a file out of the inbox, beside the reason that its result holds; bytes are never lost.

        Returns
        -------
        Path
            Its new place.
        """
        target = self.out / "quarantine" / f"{key[:12]}-{safe_name(source.name)}"
        try:
            try:
                os.replace(source, target)
            except OSError:  # another file system: copy durably first, then remove
                with source.open("rb") as stream, atomic_write(target) as copy:
                    shutil.copyfileobj(stream, copy, 1 << 20)
                source.unlink()
            sync_folder(target.parent)
            sync_folder(source.parent)
        except OSError as error:
            raise storage_error(target, error) from error
        shutil.copyfile(self.path_of(key), target.with_name(target.name + ".reason.json"))
        return target

    def table(self, items: list[Item]) -> None:
        """Write ``results.csv`` anew, whole: a crash leaves the old or the new one, never half a line."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for item in items:
            if not self.path_of(item.key).is_file():
                continue
            result = self.read(item.key)
            label = chance = ""
            if result.prediction is not None:
                label = result.prediction.label
                chances = result.prediction.probabilities
                chance = f"{chances.get(label, max(chances.values())):.4f}"
            reason = "" if result.reason is None else result.reason.code
            name = _plain(result.source.name)
            writer.writerow((item.sequence, name, result.status, label, chance, reason, result.created,
                             f"results/{self.path_of(item.key).name}"))  # fmt: skip
        write_text(self.out / "results.csv", stream.getvalue())


def _plain(name: str) -> str:
    """A file name that no spreadsheet takes for a formula."""
    return f"'{name}" if name[:1] in "=+-@\t\r" else name
