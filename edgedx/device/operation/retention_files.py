"""What lies on the disk of each image that was answered: results, pictures, objects, and our copy in the inbox."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgedx.core.errors import InputOutputError
from edgedx.core.files import read_json, storage_error
from edgedx.device.pacs.outbox import folder_of
from edgedx.device.pacs.receipts import Receipts

if TYPE_CHECKING:
    from edgedx.device.scanner.journal import Journal

_AT_ONCE = 500  # files that are looked at before the scanner may go on


@dataclass
class Content:
    """One image with all that was made of it, by whatever bundle.

    Attributes
    ----------
    results : dict
        Stem of the result's file to its key, and its status with its code.
    answered : float
        When the newest result was written, by the wall clock.
    files : list of Path
        Pictures and objects.
    received : list of Path
        Copies in the inbox that are ours.
    bytes : int
        Of all of them.
    """

    sha256: str
    results: dict[str, tuple[str, str]] = field(default_factory=dict)
    answered: float = 0.0
    files: list[Path] = field(default_factory=list)
    received: list[Path] = field(default_factory=list)
    bytes: int = 0


def gather(inbox: Path, out: Path, journal: Journal, contents: dict[str, Content]) -> Iterator[None]:
    """Fill `contents`, by content hash, with all that has a result; yields where the scanner may go on meanwhile.

    Raises
    ------
    InputOutputError, StorageError
        A folder, the ledger or the receipts cannot be read.
    """
    files: dict[str, list[tuple[Path, int]]] = {}
    answered: dict[str, float] = {}
    for folder in (out / "results", folder_of(out)):
        for count, (path, size, written) in enumerate(_listed(folder), start=1):
            stem = path.name[:32]
            if folder.name == "results" and path.suffix == ".json":
                answered[stem] = written
            files.setdefault(stem, []).append((path, size))
            if count % _AT_ONCE == 0:
                yield
    known = list(journal.answers())
    orphans = answered.keys() - {key[:32] for key, *_ in known}
    yield
    # Orphans: the ledger forgot them, and a kill came then.
    known += [one for one in (_of_file(out / "results" / f"{stem}.json") for stem in orphans) if one is not None]
    for count, (key, sha256, status, code) in enumerate(known, start=1):
        stem = key[:32]
        if stem in answered:  # else its result is gone: nothing says how old it is, and nothing is left of it
            content = contents.setdefault(sha256, Content(sha256))
            content.results[stem] = (key, f"{status} {code or ''}")
            content.answered = max(content.answered, answered[stem])
            content.bytes += sum(size for _, size in files[stem])
            content.files += [
                path for path, _ in files[stem] if path.parent.name != "results" or path.suffix != ".json"
            ]
        if count % _AT_ONCE == 0:
            yield
    for count, (name, sha256) in enumerate(_received(out).items(), start=1):
        if sha256 in contents and "/" not in name and name not in ("", ".", ".."):
            _add_received(contents[sha256], inbox / name)
        if count % _AT_ONCE == 0:
            yield


def _add_received(content: Content, path: Path) -> None:
    try:
        content.bytes += path.lstat().st_size
    except OSError:  # somebody took it away
        return
    content.received.append(path)


def _of_file(path: Path) -> tuple[str, str, str, str | None] | None:
    try:
        result = read_json(path)
        code = (result["reason"] or {}).get("code")
        return str(result["key"]), str(result["source"]["sha256"]), str(result["status"]), code
    except (InputOutputError, KeyError, TypeError, AttributeError):
        return None  # not ours, or damaged: a person should see it


def _received(out: Path) -> dict[str, str]:
    path = out / "receipts.sqlite"
    if not path.is_file():
        return {}
    receipts = Receipts(path)
    try:
        return receipts.all()
    finally:
        receipts.close()


def _listed(folder: Path) -> Iterator[tuple[Path, int, float]]:
    """Regular files whose name begins as a result's key does, with size and time."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name[:1] in "0123456789abcdef" and entry.is_file(follow_symlinks=False):
                    facts = entry.stat(follow_symlinks=False)
                    yield Path(entry.path), facts.st_size, facts.st_mtime
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(folder, error) from error
