"""The metrics over HTTP, on loopback alone, for a collector on the same machine.

A web page that a browser on this machine shows must not read them (DNS rebinding), so the Host header is checked; and
whatever a client does costs one of a few threads for a few seconds.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import BoundedSemaphore, Thread
from typing import Any

from edgedx.core.errors import InputOutputError

LOOPBACK = "127.0.0.1"
MAX_CLIENTS = 8
"""At a time; who comes then is turned away."""
CLIENT_SECONDS = 5.0
"""For a request and its answer, however slowly they go."""
_LONGEST_HEAD = 8 << 10
_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@contextmanager
def serve_metrics(port: int) -> Iterator[tuple[Callable[[str], None], int]]:
    """Serve ``/metrics`` while the context lasts; yields what takes a new text, and the port (one is chosen for 0).

    What is served is the last heartbeat of the work loop: a scanner that hangs serves an old one, which
    ``edgedx_beat_seconds`` says.

    Raises
    ------
    InputOutputError
        The port is taken.
    """
    try:
        server = _Server(port)
    except OSError as error:
        raise InputOutputError(
            f"port {port} of {LOOPBACK} cannot be used: {error.strerror}", next_step="choose another --metrics-port"
        ) from error
    Thread(target=server.serve_forever, name="metrics", daemon=True).start()

    def show(text: str) -> None:
        server.text = text.encode()

    try:
        yield show, server.port
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64
    block_on_close = False  # a client that is slow does not hold up the end of the scanner

    def __init__(self, port: int) -> None:
        super().__init__((LOOPBACK, port), _Page)
        self.text = b""
        self.port = int(self.server_address[1])
        self._free = BoundedSemaphore(MAX_CLIENTS)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Quiet: a client that goes away is no error of ours, and a traceback would fill the log."""


class _Page(BaseRequestHandler):
    server: _Server
    request: socket.socket

    def handle(self) -> None:
        until = time.monotonic() + CLIENT_SECONDS
        with contextlib.suppress(OSError):
            head = _read_head(self.request, until)
            if head is None:
                return
            status, body = answer(head, self.server.port, self.server.text)
            lines = [
                f"HTTP/1.1 {status}",
                f"Content-Type: {_TYPE}",
                f"Content-Length: {len(body)}",
                "Connection: close",
            ]
            if status.startswith("405"):
                lines.append("Allow: GET, HEAD")
            page = "\r\n".join([*lines, "", ""]).encode()
            self.request.settimeout(max(0.01, until - time.monotonic()))
            self.request.sendall(page if head.startswith(b"HEAD ") else page + body)


def _read_head(connection: socket.socket, until: float) -> bytes | None:
    """The lines before the empty one; None where they do not come in time, or are too long."""
    head = b""
    while b"\r\n\r\n" not in head and b"\n\n" not in head:
        left = until - time.monotonic()
        if left <= 0 or len(head) > _LONGEST_HEAD:
            return None
        connection.settimeout(left)
        more = connection.recv(2048)
        if not more:
            return None
        head += more
    return head


def answer(head: bytes, port: int, text: bytes) -> tuple[str, bytes]:
    """Status line and body for a request; no input or output."""
    first, *headers = head.decode("latin-1").splitlines()
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return "400 Bad Request", b"not a request of HTTP/1.x\n"
    method, target, version = words
    hosts = [value.strip().lower() for name, colon, value in (line.partition(":") for line in headers)
             if colon and name.strip().lower() == "host"]  # fmt: skip
    known = {f"{name}{end}" for name in (LOOPBACK, "localhost") for end in ("", f":{port}")}
    if any(host not in known for host in hosts) or len(hosts) > 1 or (version != "HTTP/1.0" and not hosts):
        return "403 Forbidden", f"ask for http://{LOOPBACK}:{port}/metrics\n".encode()
    if method not in ("GET", "HEAD"):
        return "405 Method Not Allowed", b"GET or HEAD\n"
    if target.partition("?")[0] != "/metrics":
        return "404 Not Found", b"there is /metrics\n"
    return "200 OK", text
