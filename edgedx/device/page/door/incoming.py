"""A file that comes in by the page: whole on the inbox's disk before it has a name that the scanner reads.

::

    INBOX/.page-*.part   while it comes; the scanner passes over it (a dot, and .part)
    INBOX/page-*         when it is whole and on the disk; the name is drawn here, none of it comes from the client
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

from edgedx.core.errors import StorageError
from edgedx.core.files import storage_error, sync_folder

_BEGUN, _ENDS = ".page-", ".part"
_LEFT_SECONDS = 3600.0
_KINDS = ((b"\x89PNG\r\n\x1a\n", ".png"), (b"\xff\xd8\xff", ".jpg"), (b"II*\0", ".tif"), (b"MM\0*", ".tif"),
          (b"BM", ".bmp"))  # fmt: skip


class Arriving:
    """One file on its way; `finish` or `discard` it.

    Parameters
    ----------
    inbox : Path
    floor : int
        Free bytes that the disk must keep.

    Raises
    ------
    StorageError, InputOutputError
        The disk is full or cannot be written; so does every method but `discard`.
    """

    def __init__(self, inbox: Path, floor: int) -> None:
        self._inbox, self._floor = inbox, floor
        self._mark = secrets.token_hex(16)
        self._path = inbox / f"{_BEGUN}{self._mark}{_ENDS}"
        self._digest, self._begins, self.bytes = hashlib.sha256(), b"", 0
        self._check_room()
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._handle = os.open(self._path, flags, 0o640)
        except OSError as error:
            raise storage_error(inbox, error) from error

    def write(self, piece: bytes) -> None:
        """Append what came."""
        self._check_room()
        self._digest.update(piece)
        self._begins += piece[: 132 - len(self._begins)] if len(self._begins) < 132 else b""
        left = memoryview(piece)
        try:
            while left:
                left = left[os.write(self._handle, left) :]
        except OSError as error:
            raise storage_error(self._inbox, error) from error
        self.bytes += len(piece)

    @property
    def sha256(self) -> str:
        """Of what came until now."""
        return self._digest.hexdigest()

    def finish(self) -> str:
        """Make it durable and let the scanner have it; returns the SHA-256 of its content, by which it is known."""
        name = f"page-{self._mark}{_ending(self._begins)}"
        try:
            os.fsync(self._handle)
            os.close(self._handle)
            self._handle = -1
            os.replace(self._path, self._inbox / name)
            sync_folder(self._inbox)
        except OSError as error:
            raise storage_error(self._inbox, error) from error
        return self.sha256

    def discard(self) -> None:
        """Leave nothing behind; harmless after `finish`."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _check_room(self) -> None:
        try:
            room = os.statvfs(self._inbox)
        except OSError as error:
            raise storage_error(self._inbox, error) from error
        if room.f_bavail * room.f_frsize < self._floor:
            raise StorageError("the disk of the inbox is full", next_step="free space on it, then send again")


def remove_left(inbox: Path) -> None:
    """Remove what a page that was killed left half received, an hour ago or longer."""
    with suppress(OSError):
        for path in inbox.glob(f"{_BEGUN}*{_ENDS}"):
            if time.time() - path.stat().st_mtime > _LEFT_SECONDS:
                path.unlink(missing_ok=True)


def _ending(begins: bytes) -> str:
    """For people who look into the inbox; the scanner knows a file by its content."""
    if begins[128:132] == b"DICM":
        return ".dcm"
    return next((ending for magic, ending in _KINDS if begins.startswith(magic)), "")
