"""One file that is too large, too slow or has no room stops no other, and status says so.

Reported by an attack: a file larger than free space made every batch fail for ever while status said well (under the
unit's bind mounts a rename is always refused with EXDEV); 3 GB delayed the next image by 42 s, sparse 2 TB for ever.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bundles import png
from places import OPTIONS, Place, passes

from edgedx.device.machine.writers import HOLE_SECONDS
from edgedx.device.operation.heartbeat import complaints
from edgedx.device.scanner.inbox import LARGEST, Inbox
from edgedx.device.scanner.scanner import STUCK_SECONDS
from edgedx.dicom.decoding.refusals import MAX_DECODED_BYTES


def _statuses(place: Place) -> dict[str, str]:
    return {name: one["status"] for name, one in place.results().items()}


# No room


@pytest.mark.parametrize(("megabytes", "floor"), [(3, 0), (0.6, 500 << 10), (0.3, 750 << 10)])
def test_what_has_no_room_in_quarantine_stays_where_it_is_and_the_others_go_on(
    place: Place, small_disk: Path, megabytes: float, floor: int
) -> None:
    place.out = small_disk / "out"
    (place.inbox / "large").write_bytes(b"no image" * int(megabytes * 131072))
    png(place.inbox / "a.png", 1)
    with place.scanner(options=replace(OPTIONS, disk_floor=floor)) as scanner:
        passes(place, scanner, 30)
        png(place.inbox / "later.png", 2)
        passes(place, scanner, 30)
        assert _statuses(place) == {"a.png": "done", "large": "quarantined", "later.png": "done"}
        assert (place.inbox / "large").is_file() and not list((place.out / "quarantine").iterdir())
        assert any("1 files that cannot be read stay in the inbox" in one for one in scanner.troubles())
        subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
        passes(place, scanner, 80)
        assert not (place.inbox / "large").exists() and scanner.troubles() == []
    moved, reason = sorted((place.out / "quarantine").iterdir())
    assert moved.stat().st_size == int(megabytes * 131072) * 8 and reason.name == moved.name + ".reason.json"
    assert len(place.table()) == 3


def test_a_restart_reads_what_was_left_in_the_inbox_no_second_time(place: Place, small_disk: Path) -> None:
    place.out = small_disk / "out"
    (place.inbox / "large").write_bytes(b"no image" * 400_000)
    place.scan()
    with place.scanner() as scanner:
        passes(place, scanner, 20)
        assert scanner.read_now.total() == 0 and scanner.troubles()
    assert len(place.results()) == 1


def test_a_large_file_is_copied_beside_the_work_loop(
    place: Place, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgedx.device.scanner.work.COPY_AT_ONCE", 1000)
    place.out = small_disk / "out"
    (place.inbox / "medium").write_bytes(b"no image" * 1000)
    place.scan()
    assert (place.inbox / "medium").is_file() and _statuses(place) == {"medium": "quarantined"}
    with place.scanner() as scanner:
        passes(place, scanner, 20)
    assert not (place.inbox / "medium").exists()
    assert len(list((place.out / "quarantine").glob("*medium"))) == 1


def test_a_name_that_is_taken_in_quarantine_stops_no_other_file(place: Place) -> None:
    (place.inbox / "bad.txt").write_text("text")
    with place.scanner() as scanner:
        passes(place, scanner, 3)
        (item,) = scanner.journal.items()
        blocked = place.out / "quarantine" / f"{item.key[:12]}-bad.txt"
        (blocked / "full").mkdir(parents=True)
        png(place.inbox / "a.png")
        passes(place, scanner, 30)
        assert _statuses(place) == {"bad.txt": "quarantined", "a.png": "done"}
        assert (place.inbox / "bad.txt").read_text() == "text" and scanner.troubles()
        (blocked / "full").rmdir()
        blocked.rmdir()
        passes(place, scanner, 80)
    assert blocked.read_text() == "text" and not (place.inbox / "bad.txt").exists()


# Too large to be read


@pytest.mark.parametrize("size", [LARGEST + 1, 3 << 30, 2 << 40])
def test_a_file_over_the_budget_is_judged_by_its_size_and_delays_nobody(place: Place, size: int) -> None:
    with (place.inbox / "huge.dcm").open("wb") as stream:
        stream.truncate(size)
    png(place.inbox / "a.png")
    begun = time.monotonic()
    with place.scanner() as scanner:
        passes(place, scanner, 5)
        assert _statuses(place) == {"a.png": "done"}, "a hole is what a copier leaves that has not been there"
        place.time.now += HOLE_SECONDS
        passes(place, scanner, 5)
    assert time.monotonic() - begun < 20
    assert place.results()["huge.dcm"]["reason"]["code"] == "TOO_LARGE"
    (moved,) = (path for path in (place.out / "quarantine").iterdir() if path.suffix == ".dcm")
    assert moved.stat().st_size == size


def test_large_files_of_one_size_are_told_apart_by_their_ends(place: Place) -> None:
    for name, where in (("a", 0), ("b", LARGEST), ("c", 0)):
        with (place.inbox / name).open("wb") as stream:
            stream.truncate(LARGEST + 10)
            stream.seek(where)
            stream.write(b"x")
    source = Inbox(place.inbox)
    assert source.hash("a") == source.hash("c") != source.hash("b")
    assert LARGEST == MAX_DECODED_BYTES


def test_a_hash_that_takes_long_holds_up_no_image(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, whole = threading.Event(), Inbox.hash

    def slow(self: Inbox, name: str) -> str:
        if name == "slow.txt":
            go_on.wait(60)
        return whole(self, name)

    monkeypatch.setattr(Inbox, "hash", slow)
    (place.inbox / "slow.txt").write_text("text")
    with place.scanner() as scanner:
        for seed in range(3):
            png(place.inbox / f"{seed}.png", seed)
            passes(place, scanner, 4)
        assert set(place.results()) == {"0.png", "1.png", "2.png"}
        go_on.set()
        scanner._intake._hashers.submit(int).result()
        passes(place, scanner, 20)
    assert _statuses(place)["slow.txt"] == "quarantined"


# Status


def _found(**changes: Any) -> dict[str, Any]:
    well = {"state": "scanning", "running": True, "disk_free": 2, "disk_floor": 1, "sink_failures": {}, "outbox": None}
    return {**well, "troubles": [], "oldest_pending_seconds": None, **changes}


def test_status_complains_of_what_waits_for_too_long() -> None:
    assert complaints(_found()) == complaints(_found(oldest_pending_seconds=60.0)) == []
    assert "has waited for 17 minutes" in complaints(_found(oldest_pending_seconds=STUCK_SECONDS + 100))[0]
    assert complaints(_found(troubles=["results.csv cannot be written: it"])) == ["results.csv cannot be written: it"]


def test_a_disk_that_cannot_be_written_is_in_the_status_and_work_goes_on_after_it(
    place: Place, small_disk: Path
) -> None:
    place.out = small_disk / "out"
    ballast = small_disk / "ballast"

    def fill() -> None:
        free = os.statvfs(small_disk)
        ballast.write_bytes(bytes(free.f_bavail * free.f_frsize))

    with place.scanner() as scanner:
        seen: list[list[str]] = []
        png(place.inbox / "a.png")

        def stop() -> None:
            scanner.stop = True

        wait = [lambda: None] * 10
        look = [lambda: seen.append(scanner.troubles())]
        place.time.events = [fill, *wait, *look, ballast.unlink, *wait, *look, stop]
        scanner.run()
    assert seen[0] and seen[0][0].startswith("cannot read or write") and seen[1] == []
    assert _statuses(place) == {"a.png": "done"}
