"""Two hosts on this machine with a bad line between them: network namespaces, and `tc netem` on a veth pair.

Where the kernel has no netem, `user_netem` is the line: the same losses, rate and delay, made by a process.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

_SERVER = """
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
import os
class Ranged(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): print(self.path, self.headers.get("Range", ""), flush=True)
    def send_head(self):
        asked, path = self.headers.get("Range"), self.translate_path(self.path)
        if not asked or not os.path.isfile(path): return super().send_head()
        begin, size = int(asked.split("=")[1].rstrip("-")), os.path.getsize(path)
        if begin >= size: return self.send_error(416)
        stream = open(path, "rb"); stream.seek(begin)
        self.send_response(206); self.send_header("Content-Length", str(size - begin))
        self.send_header("Content-Range", f"bytes {begin}-{size - 1}/{size}"); self.end_headers()
        return stream
ThreadingHTTPServer(("0.0.0.0", 8000), lambda *a: Ranged(*a, directory=sys.argv[1])).serve_forever()
"""
"""The standard library's server of static files with ranges, which it does not know; nginx and object stores do."""


def why_not() -> str:
    """Why no namespaces can be made here; empty where they can."""
    if shutil.which("ip") is None:
        return "ip is not installed: apt-get install iproute2"
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not has_netem() and not Path("/dev/net/tun").exists():
        return "this kernel has neither netem nor TUN devices"
    name = f"edx{secrets.token_hex(3)}"
    made = _quiet("ip", "netns", "add", name) == 0
    _quiet("ip", "netns", "del", name)
    return "" if made else "no network namespace can be made here"


@cache
def has_netem() -> bool:
    """Whether the kernel has netem, and tc is there."""
    name = f"edx{secrets.token_hex(3)}"
    if shutil.which("tc") is None or _quiet("ip", "netns", "add", name):
        return False
    found = _quiet("tc", "-n", name, "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms") == 0
    _quiet("ip", "netns", "del", name)
    return found


def _quiet(*command: str) -> int:
    return subprocess.run(command, capture_output=True, check=False).returncode


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


class Line:
    """The line between a server and a device, which are processes in namespaces of their own."""

    url = "http://10.77.0.1:8000"

    def __init__(self, folder: Path, log: Path) -> None:
        token = secrets.token_hex(3)
        self._server, self._box, self._folder, self._log = f"edxs{token}", f"edxb{token}", folder, log
        self._process: subprocess.Popen[bytes] | None = None
        self._between: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        """Make the two hosts, the line, and start the server."""
        for name in (self._server, self._box):
            _run("ip", "netns", "add", name)
        if has_netem():
            _run("ip", "link", "add", self._server, "netns", self._server, "type", "veth", "peer", "name", self._box,
                 "netns", self._box)  # fmt: skip
        else:
            program = str(Path(__file__).with_name("user_netem.py"))
            self._between = subprocess.Popen(
                [sys.executable, program, self._server, self._server, self._box, self._box],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
            assert self._between.stdout is not None and self._between.stdout.readline() == b"ready\n"
        for name, address in ((self._server, "10.77.0.1/24"), (self._box, "10.77.0.2/24")):
            _run("ip", "-n", name, "addr", "add", address, "dev", name)
            _run("ip", "-n", name, "link", "set", "lo", "up")
            _run("ip", "-n", name, "link", "set", name, "up")
        command = ["ip", "netns", "exec", self._server, sys.executable, "-c", _SERVER, str(self._folder)]
        self._process = subprocess.Popen(command, stdout=self._log.open("wb"), stderr=subprocess.DEVNULL)
        for _ in range(100):
            if not _quiet("ip", "netns", "exec", self._box, "bash", "-c", "exec 3<>/dev/tcp/10.77.0.1/8000"):
                return
            time.sleep(0.1)
        raise RuntimeError("the server does not answer")

    def shape(self, *, kbit: int | None = None, loss: float = 0.0, delay_ms: int = 0, seed: int = 0) -> None:
        """How the line is, from now on, in both directions; netem itself knows no seed."""
        if self._between is not None:
            self._say(kbit=kbit, loss=loss, delay_ms=delay_ms, seed=seed)
            return
        words = [*(("delay", f"{delay_ms}ms") if delay_ms else ()), *(("loss", f"{loss:g}%") if loss else ())]
        words += ["rate", f"{kbit}kbit"] if kbit else []
        for name in (self._server, self._box):
            _run("tc", "-n", name, "qdisc", "replace", "dev", name, "root", "netem", "limit", "1000", *words)

    def cut(self, seconds: float) -> None:
        """Let nothing through for a while."""
        for down in (True, False):
            if self._between is not None:
                self._say(down=down)
            else:
                words = ["loss", "100%"] if down else []
                _run("tc", "-n", self._box, "qdisc", "replace", "dev", self._box, "root", "netem", *words)
            time.sleep(seconds if down else 0)

    def _say(self, **line: Any) -> None:
        assert self._between is not None and self._between.stdin is not None
        self._between.stdin.write(json.dumps(line).encode() + b"\n")
        self._between.stdin.flush()

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        """Run a command on the device."""
        return subprocess.Popen(["ip", "netns", "exec", self._box, *command], **options)

    def received(self) -> int:
        """Bytes that reached the device, headers of packets among them."""
        done = subprocess.run(
            ["ip", "netns", "exec", self._box, "cat", f"/sys/class/net/{self._box}/statistics/rx_bytes"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        text = done.stdout.strip()
        return int(text) if text.isdigit() else 0

    def asked(self) -> list[str]:
        """What the server was asked for: path and range."""
        return self._log.read_text().splitlines()

    def close(self) -> None:
        """End the server and remove the hosts."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
        if self._between is not None and self._between.stdin is not None:
            self._between.stdin.close()
            self._between.wait(10)
        for name in (self._server, self._box):
            _quiet("ip", "netns", "del", name)


@contextmanager
def bad_line(folder: Path, log: Path) -> Iterator[Line]:
    """A line to a server of this folder, as good as it gets until it is shaped."""
    line = Line(folder, log)
    try:
        line.open()
        yield line
    finally:
        line.close()
