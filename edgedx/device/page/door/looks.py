"""What people do at the page, in the audit chain of the box: who looked at what, who answered, who came in.

A person stands in it by a number that the box gave (`people`), an image by its result key: no name, no patient data.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from edgedx.core.errors import InputOutputError
from edgedx.device.operation.audit_file import AuditFile

log = logging.getLogger("edgedx.page")

LOOKED = {"event": "110103", "meaning": "DICOM Instances Accessed"}
ANSWERED = {"event": "110103", "meaning": "DICOM Instances Accessed", "action": "answered"}
LOGGED_IN = {"event": "110114", "type": "110122", "meaning": "Login"}
LOGGED_OFF = {"event": "110114", "type": "110123", "meaning": "Logout"}
REFUSED = {"event": "110113", "type": "110126", "meaning": "Node Authentication"}
CHANGED = {"event": "110113", "type": "110137", "meaning": "User Security Attributes Changed"}
RECEIVED = {"event": "110107", "meaning": "Import"}
EXPORTED = {"event": "110106", "meaning": "Export"}
EVENTS: Mapping[str, Mapping[str, str]] = {
    "look": LOOKED,
    "answer": ANSWERED,
    "login": LOGGED_IN,
    "logoff": LOGGED_OFF,
    "refused": REFUSED,
    "people": CHANGED,
    "upload": RECEIVED,
    "export": EXPORTED,
}
"""By the word that a view says; codes of DICOM PS3.16, CID 400 and 401."""
DURABLE = frozenset(EVENTS) - {"look"}
"""Events that are on the disk before the act is answered; a look is within a second."""


class Looks:
    """Appends to ``OUT/audit.jsonl``, beside the scanner, from any thread.

    A look is shown even where it cannot be written (the disk is full): patients are waiting. How many were not written
    is, as soon as one can be. Everything else is refused then.
    """

    def __init__(self, out: Path) -> None:
        self._out, self._lock = out, Lock()
        self._file: AuditFile | None = None
        self._unsynced, self._lost = False, 0

    def write(self, event: str, **facts: Any) -> None:
        """One event of `EVENTS`.

        Raises
        ------
        InputOutputError
            It cannot be written; not of a look.
        """
        with self._lock:
            try:
                self._append(EVENTS[event], facts)
                if event in DURABLE:
                    self._sync()
            except InputOutputError:
                if event in DURABLE:
                    raise
                if self._lost == 0:
                    log.error("the audit log cannot be written: looks are counted, and noted in it when it can be")
                self._lost += 1

    def _append(self, event: Mapping[str, str], facts: Mapping[str, Any]) -> None:
        if self._file is None:
            self._file = AuditFile(self._out)
        if self._lost:
            self._file.append(LOOKED, unwritten=self._lost, detail="looks while the audit log could not be written")
            self._lost = 0
        self._file.append(event, **facts)
        self._unsynced = True

    def flush(self) -> None:
        """Make what was written durable; call it once a second, and at the end."""
        with self._lock:
            try:
                self._sync()
            except InputOutputError:
                log.error("the audit log cannot be synced")

    def _sync(self) -> None:
        if self._file is not None and self._unsynced:
            self._file.flush()
            self._unsynced = False

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None
