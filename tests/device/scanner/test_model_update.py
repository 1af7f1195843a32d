"""After a model update new images come first; old ones are read in the background, the newest first, or not at all.

Reported by an attack: an update read the whole inbox anew before it looked at a new image.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bundles import png, write_tiny
from places import OPTIONS, SETTLE, Place

from edgedx.device.scanner import intake
from edgedx.device.scanner.intake import Rescan
from edgedx.device.scanner.scanner import Scanner

OLD = 60  # several times what is on its way at once


@pytest.fixture
def updated(place: Place, tmp_path: Path) -> Place:
    """An inbox that the first bundle has read, and a second bundle."""
    for number in range(OLD):
        path = png(place.inbox / f"old-{number:02d}.png", number)
        os.utime(path, (1e9 + 1000 * ((7 * number) % OLD),) * 2)
    assert place.scan()["done"] == OLD
    place.bundle = write_tiny(tmp_path / "second.edgedx", version="2")
    return place


def _scanner(place: Place, rescan: Rescan = "background") -> Scanner:
    return place.scanner(options=replace(OPTIONS, rescan=rescan))


def _order(scanner: Scanner) -> list[str]:
    """Names in the order of their results, as they come."""
    names: list[str] = []
    scanner.on_result = lambda result: names.append(result.source.name)
    return names


def test_old_images_are_read_the_newest_first(updated: Place) -> None:
    with _scanner(updated) as scanner:
        names = _order(scanner)
        assert scanner.run_once()["done"] == 2 * OLD
    assert names == sorted(names, key=lambda name: (updated.inbox / name).stat().st_mtime_ns, reverse=True)
    assert len(names) == OLD


def test_what_arrives_during_that_does_not_wait_for_it(updated: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "AHEAD", 0)
    clock = updated.time.clock

    def ticking() -> float:
        updated.time.now += 1.0  # each look at the clock: a pass is over after some portions
        return clock()

    with updated.scanner(options=OPTIONS, clock=ticking) as scanner:
        names = _order(scanner)

        def arrive(result: Any) -> None:
            names.append(result.source.name)
            if len(names) == 2:
                png(updated.inbox / "new.png", 999)

        scanner.on_result = arrive
        scanner.run_once()
        scanner.run_once()
    assert len(names) == OLD + 1
    assert names.index("new.png") < OLD // 2 + intake.PORTION, names


def test_new_images_come_before_old_ones(updated: Place) -> None:
    for number in range(3):
        os.utime(png(updated.inbox / f"new-{number}.png", 900 + number), (5e8, 5e8))  # older, by their times
    with _scanner(updated) as scanner:
        names = _order(scanner)
        scanner.run_once()
    assert names[:3] == ["new-0.png", "new-1.png", "new-2.png"] and len(names) == OLD + 3


def test_old_images_are_left_alone_on_request_and_new_ones_are_read(updated: Place) -> None:
    png(updated.inbox / "new.png", 999)
    with _scanner(updated, "never") as scanner:
        assert scanner.to_read() == 1
        names = _order(scanner)
        assert scanner.run_once()["done"] == OLD + 1
    assert names == ["new.png"]


@pytest.mark.parametrize("rescan", ["background", "never"])
def test_what_the_first_bundle_received_and_never_answered_is_read_first(
    place: Place, rescan: Rescan, tmp_path: Path
) -> None:
    for number in range(5):
        png(place.inbox / f"{number}.png", number)
    place.scan()
    png(place.inbox / "unanswered.png", 77)
    with place.scanner() as scanner:
        scanner.look()
        place.time.now += SETTLE
        scanner.look()
        assert scanner.journal.count_pending() == 1
    place.bundle = write_tiny(tmp_path / "second.edgedx", version="2")
    with _scanner(place, rescan) as scanner:
        names = _order(scanner)
        scanner.run_once()
    assert names[0] == "unanswered.png" and len(names) == (6 if rescan == "background" else 1)


def test_the_table_has_a_line_for_each_file_and_model(updated: Place) -> None:
    with _scanner(updated) as scanner:
        scanner.run_once()
    rows = updated.table()
    assert len(rows) == 2 * OLD and len({(row["file"], row["model"]) for row in rows}) == 2 * OLD


def test_at_a_first_start_what_comes_later_does_not_wait_for_the_backlog(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "AHEAD", 0)
    for number in range(40):
        png(place.inbox / f"backlog-{number:02d}.png", number)

    def ticking() -> float:
        place.time.now += 1.0
        return place.time.now

    with place.scanner(clock=ticking) as scanner:
        names: list[str] = []

        def arrive(result: Any) -> None:
            names.append(result.source.name)
            if len(names) == 2:
                png(place.inbox / "new.png", 999)

        scanner.on_result = arrive
        scanner.run_once()
        scanner.run_once()
    assert len(names) == 41 and names.index("new.png") < 32, names
