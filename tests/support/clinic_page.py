"""A clinic's box for tests: a real scanner and a real page as processes, and a real Chromium before it (Selenium)."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "build" / "axe" / "node_modules" / "axe-core" / "axe.min.js"


def until(what: Callable[[], T], seconds: float = 30.0) -> T:
    """Wait for something true, and return it; what it raises meanwhile is only told at the end."""
    end = time.monotonic() + seconds
    while True:
        try:
            found = what()
            if found:
                return found
            told: object = found
        except Exception as error:
            told = repr(error)
        assert time.monotonic() < end, f"not within {seconds} s: {told}"
        time.sleep(0.1)


@dataclass
class Box:
    """Folders and processes of one box."""

    folder: Path
    bundle: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def inbox(self) -> Path:
        return self.folder / "inbox"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def _start(self, *words: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "edgedx", *map(str, words)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder)
        self.processes.append(process)
        return process

    def command(self, *words: object) -> None:
        """A command that ends by itself."""
        process = self._start(*words)
        said = process.communicate(timeout=60)
        assert process.returncode == 0, said

    def scan(self, *words: object) -> subprocess.Popen[str]:
        """Start a scanner that looks often; returns when it works."""
        self.inbox.mkdir(exist_ok=True)
        options = ["--interval", 0.2, "--settle", 0.2, "--disk-floor", 0, "--workers", 1, *words]
        process = self._start("scan", self.inbox, "--bundle", self.bundle, "--out", self.out, *options)
        until(lambda: (self.out / "status.json").is_file() or process.poll() is not None)
        assert process.poll() is None, process.communicate()[1]
        return process

    def page(self, *words: object) -> str:
        """Start a page; returns its address."""
        process = self._start("page", "--out", self.out, "--inbox", self.inbox, "--port", 0, "--json", *words)
        assert process.stdout is not None
        told = ""
        while "}" not in told:
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            told += line
        self.told: dict[str, Any] = json.loads(told)
        (address,) = re.findall(r'"(https?://(?:localhost|127\.0\.0\.1):\d+)/?"', told)[:1]
        return address

    def rows(self, count: int) -> None:
        """Wait until the scanner has so many results."""
        until(lambda: len(list((self.out / "results").glob("*.json"))) >= count, 60)

    def end(self) -> None:
        """Stop all processes that this box started."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=20)
            if process.poll() is None:
                process.kill()
                process.communicate()


class Browser:
    """Chromium by Selenium: what a person sees and does, and what it asked the network for."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def size(self, width: int, *, dark: bool = False) -> None:
        """A window of so many CSS pixels, light or dark."""
        metrics = {"width": width, "height": 844 if width < 500 else 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def open(self, address: str) -> None:
        self.driver.get(address)

    def all(self, css: str) -> list[Any]:
        return self.driver.find_elements("css selector", css)

    def one(self, css: str, seconds: float = 15.0) -> Any:
        """The first element that matches and is shown."""
        return until(lambda: next((one for one in self.all(css) if one.is_displayed()), None), seconds)

    def text(self, css: str = "main") -> str:
        return str(self.one(css).text)

    def script(self, text: str, *arguments: Any) -> Any:
        return self.driver.execute_script(text, *arguments)

    def requests(self) -> list[str]:
        """Addresses that were asked for since the last call."""
        found = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.append(message["params"]["request"]["url"])
        return found

    def problems(self) -> list[str]:
        """What the console complained of since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def serious(self) -> list[str]:
        """What axe-core finds serious or critical on the page as it is."""
        self.driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})  # the test's script, not the page's
        self.script(AXE.read_text(encoding="utf-8"))
        found = self.driver.execute_async_script(
            "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then(r => done(r.violations));"
        )
        return [
            f"{one['id']}: {node['html'][:160]}"
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]

    def picture(self, *, whole: bool = False) -> bytes:
        """A screenshot as PNG, of what is seen or of the whole page."""
        import base64

        width = self.script("return innerWidth")
        height = self.script("return document.documentElement.scrollHeight" if whole else "return innerHeight")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        told = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"format": "png", "captureBeyondViewport": whole, "clip": clip}
        )
        return base64.b64decode(told["data"])


@contextlib.contextmanager
def chrome(language: str = "en") -> Iterator[Browser]:
    """A headless Chromium; the test is skipped, with the reason, where it or its driver is not installed."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="no Selenium: pip install 'edgedx[dev]'")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no Chromium with its driver: apt-get install chromium chromium-driver")
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = program
    for word in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars"),
        *("--ignore-certificate-errors", f"--lang={language}", "--window-size=1280,900"),
    ):
        options.add_argument(word)
    options.add_experimental_option("prefs", {"intl.accept_languages": language})
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    os.environ.setdefault("SE_AVOID_STATS", "true")  # Selenium would count uses at its makers'
    opened = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield Browser(opened)
    finally:
        opened.quit()


def need_axe() -> None:
    """Skip where axe-core is not there."""
    if not AXE.is_file():
        pytest.skip("no axe-core: npm install --prefix build/axe axe-core")
