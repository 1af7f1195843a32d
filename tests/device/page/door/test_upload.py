"""Uploads over real sockets: whole, bounded, named by the box; and what a kill or a client that goes away leaves."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sqlite3
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_process import Client, Page, multipart, page

from edgedx.device.scanner.decide import ignored_entry

DICOM = b"\0" * 128 + b"DICM" + b"x" * 1000
BOUNDED = {"upload_bytes": 64 << 20, "upload_files": 100, "uploads": 150, "uploads_seconds": 100_000}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with page(tmp_path_factory.mktemp("upload"), https=False, **BOUNDED) as one:
        yield one


@pytest.fixture
def client(served: Page) -> Iterator[Client]:
    yield served.client()
    for path in served.inbox.iterdir():
        path.unlink()


def _inbox(served: Page) -> list[Path]:
    return sorted(served.inbox.iterdir())


@pytest.mark.parametrize(
    "name",
    ["../../etc/cron.d/x", "/etc/passwd", "a/b.dcm", "", ".part", "x" * 3000, "\u202egnp.exe", "<script>.png", "a\\b"],
)
def test_no_name_of_a_client_is_a_path(served: Page, client: Client, name: str) -> None:
    came = client.upload(DICOM, names=(name,)) if name else client.upload(DICOM)
    assert came.status == 200, came.text
    (arrived,) = _inbox(served)
    assert re.fullmatch(r"page-[0-9a-f]{32}\.dcm", arrived.name) and not ignored_entry(arrived.name)
    assert arrived.read_bytes() == DICOM and arrived.stat().st_mode & 0o007 == 0
    assert came.json == {"files": [{"sha256": hashlib.sha256(DICOM).hexdigest(), "state": "waiting"}]}
    assert not name or name not in served.errors.read_text() + (served.out / "audit.jsonl").read_text()


def test_a_file_larger_than_a_piece_arrives_whole(served: Page, client: Client) -> None:
    content = os.urandom(5 << 20) + b"\r\n--edg"
    came = client.upload(content, b"\x89PNG\r\n\x1a\n rest")
    assert [one["sha256"] for one in came.json["files"]][0] == hashlib.sha256(content).hexdigest()
    assert sorted(path.suffix for path in _inbox(served)) == ["", ".png"]


def test_nothing_is_kept_before_the_token(served: Page, client: Client) -> None:
    for token in ("", "wrong"):
        came = client.upload(DICOM, csrf=token)
        assert came.status == 403 and came.json["files"] == [] and "too old" in came.json["sentence"]
    after = multipart("x", DICOM).replace(b'name="csrf"', b'name="other"')
    came = client.ask("POST", "/upload", after, Content_Type="multipart/form-data; boundary=edge")
    assert came.status == 403
    token = client.get("/upload").csrf
    came = client.upload(DICOM, csrf="x", X_CSRF_Token=token)
    assert came.status == 200, "a script sends it as a header"
    assert len(_inbox(served)) == 1
    assert client.upload(DICOM, csrf=token, X_CSRF_Token="x").status == 403


def _send_endlessly(served: Page, head: bytes, total: int, chunked: bool) -> tuple[bytes, int]:
    """Send zeros until the page says something or ends it; returns the answer and how many bytes it took."""
    block, sent, came = bytes(1 << 18), 0, b""
    with served.raw() as peer:
        peer.sendall(head)
        peer.settimeout(0.001)
        with contextlib.suppress(OSError):
            while sent < total:
                with contextlib.suppress(TimeoutError):
                    came += peer.recv(65536)
                if came:
                    break
                peer.settimeout(20)
                peer.sendall(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
                peer.settimeout(0.001)
                sent += len(block)
        peer.settimeout(20)
        with contextlib.suppress(OSError):
            while more := peer.recv(65536):
                came += more
    return came, sent


@pytest.mark.parametrize("chunked", [pytest.param(False, marks=pytest.mark.slow), True])
def test_two_gigabytes_are_refused_in_a_sentence(served: Page, client: Client, chunked: bool) -> None:
    token, before = client.get("/upload").csrf, served.memory()
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (2 << 30)
    form = multipart(token, b"")[: -len("\r\n--edge--\r\n")]
    head = (
        b"POST /upload HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: application/json\r\n%b\r\n"
        b"Content-Type: multipart/form-data; boundary=edge\r\n\r\n" % (served.port, length)
    )
    head += b"%x\r\n%b\r\n" % (len(form), form) if chunked else form
    came, sent = _send_endlessly(served, head, 2 << 30, chunked)
    assert came.startswith(b"HTTP/1.1 413") and b"more than 64 MB" in came
    assert sent <= (64 << 20) + (70 << 20), "it does not read on to the end"
    assert _inbox(served) == [] and served.memory() - before < 20 << 20


def test_ten_thousand_small_ones_are_refused_in_a_sentence(served: Page, client: Client) -> None:
    files = [b"DICM %d" % number for number in range(10_000)]
    came = client.upload(*files)
    assert came.status == 413 and len(came.json["files"]) == 100 and "At most 100 images" in came.json["sentence"]
    assert len(_inbox(served)) == 100 and not [path for path in _inbox(served) if path.suffix == ".part"]
    last = client.upload(*files[:100])
    assert last.status == 429 and "short time" in last.json["sentence"] and int(last.headers["retry-after"]) > 0


def test_what_is_no_upload(tmp_path: Path) -> None:
    with page(tmp_path, https=False) as one:
        client = one.client()
        assert client.upload().json["error"] == "door.no_file"
        assert client.upload(b"").json["error"] == "door.empty_file"
        token = client.get("/upload").csrf
        for body in (b"", multipart(token, DICOM)[:-30], b"csrf=" + token.encode()):
            came = client.ask("POST", "/upload", body, Accept="application/json", X_CSRF_Token=token,
                              Content_Type="multipart/form-data; boundary=edge")  # fmt: skip
            assert came.status == 400 and came.json["error"] == "door.no_form"
        assert list(one.inbox.iterdir()) == []
        came = client.upload(DICOM, Accept="text/html")
        assert came.status == 200 and "has arrived" in came.text, "without script"
    with page(tmp_path, https=False, inbox=False) as none:
        assert none.client().get("/upload").status == 404


def test_a_client_that_goes_away_or_a_kill_leaves_no_half_file_to_read(tmp_path: Path) -> None:
    with page(tmp_path, https=False) as one:
        token = one.client().get("/upload").csrf
        form = multipart(token, bytes(3 << 20))[: 2 << 20]
        head = b"POST /upload HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: %d\r\n" % (one.port, 3 << 20)
        head += b"Content-Type: multipart/form-data; boundary=edge\r\n\r\n"
        with one.raw() as peer:
            peer.sendall(head + form)
            _until(lambda: any(one.inbox.iterdir()))
        _until(lambda: not any(one.inbox.iterdir()))
        with one.raw() as peer:
            peer.sendall(head + form)
            _until(lambda: any(one.inbox.iterdir()))
            one.process.kill()
            one.process.wait(10)
    (left,) = one.inbox.iterdir()
    assert ignored_entry(left.name), "the scanner passes over it"


def _until(done: object, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not done():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


def test_every_upload_that_was_answered_is_there_after_a_kill(tmp_path: Path) -> None:
    taken = set()
    with page(tmp_path, https=False) as one:
        client = one.client()
        token = client.get("/upload").csrf
        for number in range(12):
            taken |= {file["sha256"] for file in client.upload(b"DICM %d" % number, csrf=token).json["files"]}
        one.process.kill()
        one.process.wait(10)
    there = {hashlib.sha256(path.read_bytes()).hexdigest() for path in one.inbox.iterdir()}
    assert taken == there and len(taken) == 12
    events = [json.loads(line) for line in (one.out / "audit.jsonl").read_text().splitlines()]
    assert {event["sha256"] for event in events if event["meaning"] == "Import"} == taken


def test_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    with page(tmp_path, https=False, disk_floor=1 << 60) as one:
        came = one.client().upload(DICOM)
        assert came.status == 507 and "may be full" in came.json["sentence"]
        assert list(one.inbox.iterdir()) == []


def test_what_became_of_a_file_is_told_by_its_content(served: Page, client: Client) -> None:
    sha256 = served.client("127.0.0.5").upload(DICOM).json["files"][0]["sha256"]
    assert client.get(f"/upload/{sha256}").json == {"state": "waiting", "key": None}
    ledger = sqlite3.connect(served.out / "journal.sqlite")
    with contextlib.closing(ledger):
        ledger.execute("CREATE TABLE items (sequence INTEGER PRIMARY KEY, key TEXT, sha256 TEXT, status TEXT)")
        ledger.execute("INSERT INTO items (key, sha256, status) VALUES ('k1', ?, 'done')", (sha256,))
        ledger.commit()
        assert client.get(f"/upload/{sha256}").json == {"state": "done", "key": "k1"}
        ledger.execute("INSERT INTO items (key, sha256, status) VALUES ('k2', ?, 'claimed')", (sha256,))
        ledger.commit()
        assert client.get(f"/upload/{sha256}").json["state"] == "waiting", "a newer bundle reads it"
    (served.out / "journal.sqlite").unlink()
    for path in ("/upload/..", "/upload/" + "A" * 64, "/upload/" + "a" * 63, "/upload/%27%20OR%201"):
        assert client.get(path).status in (400, 404)


def test_over_tls_too(tmp_path: Path) -> None:
    from page_process import first_administrator

    with page(tmp_path) as one:
        client = first_administrator(one)
        content = os.urandom(3 << 20)
        assert client.upload(content).json["files"][0]["sha256"] == hashlib.sha256(content).hexdigest()
        stranger = one.client()
        assert stranger.upload(content, csrf=stranger.get("/login").csrf).status == 401
        with contextlib.suppress(OSError), ssl._create_unverified_context().wrap_socket(one.raw()) as peer:
            peer.sendall(b"POST /upload HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 99\r\n\r\n" % one.port)
            assert peer.recv(20).startswith(b"HTTP/1.1 401")
        assert len(list(one.inbox.iterdir())) == 1
