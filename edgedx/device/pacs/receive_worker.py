"""The process that receives by C-STORE: ``python -m edgedx.device.pacs.receive_worker INBOX OUT SETTINGS``.

Whatever a peer does to it costs what was not yet acknowledged, which the peer still has.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from socketserver import BaseServer
from typing import Any, Protocol

from edgedx.core.errors import InputOutputError
from edgedx.dicom.receive import MAX_PDU, Load, Status, is_image_class, syntaxes, told_title

from .companion import Caller, alone
from .guard import Listener
from .receipts import Desk, Receipts
from .receiver import Listen

_REQUEST_SECONDS = 15.0  # for the association request (ARTIM, PS3.8 9.1.5)
_IDLE_SECONDS = 60.0
_LAST_SECONDS = 5.0  # for objects that are on their way when the scanner ends
_STACK = 1 << 20  # of a thread; the memory limit counts it in full


class Taker(Protocol):
    """Who decides what is done with an object."""

    def take(self, sop_class: str, sop_instance: str, syntax: str, data: BytesIO) -> Status:
        """Answer to a C-STORE (see `Desk.take`)."""


class Reception:
    """A storage SCP.

    Parameters
    ----------
    tell : callable
        Takes a line for the log: codes, titles and addresses alone.
    """

    def __init__(self, desk: Taker, listen: Listen, tell: Callable[[str], None]) -> None:
        self._desk, self._listen, self._tell = desk, listen, tell
        self.load = Load()
        self._low = False

    def open(self, bound: socket.socket) -> None:
        """Accept connections in a thread."""
        from pynetdicom import _config, evt
        from pynetdicom.ae import ApplicationEntity
        from pynetdicom.presentation import AllStoragePresentationContexts
        from pynetdicom.transport import ThreadedAssociationServer

        _config.LOG_HANDLER_LEVEL = "none"  # it would describe each message
        entity = ApplicationEntity(ae_title=self._listen.called)
        entity.require_called_aet = True
        entity.require_calling_aet = list(self._listen.calling)
        entity.maximum_associations = 2 * self._listen.connections  # the listener counts; pynetdicom counts the dying
        entity.maximum_pdu_size = MAX_PDU
        entity.acse_timeout = _REQUEST_SECONDS
        entity.dimse_timeout = entity.network_timeout = _IDLE_SECONDS
        entity.add_supported_context("1.2.840.10008.1.1")  # Verification: C-ECHO
        for context in AllStoragePresentationContexts:
            if is_image_class(str(context.abstract_syntax)):
                entity.add_supported_context(str(context.abstract_syntax), syntaxes())
        server = entity.make_server(
            ("127.0.0.1", 0), server_class=ThreadedAssociationServer,
            evt_handlers=[
                (evt.EVT_C_STORE, self._store), (evt.EVT_REJECTED, self._rejected), (evt.EVT_CONN_CLOSE, _closed),
            ],
        )  # fmt: skip
        assert server.socket is not None
        server.socket.close()
        self.listener = Listener(bound, self.load, self._listen.connections, self._dropped, self._listen.tls())
        self._entity, server.socket = entity, self.listener
        server.server_address = self.listener.getsockname()
        self.server = server
        self.thread = threading.Thread(target=server.serve_forever, name="listener", daemon=True)
        self.thread.start()

    def close(self) -> None:
        """Take nothing any more; connections are ended."""
        BaseServer.shutdown(self.server)  # pynetdicom's would look for it among those that it started
        self.listener.close()
        for association in self._entity.active_associations:
            association.abort()

    def _store(self, event: Any) -> int:
        request = event.request
        try:
            status = self._desk.take(
                str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID),
                str(event.context.transfer_syntax), request.DataSet,
            )  # fmt: skip
        finally:
            request.DataSet.close()  # its memory, now and not when Python gets to it
        if status not in (Status.TAKEN, Status.NO_SPACE):
            requestor = event.assoc.requestor
            self._tell(f"object not taken: 0x{status:04X} {told_title(requestor.ae_title)} {requestor.address}")
        elif (status is Status.NO_SPACE) != self._low:
            self._low = status is Status.NO_SPACE
            self._tell("no space: objects are answered 0xA700" if self._low else "there is space again")
        return int(status)

    def _rejected(self, event: Any) -> None:
        requestor = event.assoc.requestor
        called = told_title(requestor.primitive.called_ae_title)
        self._tell(f"association rejected: {told_title(requestor.ae_title)} {requestor.address} called {called}")

    def _dropped(self, code: str, address: str) -> None:
        self._tell(f"connection dropped: {code} {address}")


def _closed(event: Any) -> None:
    """A connection ended: what pynetdicom would keep of it for half a minute goes now."""
    message = event.assoc.dimse.message
    if message is not None and message.data_set is not None:
        message.data_set.close()  # an object that was on its way
    if event.assoc.requestor.primitive is None:
        event.assoc.dul.to_user_queue.put(None)  # its thread would wait for the association request


class Sparing:
    """Tells a few lines a minute, whatever a peer does, so that it fills no log."""

    def __init__(self, tell: Callable[[str], None], lines: int = 30) -> None:
        self._tell, self._lines = tell, lines
        self._told: deque[float] = deque(maxlen=lines)
        self._untold = 0

    def __call__(self, text: str) -> None:
        """Tell it, or count it."""
        now = time.monotonic()
        if len(self._told) == self._lines and now - self._told[0] < 60.0:
            self._untold += 1
            return
        self._told.append(now)
        untold, self._untold = self._untold, 0
        self._tell(f"{text} ({untold} lines before it were left out)" if untold else text)


def confine(memory: int) -> None:
    """Limits on memory, no core dump, no end but the scanner's, and files that are not for every user."""
    import ctypes
    import resource

    os.umask(0o027)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(-8, 2)  # M_ARENA_MAX: each arena takes 64 MB of address space, one for each thread
    threading.stack_size(_STACK)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it would hold pixels and names
    for number in (signal.SIGINT, signal.SIGTERM):  # a service manager sends them to all; the scanner decides
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("900")


def main() -> None:
    """Receive until the scanner is gone."""
    inbox, out, listen = Path(sys.argv[1]), Path(sys.argv[2]), Listen.model_validate_json(sys.argv[3])
    caller = Caller()
    logging.disable(logging.CRITICAL)  # pydicom and pynetdicom quote what they were sent
    confine(listen.memory)
    with alone(inbox / ".edgedx-receiving.lock", caller):
        try:
            desk = Desk(inbox, Receipts(out / "receipts.sqlite"), listen.disk_floor)
            desk.clear()
            reception = Reception(desk, listen, Sparing(caller.say))
            reception.open(listen.bind())
        except (InputOutputError, OSError) as error:
            caller.say(f"cannot receive: {type(error).__name__}")
            sys.exit(1)
        while not caller.gone and reception.thread.is_alive():
            caller.wait(10.0)
        reception.listener.close()
        until = time.monotonic() + _LAST_SECONDS
        while caller.gone and reception.load.bytes and time.monotonic() < until:
            time.sleep(0.05)
        os._exit(0 if caller.gone else 1)  # threads of associations would keep it; what was acknowledged is durable


if __name__ == "__main__":
    main()
