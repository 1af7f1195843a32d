"""A scanner whose decoder and model answer at once, for hundreds of deaths in seconds."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bundles import SPEC
from death import run_until_killed

from edgedx.core.bundle.manifest import Bundle
from edgedx.core.errors import ImageError
from edgedx.core.files import sha256_bytes
from edgedx.device.decode.decoder import DecodedCanvas, FileChanged
from edgedx.device.runtime.predict import Predictor
from edgedx.device.runtime.runner import Output
from edgedx.device.scanner.journal import Journal
from edgedx.device.scanner.out_folder import RECORD
from edgedx.device.scanner.scanner import Options, Scanner

INPUTS = {"a": b"good a", "x/b": b"good b", "c": b"small c", "d": b"bad d", "x/d": b"bad d", "e": b"good e"}


FATES = {"good a": "done", "good b": "done", "small c": "refused", "bad d": "quarantined", "good e": "done"}


class InstantDecoder:
    """Knows by the first word of a file what is to become of it."""

    def warm(self) -> None: ...

    def close(self) -> None: ...

    def decode(self, path: Path, sha256: str | None) -> DecodedCanvas:
        try:
            content = path.read_bytes()
        except OSError:
            raise FileChanged from None
        digest = sha256_bytes(content)
        if sha256 not in (None, digest):
            raise FileChanged
        if content.startswith(b"bad"):
            raise ImageError("TRUNCATED", "the file ends early")
        side = 5 if content.startswith(b"small") else 500
        canvas = np.full(SPEC.size, content[-1], np.uint8)
        return DecodedCanvas(canvas, digest, side, side, {}, "png", None, "instant", None, 1.0, 1.0)


class InstantRunner:
    """Answers the same to all."""

    provider = "instant"

    def infer(self, batch: Any) -> Output:
        return Output(np.zeros((len(batch), 2), np.float32))


class Time:
    """Monotonic time that passes only while the scanner sleeps."""

    def __init__(self, events: dict[int, Callable[[], object]] | None = None) -> None:
        self.now, self.sleeps, self.events = 0.0, 0, events or {}

    def sleep(self, seconds: float) -> None:
        self.now, self.sleeps = self.now + seconds, self.sleeps + 1
        assert self.sleeps < 2000, "the scanner never ended"
        self.events.get(self.sleeps, int)()


class Place:
    """An inbox and an output folder."""

    def __init__(self, folder: Path, bundle: Bundle) -> None:
        self.inbox, self.out, self.bundle = folder / "inbox", folder / "out", bundle
        for name, content in INPUTS.items():
            (self.inbox / name).parent.mkdir(parents=True, exist_ok=True)
            (self.inbox / name).write_bytes(content)

    def scanner(self, time: Time | None = None) -> Scanner:
        time = time or Time()
        predictor = Predictor(self.bundle, InstantRunner())  # type: ignore[arg-type]
        return Scanner(
            self.inbox, self.out, self.bundle, predictor, "fp32", Options(1.0, 1.0, disk_floor=0, incomplete=0.0),
            decoder=InstantDecoder(), clock=lambda: time.now, sleep=time.sleep,  # type: ignore[arg-type]
        )  # fmt: skip

    def run(self, die_at: int | None = None, *, other_disk: bool = False) -> tuple[bool, int]:
        """Scan once in a process of its own; returns whether it was killed, and its steps if it was not."""

        def work() -> None:
            with self.scanner() as scanner:
                scanner.run_once()

        return run_until_killed(work, die_at, other_disk=other_disk)

    def check(self) -> None:
        """Every input has its one result, and everything that is there is whole."""
        results = [json.loads(path.read_text()) for path in (self.out / "results").iterdir()]
        shas = {sha256_bytes(content.encode()): fate for content, fate in FATES.items()}
        assert {result["source"]["sha256"]: result["status"] for result in results} == shas
        assert len(results) == len(FATES)
        with (self.out / "results.csv").open(newline="") as stream:
            assert Counter(row["status"] for row in csv.DictReader(stream)) == Counter(FATES.values())
        journal = Journal(self.out / "journal.sqlite", self.bundle.digest)
        assert journal.check() == "ok" and {item.sha256: item.status for item in journal.items()} == shas
        assert journal.count_pending() == 0
        journal.close()
        assert not list(self.out.rglob("*.tmp"))
        files = [path for path in self.inbox.rglob("*") if path.is_file() and path.name != RECORD]
        there = {str(path.relative_to(self.inbox)) for path in files}
        assert there == {"a", "x/b", "c", "e"}
        moved = {path.read_bytes() for path in (self.out / "quarantine").iterdir() if path.suffix != ".json"}
        reasons = [json.loads(path.read_text()) for path in (self.out / "quarantine").glob("*.reason.json")]
        assert moved == {b"bad d"} and [reason["reason"]["code"] for reason in reasons] == ["TRUNCATED"]
