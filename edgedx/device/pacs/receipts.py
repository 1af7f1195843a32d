"""What a C-STORE may be answered: an object is acknowledged when its file and its receipt are durable, and not before.

::

    file beside its name -> fsync -> rename -> fsync of the inbox -> receipt committed -> 0x0000

A kill before the last step leaves a file without a receipt: it is scanned, and the peer, which got no answer, sends
it again. It has the same name and the same bytes then, and one result.
"""

from __future__ import annotations

import hashlib
import shutil
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import ClassVar

from edgedx.core.errors import InputOutputError
from edgedx.core.files import atomic_write, storage_error, sync_folder
from edgedx.device.machine.database import Database
from edgedx.dicom.receive import LEFTOVERS, Status, file_header, file_name, identify, is_image_class

_SCHEMA = """
CREATE TABLE receipts (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    file TEXT NOT NULL UNIQUE,
    sha256 TEXT NOT NULL,
    bytes INTEGER NOT NULL
);
"""


class Receipts(Database):
    """The receiver's ledger: every object that was acknowledged (see `Database`)."""

    kind: ClassVar[str] = "receipts"
    schema: ClassVar[str] = _SCHEMA
    first_table: ClassVar[str] = "receipts"

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        super().__init__(path, read_only=read_only, any_thread=True)  # one thread for each association, one at a time
        if not read_only:
            sync_folder(path.parent)

    def add(self, file: str, sha256: str, size: int) -> None:
        """Record an object whose file is durable; one that is recorded stays as it is."""
        with self._translate():
            sql = "INSERT OR IGNORE INTO receipts (file, sha256, bytes) VALUES (?, ?, ?)"
            self._db.execute(sql, (file, sha256, size))

    def size_of(self, file: str) -> int | None:
        """Bytes of an object that was acknowledged before."""
        with self._translate():
            row = self._db.execute("SELECT bytes FROM receipts WHERE file = ?", (file,)).fetchone()
        return None if row is None else int(row[0])

    def all(self) -> dict[str, str]:
        """SHA-256 of every acknowledged file, by name."""
        with self._translate():
            return dict(self._db.execute("SELECT file, sha256 FROM receipts ORDER BY sequence").fetchall())


class Desk:
    """Takes objects into an inbox.

    Parameters
    ----------
    inbox : Path
    receipts : Receipts
    floor : int
        Bytes that stay free on the disks of both.
    """

    def __init__(self, inbox: Path, receipts: Receipts, floor: int) -> None:
        self.inbox, self.receipts, self.floor = inbox, receipts, floor
        self._lock = Lock()  # one disk, one writer; two peers that send the same object do not meet

    def clear(self) -> None:
        """Remove what a kill left half written; nobody else may be receiving into the inbox."""
        try:
            for left in self.inbox.glob(LEFTOVERS):
                left.unlink()
        except OSError as error:
            raise storage_error(self.inbox, error) from error

    def take(self, sop_class: str, sop_instance: str, syntax: str, data: BytesIO) -> Status:
        """Store one object.

        Parameters
        ----------
        sop_class, sop_instance : str
            As the C-STORE request names them.
        syntax : str
            Transfer syntax UID of the presentation context.
        data : BytesIO
            The encoded data set, as it came.

        Returns
        -------
        Status
            ``TAKEN`` when it is durable, and would be after a power cut at this moment.
        """
        if not is_image_class(sop_class):
            return Status.CLASS_NOT_TAKEN
        identity = identify(data, syntax)
        if identity is None:
            return Status.NOT_UNDERSTOOD
        if identity != (sop_class, sop_instance):
            return Status.NOT_WHAT_IT_SAYS
        header = file_header(*identity, syntax)
        with data.getbuffer() as body, self._lock:
            digest = hashlib.sha256(header)
            digest.update(body)
            sha256 = digest.hexdigest()
            try:
                return self._store(file_name(identity[1], sha256), sha256, header, body)
            except (InputOutputError, OSError, MemoryError):  # full, or gone: the peer keeps it and sends it again
                return Status.NO_SPACE

    def _store(self, name: str, sha256: str, header: bytes, body: memoryview) -> Status:
        path, size = self.inbox / name, len(header) + len(body)
        if self.receipts.size_of(name) == size and path.is_file() and path.stat().st_size == size:
            return Status.TAKEN  # again, and it is there; one that was taken out of the inbox is put there again
        if self.is_low(size):
            return Status.NO_SPACE
        with atomic_write(path) as stream:
            stream.write(header)
            stream.write(body)
        self.receipts.add(name, sha256, size)
        return Status.TAKEN

    def is_low(self, size: int = 0) -> bool:
        """Whether `size` more bytes would leave less free than the floor."""
        return any(
            shutil.disk_usage(folder).free - size < self.floor for folder in (self.inbox, self.receipts.path.parent)
        )
