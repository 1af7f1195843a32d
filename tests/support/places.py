"""An inbox, an output folder and a scanner whose time passes only while it sleeps."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bundles import predictor

from edgedx.core.bundle.manifest import Bundle
from edgedx.device.scanner.early import MARK
from edgedx.device.scanner.scanner import Options, Scanner

SETTLE = 2.0
OPTIONS = Options(interval=1.0, settle=SETTLE, disk_floor=0)
CANARY = "DOE^JANE-19440229"


class Time:
    """Monotonic time that passes only while the scanner sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.events: list[Callable[[], object]] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        assert self.now < 10_000, "the scanner never ended"
        if self.events:
            self.events.pop(0)()


class Place:
    """An inbox, an output folder, and scanners on them."""

    def __init__(self, folder: Path, bundle: Bundle, decoder: Any) -> None:
        self.inbox, self.out, self.bundle, self.decoder = folder / "inbox", folder / "out", bundle, decoder
        self.time = Time()
        self.inbox.mkdir()

    def scanner(self, **changes: Any) -> Scanner:
        settings = {"options": OPTIONS, "decoder": self.decoder, "clock": self.time.clock, "sleep": self.time.sleep}
        return Scanner(self.inbox, self.out, self.bundle, predictor(self.bundle), "fp32", **{**settings, **changes})

    def distrust(self) -> None:
        """As a scanner leaves it that died: the next one hashes, records and claims each file before it is decoded."""
        self.out.mkdir(exist_ok=True)
        (self.out / MARK).touch()

    def scan(self, **changes: Any) -> dict[str, int]:
        with self.scanner(**changes) as scanner:
            return scanner.run_once()

    def results(self) -> dict[str, dict[str, Any]]:
        """By the name of the input."""
        found = [json.loads(path.read_text()) for path in (self.out / "results").glob("*.json")]
        assert len({result["source"]["name"] for result in found}) == len(found)
        return {result["source"]["name"]: result for result in found}

    def table(self) -> list[dict[str, str]]:
        with (self.out / "results.csv").open(newline="") as stream:
            return list(csv.DictReader(stream))


def received(scanner: Scanner) -> int:
    """Look once, and say how many contents the ledger holds then."""
    scanner.look()
    return sum(scanner.journal.counts().values())


def passes(place: Place, scanner: Scanner, seconds: float) -> None:
    """Let the scanner run for so long, with a pass in each second."""
    for _ in range(int(seconds)):
        place.time.now += 1.0
        scanner._pass()
        scanner._care._threads.submit(int).result()  # what was begun beside the loop is over
