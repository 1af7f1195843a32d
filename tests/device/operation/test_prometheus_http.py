"""The metrics' page: loopback alone, for who asks by that name; a client can neither fill the process nor the log."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from pathlib import Path

import pytest
from pacs import wait_for

from edgedx.core.errors import InputOutputError
from edgedx.device.operation import prometheus_http
from edgedx.device.operation.prometheus_http import MAX_CLIENTS, answer, serve_metrics

TEXT = "edgedx_pending 7\n"


def _ask(port: int, method: str = "GET", path: str = "/metrics", host: str | None = None) -> tuple[int, bytes, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, headers={} if host is None else {"Host": host})
    page = connection.getresponse()
    body = page.read()
    connection.close()
    return page.status, body, page.headers["Content-Length"]


def _raw(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as peer:
        peer.sendall(data)
        said = b""
        while more := peer.recv(4096):
            said += more
        return said


def test_it_is_served_on_loopback_alone() -> None:
    with serve_metrics(0) as (show, port):
        show(TEXT)
        assert _ask(port) == (200, TEXT.encode(), "17")
        assert _ask(port, path="/metrics?debug=1")[0] == 200
        assert _ask(port, path="/../etc/passwd")[0] == 404
        with pytest.raises(InputOutputError, match="cannot be used"), serve_metrics(port):
            pass
        listening = Path("/proc/net/tcp").read_text()
        assert f"0100007F:{port:04X} 00000000:0000 0A" in listening and f"00000000:{port:04X}" not in listening


def test_head_has_the_same_headers_and_no_body() -> None:
    with serve_metrics(0) as (show, port):
        show(TEXT)
        assert _ask(port, "HEAD") == (200, b"", "17")
        said = _raw(port, b"HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert said.startswith(b"HTTP/1.1 200 OK\r\n") and said.endswith(b"\r\n\r\n")
        assert _ask(port, "HEAD", "/other")[:2] == (404, b"")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "127.0.0.1:1", "", "localhost@evil", "::1"],
)
def test_a_page_of_another_name_that_resolves_to_loopback_reads_nothing(host: str) -> None:
    """DNS rebinding: the browser sends the name that it believes to be at."""
    with serve_metrics(0) as (show, port):
        show(TEXT)
        status, body, _ = _ask(port, host=host.format(port=port))
        assert status == 403 and b"edgedx_pending" not in body


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "localhost:{port}", "127.0.0.1:{port}"])
def test_its_own_names_are_answered(host: str) -> None:
    with serve_metrics(0) as (show, port):
        show(TEXT)
        assert _ask(port, host=host.format(port=port))[0] == 200


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /metrics HTTP/1.0\r\n\r\n", "200"), (b"GET /metrics HTTP/1.1\r\n\r\n", "403"),
        (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", "403"),
        (b"POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", "405"), (b"GET /metrics\r\n\r\n", "400"),
        (b"\x16\x03\x01\x02\x00\n\n", "400"), (b"\r\n\r\n", "400"), (b"GET  /metrics HTTP/1.1\r\n\r\n", "400"),
    ],
)  # fmt: skip
def test_what_is_asked_decides_the_answer(head: bytes, status: str) -> None:
    assert answer(head, 9100, b"text")[0].startswith(status)


def test_clients_that_say_nothing_cost_a_few_threads_for_a_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus_http, "CLIENT_SECONDS", 0.5)
    with serve_metrics(0) as (show, port):
        show(TEXT)
        before = threading.active_count()
        silent = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(60)]
        wait_for(lambda: threading.active_count() > before)
        assert threading.active_count() <= before + MAX_CLIENTS
        assert all(peer.recv(1) == b"" for peer in silent), "each is ended"
        wait_for(lambda: threading.active_count() == before)
        assert _ask(port)[0] == 200
        for peer in silent:
            peer.close()


def test_a_client_that_drips_or_never_ends_its_request_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus_http, "CLIENT_SECONDS", 0.5)
    with serve_metrics(0) as (_, port), socket.create_connection(("127.0.0.1", port), timeout=30) as peer:
        begun = time.monotonic()
        with pytest.raises(ConnectionError):
            while time.monotonic() - begun < 30:
                peer.sendall(b"X")
                time.sleep(0.01)
    with serve_metrics(0) as (_, port), contextlib.suppress(ConnectionError):
        assert _raw(port, b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 10_000) == b""


def test_clients_that_go_away_leave_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    with serve_metrics(0) as (show, port):
        show("x" * (8 << 20))
        for data in (b"", b"GET", b"\xff\xfe\r\n\r\n", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            peer = socket.create_connection(("127.0.0.1", port), timeout=30)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # RST instead of FIN
            peer.sendall(data)
            peer.close()
        assert _ask(port)[0] == 200
    assert capfd.readouterr() == ("", "")
