"""Quarantined files back into the inbox, whether a scanner runs there or not.

Each file is one rename, under a name that holds its key: nobody else's file can be in the way, and a kill leaves it on
one side. Where the inbox is another file system it is copied durably first; a kill then leaves it on both sides, and
the next retry ends that. The scanner gives a content that comes back fresh attempts (`Journal.receive`).
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgedx.core.errors import InputOutputError, UsageError
from edgedx.core.files import read_json
from edgedx.device.scanner.inbox import check_folders
from edgedx.device.scanner.quarantine import bring_back
from edgedx.device.scanner.rebuild import REASON

_FILE = re.compile(r"([0-9a-f]{12})-(.+)", re.DOTALL)


@dataclass(frozen=True)
class Quarantined:
    """A file that was put aside.

    Attributes
    ----------
    path : Path
    key : str
        The first 12 characters of its result's key.
    name, code : str
        Where it was in the inbox, and why it was put aside; empty where the result cannot be read.
    """

    path: Path
    key: str
    name: str
    code: str


def quarantined(out: Path) -> list[Quarantined]:
    """What lies in quarantine.

    Raises
    ------
    InputOutputError
        No scanner has written to `out`.
    """
    folder, found = out / "quarantine", []
    if not folder.is_dir():
        raise InputOutputError(f"no folder {folder}", next_step="name the --out that `edgedx scan` was given")
    for path in sorted(folder.iterdir()):
        match = _FILE.fullmatch(path.name)
        if match is not None and not path.name.endswith(REASON) and path.is_file() and not path.is_symlink():
            found.append(Quarantined(path, match[1], *_known(out, match[1])))
    return found


def _known(out: Path, key: str) -> tuple[str, str]:
    for path in (out / "results").glob(f"{key}*.json"):
        try:
            result = read_json(path)
            return str(result["source"]["name"]), str(result["reason"]["code"])
        except (InputOutputError, KeyError, TypeError):
            break
    return "", ""


def chosen(items: Iterable[Quarantined], keys: Sequence[str]) -> list[Quarantined]:
    """Those whose key begins as one of `keys` says.

    Raises
    ------
    UsageError
        One is no key, or fits nothing.
    """
    fitting: dict[Path, Quarantined] = {}
    for key in keys:
        begin = key[:12] if re.fullmatch("[0-9a-f]{4,64}", key) else "-"
        of_key = {one.path: one for one in items if one.key.startswith(begin)}
        if not of_key:
            raise UsageError(f"nothing is quarantined under {key!r}", next_step="list them: edgedx scan retry OUT")
        fitting |= of_key
    return list(fitting.values())


def put_back(out: Path, inbox: Path, files: Iterable[Quarantined]) -> Iterator[Path]:
    """Move files back, each to the sub-folder it came from where that is still there; yields where each is now.

    Raises
    ------
    UsageError
        The folders do not fit each other.
    InputOutputError, StorageError
        What was not moved is where it was.
    """
    check_folders(inbox, out)
    with _alone(out / "quarantine"):
        for one in files:
            if (target := bring_back(one.path, inbox, one.name)) is not None:
                yield target


@contextmanager
def _alone(quarantine: Path) -> Iterator[None]:
    """Two retries wait for each other; the scanner is not held up."""
    handle = os.open(quarantine, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
