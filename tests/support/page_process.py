"""A page in a process of its own, over a real socket, and a browser's part of HTTP without a browser."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import ssl
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ADMINISTRATOR, PIN = "Amina Odhiambo", "493817"
_SERVE = """
import json, sys
from pathlib import Path
from edgedx.device.page.door import pins
from edgedx.device.page.door.limits import Limits
from edgedx.device.page.serve import Address, begin_log, serve_page
from edgedx.device.page.settings import PageSettings

given = json.loads(sys.argv[1])
paths = {name: Path(given[name]) for name in ("out", "root", "inbox") if given.get(name)}
begin_log()
pins._N = given["scrypt"]  # the cost of a PIN is for attackers, who are not here
serve_page(
    PageSettings(**paths, limits=Limits(**given["limits"])),
    Address(port=0, https=given["https"]),
    lambda opened: print(json.dumps({"urls": opened.urls, "code": opened.code}), flush=True),
)
"""


@dataclass
class Page:
    """A page that runs."""

    process: subprocess.Popen[str]
    out: Path
    inbox: Path
    port: int
    code: str
    https: bool
    errors: Path

    def client(self, source: str = "127.0.0.1") -> Client:
        """A browser that has not been there."""
        return Client(self.port, self.https, source)

    def memory(self) -> int:
        """Resident bytes now."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0]) << 10

    def raw(self, source: str = "127.0.0.1") -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20, source_address=(source, 0))


@contextlib.contextmanager
def page(
    folder: Path, *, https: bool = True, inbox: bool = True, scrypt: int = 1 << 8, **limits: float
) -> Iterator[Page]:
    """Serve ``folder/out`` with these bounds until the context ends."""
    out, box, errors = folder / "out", folder / "inbox", folder / "stderr.txt"
    out.mkdir(exist_ok=True)
    box.mkdir(exist_ok=True)
    given = {"out": str(out), "inbox": str(box) if inbox else None, "https": https, "scrypt": scrypt, "limits": limits}
    with errors.open("a") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, json.dumps(given)], stdout=subprocess.PIPE, stderr=stream, text=True
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, errors.read_text()
        opened = json.loads(line)
        port = urllib.parse.urlsplit(opened["urls"][0]).port
        assert port
        yield Page(process, out, box, port, opened["code"], https, errors)
    finally:
        process.terminate()
        assert process.wait(timeout=20) in (0, -9), errors.read_text()


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cookies: list[str]

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def csrf(self) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', self.text)
        assert found, self.text
        return found[1]


@dataclass
class Client:
    """Keeps cookies and tokens as a browser does, and follows nothing by itself."""

    port: int
    https: bool
    source: str = "127.0.0.1"
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request on a connection of its own; ``_`` in a header's name is ``-``."""
        where = ("127.0.0.1", self.port)
        connection: http.client.HTTPConnection
        if self.https:
            context = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection(
                *where, timeout=60, context=context, source_address=(self.source, 0)
            )
        else:
            connection = http.client.HTTPConnection(*where, timeout=60, source_address=(self.source, 0))
        sent = {"Accept": "text/html"} | {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        with contextlib.closing(connection):
            connection.request(method, path, body, sent)
            came = connection.getresponse()
            cookies = came.headers.get_all("Set-Cookie") or []
            for one in cookies:
                name, _, value = one.partition(";")[0].partition("=")
                self.cookies.pop(name, None)
                if value and value != '""':
                    self.cookies[name] = value
            return Answer(came.status, dict(came.headers), came.read(), cookies)

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, form: Mapping[str, str], **headers: str) -> Answer:
        headers.setdefault("Content_Type", "application/x-www-form-urlencoded")
        return self.ask("POST", path, urllib.parse.urlencode(form), **headers)

    def send(self, path: str, at: str, **form: str) -> Answer:
        """Post a form that stands on the page `at`."""
        return self.post(path, {"csrf": self.get(at).csrf, **form})

    def log_in(self, name: str = ADMINISTRATOR, pin: str = PIN) -> Answer:
        return self.send("/login", "/login", name=name, pin=pin)

    def upload(self, *files: bytes, csrf: str | None = None, names: tuple[str, ...] = (), **headers: str) -> Answer:
        """Send files as a form with the token that stands on the page, or another one."""
        token = self.get("/upload").csrf if csrf is None else csrf
        body = multipart(token, *files, names=names)
        headers = {"Accept": "application/json", "Content_Type": "multipart/form-data; boundary=edge"} | headers
        return self.ask("POST", "/upload", body, **headers)


def multipart(token: str, *files: bytes, names: tuple[str, ...] = ()) -> bytes:
    """A form with the token first, as the page has it."""
    parts = [b'--edge\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n' + token.encode() + b"\r\n"]
    for number, content in enumerate(files):
        name = names[number] if number < len(names) else f"{number}.dcm"
        head = f'--edge\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        parts.append(head.encode() + content + b"\r\n")
    return b"".join(parts) + b"--edge--\r\n"


def first_administrator(one: Page) -> Client:
    """Make the first administrator with the one-time code; the client is logged in."""
    client = one.client()
    form = {"code": f"{one.code[:5].lower()}-{one.code[5:]}", "name": ADMINISTRATOR, "pin": PIN, "again": PIN}
    came = client.send("/first", "/first", **form)
    assert came.status == 303 and came.headers["location"] == "/", came.text
    return client
