"""The scanner's source: a folder that others write to, looked at and never trusted to hold still."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from edgedx.core.errors import InputOutputError, UsageError
from edgedx.core.files import sha256_file

from .decide import ignored
from .facts import Stat

log = logging.getLogger("edgedx.scan")


class Inbox:
    """A folder with its sub-folders. Names are relative to it, with ``/``, as `os.fsdecode` gives them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._unlisted = 0

    def path(self, name: str) -> Path:
        """Where a listed file is."""
        return self.folder / name

    def list(self) -> dict[str, Stat]:
        """Regular files that are ours to read; what cannot be listed is left out and counted in the log."""
        found: dict[str, Stat] = {}
        unlisted = self._walk(str(self.folder), "", found)
        if unlisted != self._unlisted:  # names of folders may be names of patients: only how many
            log.warning("folders of the inbox that cannot be listed: %d", unlisted)
            self._unlisted = unlisted
        return found

    def _walk(self, folder: str, prefix: str, found: dict[str, Stat]) -> int:
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError:
            return 1
        unlisted = 0
        for entry in entries:
            if ignored(entry.name):
                continue
            try:
                # Links are not followed: they could lead out of the inbox.
                if entry.is_dir(follow_symlinks=False):
                    unlisted += self._walk(entry.path, f"{prefix}{entry.name}/", found)
                elif entry.is_file(follow_symlinks=False):
                    found[prefix + entry.name] = _facts(entry.stat(follow_symlinks=False))
            except OSError:
                continue  # gone since it was listed
        return unlisted

    def stat(self, name: str) -> Stat | None:
        """The file's facts now, or None where there is no regular file of that name."""
        try:
            now = self.path(name).lstat()
        except OSError:
            return None
        return _facts(now) if stat.S_ISREG(now.st_mode) else None

    def hash(self, name: str) -> str:
        """SHA-256 of a file.

        Raises
        ------
        InputOutputError
            It cannot be opened or read.
        """
        return sha256_file(self.path(name))

    def holds(self, name: str, sha256: str) -> bool:
        """Whether the file is there with this very content."""
        if self.stat(name) is None:
            return False
        try:
            return sha256_file(self.path(name)) == sha256
        except InputOutputError:
            return False


def _facts(found: os.stat_result) -> Stat:
    return Stat(found.st_size, found.st_mtime_ns, found.st_ino)


def check_folders(inbox: Path, out: Path) -> None:
    """Refuse folders that would lose or repeat work.

    Raises
    ------
    InputOutputError
        No inbox.
    UsageError
        One folder inside the other, so that outputs would be read as inputs.
    """
    if not inbox.is_dir():
        raise InputOutputError(f"no folder {inbox}", next_step="create it, or mount the share, then start again")
    source, target = inbox.resolve(), out.resolve()
    if source == target or source in target.parents:
        raise UsageError(
            f"--out {out} lies inside the inbox: results would be scanned", next_step="choose a folder outside"
        )
    for own in (target / "results", target / "quarantine"):
        if own == source or own in source.parents:
            raise UsageError(f"the inbox {inbox} lies inside {own}, which is the scanner's", next_step="choose another")
