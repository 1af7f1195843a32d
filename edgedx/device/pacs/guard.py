"""A listening socket whose connections watch what they read: pynetdicom reads from them, and never sees too much.

pynetdicom takes whatever length a PDU declares, waits for it for ever, and does TLS handshakes one after another in
the thread that accepts. Here each connection judges a declared length at its sixth byte (`dicom.receive.Meter`), has a
deadline for every read, and does its handshake at its first read, in its own thread.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from edgedx.dicom.receive import Load, Meter, PeerRefused

if TYPE_CHECKING:
    _Socket = socket.socket
else:
    _Socket = object

_ANSWER_SECONDS = 30.0  # a peer that does not read our answers
_CODES: dict[type, str] = {TimeoutError: "SLOW"}
_ACCEPT_SECONDS = 1.0
_BACKLOG = 64

Tell = Callable[[str, str], None]
"""A code, and the peer's address."""


class _Watched(_Socket):
    """What both kinds of connection do beside their own."""

    meter: Meter | None = None
    tell: Callable[[str], None] | None = None
    born: float = 0.0
    silent: bool = True  # it never sent what needed an answer

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Read, within the deadline; raises OSError where the peer goes too far, and the association ends."""
        if self.meter is None:
            return super().recv(size, flags)
        try:
            self.settimeout(self.meter.patience(time.monotonic()))
            data = super().recv(size, flags)
            self.meter.feed(data, time.monotonic())
            return data
        except (PeerRefused, TimeoutError, ssl.SSLError) as error:
            if self.tell is not None:
                self.tell(error.code if isinstance(error, PeerRefused) else _CODES.get(type(error), "TLS"))
            self.close()
            raise

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Answer: what the peer sent before is not held any more."""
        self.settimeout(_ANSWER_SECONDS)
        sent = super().send(data, flags)
        self.silent = False
        if self.meter is not None:
            self.meter.answered()
        return sent

    def shutdown(self, how: int, /) -> None:
        """As ever; a peer that is gone already is no reason for the caller to forget to close."""
        with contextlib.suppress(OSError):
            super().shutdown(how)

    def close(self) -> None:
        """Close, and give back what was counted."""
        if self.meter is not None:
            self.meter.answered()
        super().close()


class Plain(_Watched, socket.socket):
    """A connection without TLS."""


class Tls(_Watched, ssl.SSLSocket):  # type: ignore[misc]  # one name for flags, another for it
    """A connection with TLS."""


class Listener(socket.socket):
    """Accepts connections up to a limit; then the oldest that never asked for anything makes room, if there is one.

    Parameters
    ----------
    bound : socket
        Bound; this takes its place.
    context : SSLContext, optional
        For TLS.
    """

    def __init__(
        self, bound: socket.socket, load: Load, limit: int, tell: Tell, context: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(fileno=bound.detach())
        self._load, self._limit, self._tell, self._context = load, limit, tell, context
        self._peers: WeakSet[_Watched] = WeakSet()
        if context is not None:
            context.sslsocket_class = Tls
        self.settimeout(_ACCEPT_SECONDS)  # a peer may be gone again
        self.listen(_BACKLOG)

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection; raises OSError where all others are at work."""
        plain, address = super().accept()
        host = str(address[0])
        open_ = [peer for peer in self._peers if peer.fileno() != -1]
        if len(open_) >= self._limit:
            oldest = min((peer for peer in open_ if peer.silent), key=lambda peer: peer.born, default=None)
            self._tell("TOO_MANY", host)
            if oldest is None:
                plain.close()
                raise ConnectionAbortedError
            oldest.shutdown(socket.SHUT_RDWR)  # its own thread reads the end, and closes it
            self._peers.discard(oldest)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        peer: _Watched
        if self._context is None:
            peer = Plain(fileno=plain.detach())
        else:
            wrapped = self._context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
            assert isinstance(wrapped, Tls)
            peer = wrapped
        peer.meter, peer.born = Meter(self._load), time.monotonic()
        peer.tell = lambda code: self._tell(code, host)
        self._peers.add(peer)
        return peer, address
