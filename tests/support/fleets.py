"""A repository, its keys and a device, and web servers that behave badly. Shared by the tests of fleets."""

from __future__ import annotations

import datetime as real
import shutil
import ssl
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from bundles import write_tiny
from tuf.ngclient._internal import trusted_metadata_set

from edgedx.core.bundle.signing import load_signing_key, new_key, read_public
from edgedx.device.fleet.trust import trust
from edgedx.device.fleet.update import Updated, install_from
from edgedx.device.install.health import examine, prove
from edgedx.device.install.trust import pin
from edgedx.lab.fleet.keys import Keyring
from edgedx.lab.fleet.publish import Published, publish
from edgedx.lab.fleet.repository import today
from edgedx.lab.fleet.start import create


class FleetPlace:
    """All of it below one folder; `days` is how far the clock of everybody has moved on."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, like: Path | None = None) -> None:
        self.folder, self.repo, self.keys, self.root = folder, folder / "repo", folder / "keys", folder / "device"
        self._patch, self.days = monkeypatch, 0.0
        if like is None:
            create(self.repo, self.keys)
        else:  # making one costs many syncs
            shutil.copytree(like, folder, symlinks=True, dirs_exist_ok=True)
        self.release = load_signing_key(self.keys / "release" / "release.key")

    @property
    def now(self) -> real.datetime:
        """The clock of the workstation."""
        return today() + real.timedelta(days=self.days)

    @property
    def ring(self) -> Keyring:
        """Keys of whoever publishes."""
        return Keyring([self.keys / "release", self.keys / "online", *self.more])

    @property
    def all_keys(self) -> Keyring:
        """Every key."""
        return Keyring([self.keys / "offline", self.keys / "release", self.keys / "online", *self.more])

    @property
    def more(self) -> list[Path]:
        """Keys that were made later."""
        return [self.keys / "more"] if (self.keys / "more").is_dir() else []

    def new_key(self, name: str) -> Path:
        """A further key's .pub."""
        return new_key(name, self.keys / "more")[1]

    def id_of(self, name: str) -> str:
        """Id of a key, such as ``offline/root-1``."""
        return read_public(self.keys / f"{name}.pub").id

    def publish(self, version: str, ring: int = 100, **changes: Any) -> Published:
        """A bundle of this version, signed and put into the repository."""
        path = self.folder / f"{version}.edgedx"
        write_tiny(path, version=version, keys=[self.release], **changes)
        return publish(self.repo, path, self.ring, ring=ring, now=self.now)

    def join(self, name: str = "clinic-1") -> None:
        """Make the device one of this fleet."""
        trust(self.root, self.repo / "metadata" / "1.root.json", name=name)
        pin(self.root, self.keys / "release" / "release.pub")

    def install(self, where: Path | str | None = None, **options: Any) -> Updated:
        """`edgedx install --from`, without processes of their own and without pauses."""
        settings = {"examine": examine, "prove": prove, "sleep": lambda seconds: None, **options}
        return install_from(str(where or self.repo), self.root, **settings)

    def stick(self, name: str = "stick") -> Path:
        """A copy of the repository as it is now."""
        target = self.folder / name
        shutil.copytree(self.repo, target)
        return target

    def later(self, days: float) -> None:
        """Let so many days pass, for everybody."""
        self.days += days
        moved = real.timedelta(days=self.days)

        class Clock(real.datetime):
            @classmethod
            def now(cls, tz: real.tzinfo | None = None) -> real.datetime:
                return real.datetime.now(tz) + moved

        # As python-tuf's own tests do it; its client has no other way to be told the time.
        self._patch.setattr(
            trusted_metadata_set, "datetime", types.SimpleNamespace(datetime=Clock, timezone=real.timezone)
        )


class Misbehaviour:
    """What a server does wrong, and what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cut_after: int | None = None
        self.ranges = True
        self.endless: tuple[str, ...] = ()
        self.status: dict[str, int] = {}
        self.asked: list[tuple[str, str]] = []
        self.sent = 0
        self.put: dict[str, bytes] = {}
        self.wrap: Callable[[ssl.SSLContext], None] = lambda context: None


@contextmanager
def web(folder: Path) -> Iterator[tuple[str, Misbehaviour]]:
    """A web server of static files on loopback, with ranges, that can be told to misbehave."""
    bad = Misbehaviour(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            bad.asked.append((self.path, asked))
            path = bad.folder / self.path.lstrip("/")
            if any(self.path.endswith(name) for name in bad.endless):
                return self._endless()
            if (code := bad.status.get(self.path.rpartition("/")[2])) is not None:
                return self.send_error(code)
            if not path.is_file():
                return self.send_error(404)
            data, begin = path.read_bytes(), 0
            if asked and bad.ranges:
                begin = int(asked.removeprefix("bytes=").removesuffix("-"))
                if begin >= len(data):
                    return self.send_error(416)
            self.send_response(206 if begin else 200)
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - begin))
            self.end_headers()
            body = data[begin:]
            if bad.cut_after is not None and "bundles" in self.path and len(body) > bad.cut_after:
                body = body[: bad.cut_after]
                self.close_connection = True
            bad.sent += len(body)
            self.wfile.write(body)

        def do_PUT(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            bad.asked.append((self.path, self.headers.get("Authorization", "")))
            code = bad.status.get("PUT", 201)
            if code < 300:
                bad.put[self.path] = data
            self.send_response(code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _endless(self) -> None:
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(4000):
                    self.wfile.write(b" " * (1 << 16))
                    bad.sent += 1 << 16
            except OSError:
                pass

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that goes away is what is tried here."""

    server = Server(("127.0.0.1", 0), Handler)

    def wrap(context: ssl.SSLContext) -> None:
        server.socket = context.wrap_socket(server.socket, server_side=True)

    bad.wrap = wrap
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", bad
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
