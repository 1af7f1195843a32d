"""Results kept as they come, so that `edgedx explain` or `robustness`, when stopped, goes on where it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from edgedx.core.files import atomic_write, canonical_json, read_json, sha256_bytes, sha256_file, write_json

FOLDER, ABOUT = ".parts", "about.json"
Arrays = dict[str, np.ndarray]


class Parts:
    """Arrays by name, each in a file of its own, of one call with these very settings and inputs.

    Parameters
    ----------
    folder : Path or None
        Where the command writes; the parts lie in ``.parts`` there until `finish`. None keeps nothing.
    about : mapping
        All that decides the results: settings, digests of models and images, version. What was kept of another call is
        thrown away.
    """

    def __init__(self, folder: Path | None, about: Mapping[str, Any]) -> None:
        self.folder = None if folder is None else folder / FOLDER
        if self.folder is None:
            return
        fingerprint = sha256_bytes(canonical_json(about))
        record = self.folder / ABOUT
        if not record.is_file() or read_json(record).get("fingerprint") != fingerprint:
            shutil.rmtree(self.folder, ignore_errors=True)
            write_json(record, {"fingerprint": fingerprint})

    def arrays(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """What was kept under `name`; else `compute` it and keep it. A file that cannot be read is computed again."""
        if self.folder is None:
            return compute()
        path = self.folder / f"{sha256_bytes(name.encode())[:24]}.npz"
        try:
            with np.load(path, allow_pickle=False) as archive:
                return {key: archive[key] for key in archive.files}
        except (OSError, ValueError, EOFError, KeyError, BadZipFile):
            pass
        made = compute()
        with atomic_write(path) as stream:
            np.savez(stream, **made)  # type: ignore[arg-type]
        return made

    def array(self, name: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """One array, as `arrays` does."""
        return self.arrays(name, lambda: {"values": compute()})["values"]

    def finish(self) -> None:
        """Everything is written elsewhere: the parts go."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


NOTHING_KEPT = Parts(None, {})


def digest_of(path: Path) -> str:
    """SHA-256 of a model's file, or of all files of a checkpoint folder."""
    if not path.is_dir():
        return sha256_file(path)
    files = sorted(one for one in path.rglob("*") if one.is_file())
    return sha256_bytes(canonical_json([[one.relative_to(path).as_posix(), sha256_file(one)] for one in files]))
