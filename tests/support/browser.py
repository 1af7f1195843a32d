"""A real headless Chromium, spoken to over its pipe: loads a file, measures it, and tells what it tried to fetch."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Page:
    """What was seen of a page at one width."""

    width: int
    scroll_width: int
    height: int
    requests: list[str]
    messages: list[str]
    screenshot: bytes
    sticks_out: list[str] = field(default_factory=list)


class Browser:
    """One browser and one page in it."""

    def __init__(self, process: subprocess.Popen[bytes], write: int, read: int) -> None:
        self._process, self._write, self._read = process, write, read
        self._buffer, self._number, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol and wait for its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == self._number:
                assert "error" not in found, found
                return found.get("result", {})
            self.events.append(found)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            block = os.read(self._read, 1 << 16)
            assert block, "the browser has ended"
            self._buffer += block
        text, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(text)

    def look(self, path: Path, width: int) -> Page:
        """Load a file in a window of `width` CSS pixels."""
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Page.navigate", url=path.resolve().as_uri())
        end = time.monotonic() + 60
        while not any(one.get("method") == "Page.loadEventFired" for one in self.events):
            assert time.monotonic() < end
            self.events.append(self._next())
        measure = """JSON.stringify({scroll: document.documentElement.scrollWidth,
            height: document.documentElement.scrollHeight,
            out: [...document.querySelectorAll('body *')]
                 .filter(one => one.getBoundingClientRect().right > innerWidth + 1)
                 .map(one => one.tagName + ': ' + (one.textContent || one.alt || '').slice(0, 40))})"""
        told = json.loads(self.call("Runtime.evaluate", expression=measure)["result"]["value"])
        picture = self.call(
            "Page.captureScreenshot",
            format="png",
            captureBeyondViewport=True,
            clip={"x": 0, "y": 0, "width": width, "height": told["height"], "scale": 1},
        )["data"]
        sent = [
            one["params"]["request"]["url"] for one in self.events if one.get("method") == "Network.requestWillBeSent"
        ]
        said = [
            json.dumps(one["params"])
            for one in self.events
            if one.get("method") in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        ]
        return Page(width, told["scroll"], told["height"], sent, said, base64.b64decode(picture), told["out"])


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; the test is skipped where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium: apt-get install chromium")
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    # The browser expects its pipes as descriptors 3 and 4; the shell puts them there.
    start = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--remote-debugging-pipe",
        "--disable-background-networking",
        "--no-first-run",
    ]
    process = subprocess.Popen(
        ["bash", "-c", start, program, *options],
        pass_fds=(theirs_in, theirs_out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(process, ours_out, ours_in)
    finally:
        process.terminate()
        process.wait(20)
        os.close(ours_out)
        os.close(ours_in)
