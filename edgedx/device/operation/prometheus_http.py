"""The metrics over HTTP, on loopback alone, for a collector on the same machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from edgedx.core.errors import InputOutputError

LOOPBACK = "127.0.0.1"


@contextmanager
def serve_metrics(port: int) -> Iterator[tuple[Callable[[str], None], int]]:
    """Serve ``/metrics`` while the context lasts; yields what takes a new text, and the port (one is chosen for 0).

    What is served is the last beat of the work loop: a scanner that hangs serves an old one, which
    ``edgedx_beat_seconds`` says.

    Raises
    ------
    InputOutputError
        The port is taken.
    """
    latest = [b""]

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/metrics":
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(latest[0])))
            self.end_headers()
            self.wfile.write(latest[0])

        def log_message(self, format: str, *arguments: object) -> None:
            """Quiet: a line for each scrape would fill the log."""

    Page.timeout = 10
    try:
        server = ThreadingHTTPServer((LOOPBACK, port), Page)
    except OSError as error:
        raise InputOutputError(
            f"port {port} of {LOOPBACK} cannot be used: {error.strerror}", next_step="choose another --metrics-port"
        ) from error
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def show(text: str) -> None:
        latest[0] = text.encode()

    try:
        yield show, int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
