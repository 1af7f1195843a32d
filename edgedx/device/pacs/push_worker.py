"""The process that sends the outbox to a PACS: ``python -m edgedx.device.pacs.push_worker OUT SETTINGS`` (C-STORE SCU).

A file is removed after the PACS has said that it has it and the outbox has recorded that. A kill in between sends the
same object again, under the same SOP Instance UID, and the PACS has it once.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedx.core.errors import InputOutputError

from .companion import Caller, alone
from .outbox import Outbox, QueuedObject, SendOutcome, folder_of, outcome_of, pause
from .peer import Peer

_LOOK = 5.0  # seconds between looks where nobody called: the process that makes objects does not call this one
_BATCH = 50
_CLASSES = ("1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.7")  # Comprehensive 3D SR, Secondary Capture
_SYNTAXES = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]
_CONNECT_S, _ANSWER_S = 10.0, 30.0


@dataclass
class Pusher:
    """Sends what is queued to one PACS.

    Attributes
    ----------
    failures : int
        Associations that failed in a row.
    """

    out: Path
    peer: Peer
    outbox: Outbox
    tell: Callable[[str], None] = lambda text: None
    failures: int = 0

    def run(self) -> bool:
        """Send what is queued, over one association; returns False where the PACS could not be had, or needs time."""
        objects = self.outbox.next(_BATCH)
        if not objects:
            return True
        association = self._associate()
        if association is None:
            return False
        try:
            while objects:
                answers: list[SendOutcome] = []
                for queued in objects:
                    answers.append(self._send(association, queued))
                    if answers[-1] == "pause" or not association.is_established:
                        self.failures += 1
                        return False
                self.failures = 0 if "sent" in answers else self.failures + 1
                if "again" in answers:  # not at once
                    return False
                objects = self.outbox.next(_BATCH)
            self.outbox.forget()
            self.failures = 0
        finally:
            if association.is_established:
                association.release()
            else:
                association.abort()
        return True

    def _associate(self) -> Any:
        from pynetdicom.ae import ApplicationEntity

        entity = ApplicationEntity(ae_title=self.peer.calling)
        entity.connection_timeout, entity.acse_timeout = _CONNECT_S, _ANSWER_S
        entity.dimse_timeout = entity.network_timeout = _ANSWER_S
        for sop_class in _CLASSES:
            entity.add_requested_context(sop_class, _SYNTAXES)
        association = entity.associate(
            self.peer.host, self.peer.port, ae_title=self.peer.called, tls_args=self.peer.tls_arguments()
        )
        if association.is_established:
            return association
        self.failures += 1
        self.tell(f"no association: {_why(association)}, {self.failures} in a row")
        return None

    def _send(self, association: Any, queued: QueuedObject) -> SendOutcome:
        what, code = self._attempt(association, queued)
        self.outbox.settle(queued, what, code)
        if what == "sent":
            (folder_of(self.out) / queued.file).unlink(missing_ok=True)
        else:
            self.tell(f"key={queued.file[:12]} {what} code={code} attempt={queued.attempts + 1}")
        return what

    def _attempt(self, association: Any, queued: QueuedObject) -> tuple[SendOutcome, str]:
        import pydicom

        try:
            dataset = pydicom.dcmread(folder_of(self.out) / queued.file)
        except FileNotFoundError:
            return "failed", "FILE_GONE"
        except OSError:
            return "again", "FILE_UNREADABLE"
        if not any(context.abstract_syntax == dataset.SOPClassUID for context in association.accepted_contexts):
            return "failed", "NO_CONTEXT"
        try:
            answer = association.send_c_store(dataset)
        except (RuntimeError, OSError):  # the association is gone
            return outcome_of(None, queued.attempts)
        except (ValueError, AttributeError):
            return "failed", "NOT_SENDABLE"
        return outcome_of(answer.Status if "Status" in answer else None, queued.attempts)


def _why(association: Any) -> str:
    """In codes alone: what a PACS writes may hold anything."""
    if association.is_rejected and (answer := association.acceptor.primitive) is not None:
        return f"rejected (result {answer.result}, source {answer.result_source}, reason {answer.diagnostic})"
    return "no connection"


def main() -> None:
    """Send until the scanner is gone and nothing is left that can be sent now."""
    out, settings = Path(sys.argv[1]), Peer.model_validate_json(sys.argv[2])
    caller = Caller()
    with contextlib.suppress(OSError):
        os.nice(15)
    with alone(folder_of(out) / ".pushing.lock", caller):
        pusher = Pusher(out, settings, Outbox(folder_of(out) / "outbox.sqlite"), caller.say)
        while True:
            try:
                went = pusher.run()
            except InputOutputError as error:
                caller.say(f"waiting: {type(error).__name__}")
                went = False
            if caller.gone:
                return
            if went:
                caller.wait(_LOOK)
            else:
                _rest(caller, pause(max(1, pusher.failures), random.random()))


def _rest(caller: Caller, seconds: float) -> None:
    """Wait out a pause: that there is more work does not shorten it, that the scanner ends does."""
    until = time.monotonic() + seconds
    while not caller.gone and (left := until - time.monotonic()) > 0:
        caller.wait(left)


if __name__ == "__main__":
    main()
