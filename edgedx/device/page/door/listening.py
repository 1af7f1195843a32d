"""Sockets that no client can hold: so many at a time, so long for a head, for silence and for reading an answer.

asyncio and uvicorn bound none of these by themselves: 200 half-open connections (slow-loris) would stay for good.
"""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import socket
from collections import Counter
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from edgedx.core.errors import InputOutputError, UsageError

from .limits import Limits

_TLS_BUFFER = 32 << 10
"""Bytes that asyncio sets aside for each connection with TLS, twice a record; with its own 256 KiB, 200 connections
that do nothing cost 60 MB, which the process kept."""


class Listener(socket.socket):
    """A listening socket that turns away who has too many connections open, before TLS costs anything.

    Attributes
    ----------
    limits : Limits
    """

    limits = Limits()

    def begin(self, limits: Limits) -> None:
        """Count from now on."""
        self.limits, self._open = limits, Counter[str]()

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection.

        Raises
        ------
        ConnectionAbortedError
            It was one too many, and is closed; asyncio goes on with the next.
        """
        connection, address = super().accept()
        client = str(address[0])
        if self._open.total() >= self.limits.connections or self._open[client] >= self._of_one(client):
            connection.close()
            raise ConnectionAbortedError("too many connections")
        counted = _Counted(self.family, self.type, self.proto, fileno=connection.detach())
        counted.setblocking(False)
        # asyncio sets it only where the socket's protocol is written in it: head and body would come 40 ms apart.
        counted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        counted.count(self._open, client)
        return counted, address

    def _of_one(self, client: str) -> int:
        """Programs of this machine share one address."""
        own = client in ("127.0.0.1", "::1", "::ffff:127.0.0.1")
        return self.limits.connections if own else self.limits.connections_of_one


class _Counted(socket.socket):
    """A connection that says when it is closed."""

    _open: Counter[str] | None = None

    def count(self, among: Counter[str], client: str) -> None:
        self._open, self._client = among, client
        among[client] += 1

    def close(self) -> None:
        among, self._open = self._open, None
        if among is not None:
            among[self._client] -= 1
            if among[self._client] <= 0:
                del among[self._client]
        super().close()


def listen(host: str, port: int, limits: Limits) -> Listener:
    """A socket that listens at one address.

    Raises
    ------
    UsageError
        No such address on this machine, or no right to the port.
    InputOutputError
        The port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol by its number: asyncio turns Nagle off only where it is told that this is TCP.
    listener = Listener(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except PermissionError as error:
        listener.close()
        raise UsageError(f"port {port} is the system's", next_step="choose --port 1024 or above") from error
    except OSError as error:
        listener.close()
        raise InputOutputError(
            f"{host} port {port} cannot be used: {error.strerror}", next_step="choose another --port or --host"
        ) from error
    listener.setblocking(False)
    listener.begin(limits)
    return listener


class PatientLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop, which gives a client `limits.head_seconds` for TLS's handshake, where 60 is the default."""

    limits = Limits()

    async def create_server(self, *given: Any, **named: Any) -> Any:
        """See `asyncio.loop.create_server`."""
        if named.get("ssl") is not None:
            asyncio.sslproto.SSLProtocol.max_size = _TLS_BUFFER  # type: ignore[attr-defined]
            named |= {"ssl_handshake_timeout": self.limits.head_seconds, "ssl_shutdown_timeout": 5.0}
        return await super().create_server(*given, **named)


class _Deadline:
    """Ends a connection that does not go on in time."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, protocol: PatientProtocol, seconds: float) -> None:
        """From now on, unless it has begun."""
        self._timer = self._timer or protocol.loop.call_later(seconds, protocol.transport.abort)

    def end(self) -> None:
        """It went on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class PatientProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with bounds in time; a body's are kept where it is read (`guard`)."""

    limits = Limits()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The first head is waited for from now on."""
        super().connection_made(transport)
        self._head, self._stall = _Deadline(), _Deadline()
        self._head.begin(self, self.limits.head_seconds)

    def data_received(self, data: bytes) -> None:
        """A head that began must end in time, however slowly it drips."""
        if self.cycle is None or self.cycle.response_complete:
            self._head.begin(self, self.limits.head_seconds)
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._head.end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._head.end()
        self._stall.end()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read: it has so long to go on."""
        super().pause_writing()
        self._stall.begin(self, self.limits.silence_seconds)

    def resume_writing(self) -> None:
        """It does."""
        self._stall.end()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """An idle connection is closed, with what the client has not read of the last answer."""
        super().timeout_keep_alive_handler()
        self._stall.begin(self, self.limits.silence_seconds)
