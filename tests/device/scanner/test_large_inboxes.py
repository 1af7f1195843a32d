"""Folders that are deep, many or full cost little and end no scanner.

Reported by an attack: 1,100 nested folders ended every start (RecursionError); 30,000 files took a fifth of a core.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bundles import picture, png, png_bytes
from places import OPTIONS, Place

from edgedx.device.operation.heartbeat import Heartbeat
from edgedx.device.scanner.facts import Arrival
from edgedx.device.scanner.inbox import Inbox
from edgedx.device.scanner.scanner import Scanner


@pytest.fixture
def deep(place: Place) -> Iterator[Place]:
    yield place
    subprocess.run(["rm", "-rf", place.inbox], check=True)  # Python's own way recurses


def _nest(folder: Path, depth: int, name: str = "d") -> int:
    """Folders in folders; returns a handle of the innermost."""
    handle = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=handle)
        inner = os.open(name, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    return handle


def _put(handle: int, name: str, content: bytes) -> None:
    with os.fdopen(os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=handle), "wb") as stream:
        stream.write(content)


@pytest.mark.parametrize("depth", [50, 1100])
def test_folders_nested_a_thousand_deep_are_read_to_the_bottom(deep: Place, depth: int) -> None:
    handle = _nest(deep.inbox, depth)
    _put(handle, "a.png", png_bytes(picture(1)))
    os.close(handle)
    png(deep.inbox / "b.png", 2)
    assert deep.scan()["done"] == 2


def test_a_path_that_is_too_long_for_the_system_is_in_the_status_and_stops_no_other(deep: Place) -> None:
    handle = _nest(deep.inbox, 60, "f" * 100)
    _put(handle, "a.png", png_bytes(picture(1)))
    os.close(handle)
    png(deep.inbox / "b.png", 2)
    with deep.scanner() as scanner:
        assert scanner.run_once()["done"] == 1
        assert any("folders of the inbox cannot be listed" in one for one in scanner.troubles())


def test_a_folder_that_leads_to_itself_is_walked_once(deep: Place) -> None:
    (deep.inbox / "a").mkdir()
    (deep.inbox / "a/again").symlink_to(deep.inbox)
    png(deep.inbox / "a/b.png", 2)
    assert deep.scan()["done"] == 1


def test_many_folders_are_walked(deep: Place) -> None:
    for number in range(3000):
        (deep.inbox / f"{number}").mkdir()
    png(deep.inbox / "2999/b.png", 2)
    assert deep.scan()["done"] == 1


# Cost


def _fill(place: Place, scanner: Scanner, count: int) -> None:
    """Files that were answered, as far as the ledger knows."""
    for number in range(count):
        (place.inbox / f"{number:05d}.dcm").touch()
    arrivals = [Arrival(name, facts, "0" * 64) for name, facts in scanner._source.listing().items()]
    scanner.journal.receive(arrivals)
    (item,) = scanner.journal.pending(2)
    scanner.journal.finish([(item.key, "done", None)])


def test_an_idle_scanner_with_30000_files_takes_at_most_a_hundredth_of_a_core(place: Place) -> None:
    heartbeat = Heartbeat(place.out, clock=place.time.clock)
    with place.scanner(options=replace(OPTIONS, interval=2.0, sinks=lambda bundle, out: [heartbeat])) as scanner:
        scanner.on_beat = lambda: heartbeat.beat(scanner)
        _fill(place, scanner, 30_000)
        for _ in range(3):  # the first looks settle them
            place.time.now += 2.0
            scanner._pass()
        begun, begun_at = time.process_time(), place.time.now
        while place.time.now - begun_at < 600:
            place.time.now += 2.0
            scanner._pass()
            scanner._beat()
        share = (time.process_time() - begun) / 600
        assert share <= 0.01, f"{share:.2%} of a core"
        assert not scanner.read_now


@pytest.fixture
def saving(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if each look at all files were as dear as that at many."""
    monkeypatch.setattr("edgedx.device.scanner.inbox._CHEAP", -1.0)
    monkeypatch.setattr("edgedx.device.scanner.inbox._rest", lambda cost: 100.0 if cost >= 0 else 0.0)


def _changed(source: Inbox, now: float, *unsettled: str) -> set[str]:
    return set(source.refresh(now, unsettled))


@pytest.mark.usefixtures("saving")
def test_what_comes_and_goes_is_seen_without_a_look_at_every_file(tmp_path: Path) -> None:
    for name in ("a", "b", "x/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    source = Inbox(tmp_path)
    assert _changed(source, 0.0) == {"a", "b", "x/c"}
    source._next_folders = 0.0
    (tmp_path / "new").write_text("1")
    (tmp_path / "b").unlink()
    (tmp_path / "x/y/z").mkdir(parents=True)
    (tmp_path / "x/y/z/deep").write_text("2")
    assert _changed(source, 1.0) == {"new", "b", "x/y/z/deep"}
    source._next_folders = 0.0
    (tmp_path / "other").write_text("another")
    (tmp_path / "other").replace(tmp_path / "a")
    assert _changed(source, 2.0) == {"a"}, "another file under a known name"
    (tmp_path / "new").write_text("12")
    assert _changed(source, 3.0) == set() and _changed(source, 3.0, "new") == {"new"}
    assert set(source.files) == {"a", "new", "x/c", "x/y/z/deep"} == set(source.listing())
    subprocess.run(["rm", "-r", tmp_path / "x"], check=True)
    source._next_folders = 0.0
    _changed(source, 4.0)
    assert _changed(source, 5.0) == {"x/c", "x/y/z/deep"}, "a folder that is gone has every file looked at"
    (tmp_path / "a").write_text("in place")
    assert _changed(source, 200.0) == {"a"}, "in the end every file is looked at"
