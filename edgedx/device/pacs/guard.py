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
from collections import Counter
from collections.abc import Callable, Sequence
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

ReportDropped = Callable[[str, str], None]
"""A code, and the peer's address."""


class _Watched(_Socket):
    """What both kinds of connection do beside their own."""

    meter: Meter | None = None
    tell: Callable[[str], None] | None = None
    address: str = ""
    born: float = 0.0
    used: float = 0.0  # when it last sent something, or was answered
    silent: bool = True  # it never sent what needed an answer

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way: what it sent was answered, and ending it loses nothing."""
        return not self.silent and (self.meter is None or self.meter.pending == 0)

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Read, within the deadline; raises OSError where the peer goes too far, and the association ends."""
        if self.meter is None:
            return super().recv(size, flags)
        try:
            self.settimeout(self.meter.patience(time.monotonic()))
            data = super().recv(size, flags)
            self.used = time.monotonic()
            self.meter.feed(data, self.used)
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
        self.silent, self.used = False, time.monotonic()
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
    """Accepts connections up to a limit, and from one address three quarters of it: no peer can shut the others out.

    Where there is no room, a connection that never asked for anything is ended, the oldest first; else the one that has
    been idle for the longest, of the address that has most. One that is sending an object is never ended.

    Parameters
    ----------
    bound : socket
        Bound; this takes its place.
    context : SSLContext, optional
        For TLS.
    """

    def __init__(
        self, bound: socket.socket, load: Load, limit: int, tell: ReportDropped, context: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(fileno=bound.detach())
        self._load, self._limit, self._tell, self._context = load, limit, tell, context
        self._of_one_address = max(1, limit * 3 // 4)
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
        of_host = [peer for peer in open_ if peer.address == host]
        crowd = of_host if len(of_host) >= self._of_one_address else open_ if len(open_) >= self._limit else []
        if crowd:
            ended = to_end(crowd)
            self._tell("TOO_MANY", host)
            if ended is None:
                plain.close()
                raise ConnectionAbortedError
            ended.shutdown(socket.SHUT_RDWR)  # its own thread reads the end, and closes it
            self._peers.discard(ended)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        peer: _Watched
        if self._context is None:
            peer = Plain(fileno=plain.detach())
        else:
            wrapped = self._context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
            assert isinstance(wrapped, Tls)
            peer = wrapped
        peer.meter, peer.address = Meter(self._load), host
        peer.born = peer.used = time.monotonic()
        peer.tell = lambda code: self._tell(code, host)
        self._peers.add(peer)
        return peer, address


def to_end(peers: Sequence[_Watched]) -> _Watched | None:
    """The connection that makes room for another: the oldest silent one, else the idlest of who has most; or none."""
    silent = [peer for peer in peers if peer.silent]
    if silent:
        return min(silent, key=lambda peer: peer.born)
    count = Counter(peer.address for peer in peers)
    idle = [peer for peer in peers if peer.idle]
    return min(idle, key=lambda peer: (-count[peer.address], peer.used), default=None)
