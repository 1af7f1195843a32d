"""The scanner is killed before and after every sync, rename, removal and commit, and loses nothing at any of them.

The scanner runs in a forked process with an instant decoder and model, so that hundreds of deaths take seconds.
"""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import SPEC, write_tiny
from death import run_until_killed

from edgedx.core.bundle import Bundle
from edgedx.core.errors import ImageError, MissingError, StorageError
from edgedx.core.files import sha256_bytes
from edgedx.device.decode import DecodedCanvas, FileChanged
from edgedx.device.early import MARK
from edgedx.device.inbox import Inbox
from edgedx.device.journal import Journal
from edgedx.device.predict import Predictor
from edgedx.device.readers import Readers
from edgedx.device.runner import Output
from edgedx.device.scanner import Options, Scanner

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
            self.inbox, self.out, self.bundle, predictor, "fp32", Options(1.0, 1.0, disk_floor=0),
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
        there = {str(path.relative_to(self.inbox)) for path in self.inbox.rglob("*") if path.is_file()}
        assert there == {"a", "x/b", "c", "e"}
        moved = {path.read_bytes() for path in (self.out / "quarantine").iterdir() if path.suffix != ".json"}
        reasons = [json.loads(path.read_text()) for path in (self.out / "quarantine").glob("*.reason.json")]
        assert moved == {b"bad d"} and [reason["reason"]["code"] for reason in reasons] == ["TRUNCATED"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny(tmp_path_factory.mktemp("bundle") / "tiny.edgedx")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where that can be: SQLite waits for its disk at every commit, and a kill loses nothing there either."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name)


@pytest.mark.parametrize("other_disk", [False, True])
def test_a_kill_at_any_step_loses_nothing_and_repeats_nothing(folder: Path, bundle: Bundle, other_disk: bool) -> None:
    whole = Place(folder / "whole", bundle)
    killed, steps = whole.run(other_disk=other_disk)
    assert not killed and steps > 80
    whole.check()
    for at in range(1, steps + 1, 3 if other_disk else 1):
        place = Place(folder / str(at), bundle)
        assert place.run(at, other_disk=other_disk)[0]
        assert not place.run(other_disk=other_disk)[0]
        place.check()


@pytest.mark.slow
def test_kill_upon_kill_ends_with_every_result(folder: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    # A file that was being read at five deaths is put aside; so many kills in a row would hit one by chance.
    monkeypatch.setattr("edgedx.device.decide.MAX_INTERRUPTIONS", 1000)
    dice = random.Random(11)
    for round_ in range(12):
        place = Place(folder / str(round_), bundle)
        for _ in range(6):
            place.run(dice.randrange(1, 60))
        while place.run(dice.randrange(30, 90))[0]:
            pass
        place.check()


def test_a_decoder_that_does_not_start_is_held_against_no_file(tmp_path: Path, bundle: Bundle) -> None:
    class Broken(InstantDecoder):
        def decode(self, path: Path, sha256: str) -> DecodedCanvas:
            raise MissingError("the decoder process does not start")

    place = Place(tmp_path, bundle)
    for _ in range(5):
        with place.scanner() as scanner:
            scanner._work.readers = Readers(scanner._work.examiner, [Broken()])  # type: ignore[list-item]
            with pytest.raises(MissingError):
                scanner.run_once()
    assert not place.run()[0]
    place.check()


# Disks


def test_a_file_that_cannot_be_opened_does_not_hold_up_a_single_scan(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Inbox.hash

    def hash_(self: Inbox, name: str) -> str | None:
        if name == "a":  # root may open anything, so that a mode of 000 would prove nothing
            raise StorageError("not permitted")
        return whole(self, name)

    monkeypatch.setattr(Inbox, "hash", hash_)
    place = Place(tmp_path, bundle)
    place.out.mkdir()
    (place.out / MARK).touch()  # after a death each file is hashed before it is decoded
    with place.scanner() as scanner:
        assert scanner.run_once()["done"] == 2
        assert scanner.read_now["waiting"] == 1
    monkeypatch.undo()
    assert not place.run()[0]
    place.check()


@pytest.mark.parametrize("left", [0, 4096, 12 * 1024, 24 * 1024, 48 * 1024])
def test_a_full_disk_is_waited_for(tmp_path: Path, small_disk: Path, bundle: Bundle, left: int) -> None:
    place = Place(tmp_path, bundle)
    place.out = small_disk / "out"
    with place.scanner():
        pass  # the ledger is there before the disk is full
    ballast = small_disk / "ballast"
    with ballast.open("wb") as stream:
        free = os.statvfs(small_disk)
        stream.write(bytes(free.f_bavail * free.f_frsize - left))
    time = Time({30: ballast.unlink})
    with place.scanner(time) as scanner:

        def stop() -> None:
            scanner.stop = True

        time.events[70] = stop
        counts = scanner.run()
    assert counts == {"received": 0, "claimed": 0, "done": 3, "refused": 1, "quarantined": 1}
    with place.scanner():
        pass  # mends the table, had a line been lost
    place.check()


def test_an_inbox_that_cannot_be_written_keeps_its_files_and_is_read_once(
    tmp_path: Path, small_disk: Path, bundle: Bundle
) -> None:
    place = Place(tmp_path, bundle)
    place.inbox = small_disk
    (small_disk / "d").write_bytes(b"bad d")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with place.scanner() as scanner:
        assert scanner.run_once()["quarantined"] == 1
    copies = [path.read_bytes() for path in (place.out / "quarantine").iterdir() if path.suffix != ".json"]
    assert copies == [b"bad d"] and (small_disk / "d").is_file()
    with place.scanner() as scanner:
        scanner.run_once()
        assert scanner.read_now == Counter({"waiting": 0})
