"""Clients that hold on: half-open connections, heads and bodies that drip, answers that nobody reads."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_process import Page, first_administrator, page

ATTACKER = "127.0.0.2"
"""Linux gives every address of 127/8 to who asks for it: a tablet of its own, as far as the page can tell."""
HEAD = 1.5


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    limits = {"head_seconds": HEAD, "keep_seconds": 1, "silence_seconds": 1.5, "burst": 1e6, "per_second": 1e6}
    with page(tmp_path_factory.mktemp("slow"), **limits) as one:
        first_administrator(one)
        yield one


def _is_closed(peer: socket.socket, seconds: float) -> bool:
    """Whether the page ends this connection within so many seconds."""
    peer.settimeout(seconds)
    try:
        while peer.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def _ready(served: Page) -> float:
    begun = time.monotonic()
    assert served.client().get("/login").status == 200
    return time.monotonic() - begun


@pytest.mark.parametrize(
    ("source", "begins"),
    [
        pytest.param(ATTACKER, b"", id="silent, from one tablet", marks=pytest.mark.slow),
        pytest.param(ATTACKER, b"\x16\x03\x01\x02\x00\x01", id="half a handshake, from one", marks=pytest.mark.slow),
        pytest.param("127.0.0.1", b"", id="silent, from this machine", marks=pytest.mark.slow),
        pytest.param("127.0.0.1", b"\x16\x03\x01\x02\x00\x01", id="half a handshake, from this machine"),
    ],
)
def test_200_half_open_sockets_hold_nobody(served: Page, source: str, begins: bytes) -> None:
    before = served.memory()
    with contextlib.ExitStack() as stack:
        peers = []
        for _ in range(200):
            with contextlib.suppress(OSError):
                peer = stack.enter_context(served.raw(source))
                peer.sendall(begins)
                peers.append(peer)
        assert max(_ready(served) for _ in range(3)) < 1.0
        assert served.memory() - before < 30 << 20
        time.sleep(HEAD)
        until = time.monotonic() + 5
        assert all(_is_closed(peer, max(0.1, until - time.monotonic())) for peer in peers)
    assert _ready(served) < 1.0


def test_one_address_has_so_many_connections(served: Page) -> None:
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(served.raw(ATTACKER)) for _ in range(100)]
        time.sleep(0.3)
        turned_away = sum(_is_closed(peer, 0.01) for peer in peers)
        assert turned_away >= 100 - 64
        assert _ready(served) < 1.0


def _tls(served: Page) -> ssl.SSLSocket:
    return ssl._create_unverified_context().wrap_socket(served.raw())


def test_a_head_that_drips_is_cut(served: Page) -> None:
    """Slow-loris: a line every moment, and never the last."""
    with _tls(served) as peer:
        begun = time.monotonic()
        with contextlib.suppress(OSError):
            peer.sendall(b"GET / HTTP/1.1\r\n")
            while time.monotonic() - begun < HEAD + 3:
                peer.sendall(b"X-a: b\r\n")
                time.sleep(0.2)
        assert HEAD * 0.8 < time.monotonic() - begun < HEAD + 2


def test_the_next_head_on_a_connection_is_cut_too(served: Page) -> None:
    with _tls(served) as peer:
        peer.sendall(b"GET /login HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % served.port)
        assert peer.recv(65536).startswith(b"HTTP/1.1 200")
        begun = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - begun < HEAD + 3:
                peer.sendall(b"G")
                time.sleep(0.2)
        assert time.monotonic() - begun < HEAD + 2


@pytest.mark.parametrize("drip", [b"", b"a"], ids=["silent", "drips"])
def test_a_body_that_does_not_come_is_not_waited_for(served: Page, drip: bytes) -> None:
    head = b"POST /login HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    with _tls(served) as peer:
        peer.sendall(head % served.port + b"Content-Length: 5000\r\n\r\ncsrf=")
        begun, came = time.monotonic(), b""
        peer.settimeout(0.25)
        while not came and time.monotonic() - begun < 8:
            with contextlib.suppress(TimeoutError):
                came = peer.recv(100)
            if drip and not came:
                peer.sendall(drip)
        assert came.startswith(b"HTTP/1.1 408") and time.monotonic() - begun < 5


@pytest.mark.slow
def test_an_answer_that_nobody_reads_is_given_up(served: Page) -> None:
    before = served.memory()
    with contextlib.ExitStack() as stack:
        peers = []
        for _ in range(20):
            raw = socket.socket()
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.connect(("127.0.0.1", served.port))
            peer = stack.enter_context(ssl._create_unverified_context().wrap_socket(raw))
            request = b"GET /static/page.js HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % served.port
            with contextlib.suppress(OSError):
                peer.settimeout(0.5)
                for _ in range(100):
                    peer.sendall(request)
            peers.append(peer)
        assert _ready(served) < 1.0
        until = time.monotonic() + 25
        while time.monotonic() < until and _connections(served) > 0:
            time.sleep(0.2)
        assert _connections(served) == 0
    assert served.memory() - before < 30 << 20


def _connections(served: Page) -> int:
    """Sockets that the page's process holds, but for those that it listens at and wakes itself by."""
    folder = Path(f"/proc/{served.process.pid}/fd")
    links = [_link(path) for path in folder.iterdir()]
    return sum(link.startswith("socket:") for link in links) - 3


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""
