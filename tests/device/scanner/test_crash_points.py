"""The scanner is killed before and after every sync, rename, removal and commit, and loses nothing at any of them.

The scanner runs in a forked process with an instant decoder and model, so that hundreds of deaths take seconds.
"""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from bundles import write_tiny
from instant import InstantDecoder, Place, Time

from edgedx.core.bundle.manifest import Bundle
from edgedx.core.errors import MissingError, StorageError
from edgedx.device.decode.decoder import DecodedCanvas
from edgedx.device.scanner.early import MARK
from edgedx.device.scanner.inbox import Inbox
from edgedx.device.scanner.readers import Readers


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


@pytest.mark.parametrize("other_disk", [pytest.param(False, marks=pytest.mark.slow), True])
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
    monkeypatch.setattr("edgedx.device.scanner.decide.MAX_INTERRUPTIONS", 1000)
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
