"""An output folder that disappears is waited for, and never begun anew below a bare mount point.

Reported by an attack: with the disk of OUT unplugged, a new OUT was made on the system's disk, and all was read again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bundles import png
from places import OPTIONS, Place

from edgedx.core.errors import InputOutputError, StorageError
from edgedx.device.machine import mounts
from edgedx.device.machine.alive import STATUS
from edgedx.device.operation.heartbeat import Heartbeat, read_heartbeat
from edgedx.device.scanner.out_folder import MARK, RECORD, mark_of
from edgedx.device.scanner.scanner import Scanner


@pytest.fixture
def stick(place: Place, small_disk: Path, tmp_path: Path) -> Iterator[Path]:
    """A disk that can be taken away and put back: its content is kept in a folder of another file system."""
    point = tmp_path / "stick"
    point.mkdir()
    plug(small_disk, point)
    place.out = point / "out"
    yield point
    while os.path.ismount(point):
        subprocess.run(["umount", "-l", point], check=True)


def plug(disk: Path, point: Path) -> None:
    subprocess.run(["mount", "--bind", disk, point], check=True)


def unplug(point: Path) -> None:
    subprocess.run(["umount", "-l", point], check=True)


def _beating(place: Place) -> Scanner:
    heartbeat = Heartbeat(place.out, clock=place.time.clock)
    scanner = place.scanner(options=replace(OPTIONS, sinks=lambda bundle, out: [heartbeat]))
    scanner.on_beat = lambda: heartbeat.beat(scanner)
    return scanner


def _run(place: Place, scanner: Scanner, *events: Callable[[], object]) -> None:
    def stop() -> None:
        scanner.stop = True

    place.time.events = [*events, stop]
    scanner.run()


def _rest(count: int = 15) -> list[Callable[[], object]]:
    return [lambda: None] * count


@pytest.mark.parametrize("at", ["the mount point itself", "below it"])
def test_a_disk_that_is_unplugged_at_work_is_waited_for_and_nothing_is_written_where_it_was(
    place: Place, stick: Path, small_disk: Path, at: str
) -> None:
    place.out = stick if at == "the mount point itself" else stick / "out"
    png(place.inbox / "a.png", 1)
    seen: list[list[Path]] = []
    with _beating(place) as scanner:
        _run(
            place, scanner,
            *_rest(),
            lambda: unplug(stick),
            lambda: png(place.inbox / "b.png", 2),
            *_rest(30),
            lambda: seen.append(list(stick.rglob("*"))),
            lambda: seen.append([Path(one) for one in scanner.troubles()]),
            lambda: plug(small_disk, stick),
            *_rest(),
        )  # fmt: skip
        assert scanner.read_now["done"] == 2 and scanner.troubles() == []
    assert seen[0] == [] and "gone" in str(seen[1][0])
    assert {name: one["status"] for name, one in place.results().items()} == {"a.png": "done", "b.png": "done"}
    assert len(place.table()) == 2


@pytest.mark.parametrize("how", ["removed", "another in its place", "unmounted for good"])
def test_an_output_folder_that_does_not_come_back_is_not_made_anew(place: Place, stick: Path, how: str) -> None:
    png(place.inbox / "a.png", 1)
    away: dict[str, Callable[[], object]] = {
        "removed": lambda: shutil.rmtree(place.out),
        "another in its place": lambda: (place.out.rename(place.out.with_name("moved")), place.out.mkdir()),
        "unmounted for good": lambda: unplug(stick),
    }
    with _beating(place) as scanner:
        _run(place, scanner, *_rest(), away[how], lambda: png(place.inbox / "b.png", 2), *_rest(30))
        assert scanner.read_now["done"] == 1 and any("gone" in one for one in scanner.troubles())
    assert not list(place.out.rglob("*")) if place.out.exists() else True
    with pytest.raises(InputOutputError):
        read_heartbeat(place.out)


def test_a_start_without_the_disk_is_refused_and_with_it_goes_on(place: Place, stick: Path, small_disk: Path) -> None:
    png(place.inbox / "a.png", 1)
    assert place.scan()["done"] == 1
    assert json.loads((place.inbox / RECORD).read_text())["outs"] == {str(place.out): str(stick)}
    unplug(stick)
    for _ in range(3):
        with pytest.raises(StorageError, match="nothing is mounted") as caught:
            place.scan()
        assert caught.value.next_step and not list(stick.iterdir())
    plug(small_disk, stick)
    with place.scanner() as scanner:
        assert scanner.run_once()["done"] == 1 and not scanner.read_now.total()


def test_a_folder_that_was_removed_on_purpose_is_begun_anew_where_its_disk_is_there(place: Place, stick: Path) -> None:
    png(place.inbox / "a.png", 1)
    place.scan()
    shutil.rmtree(place.out)
    assert place.scan()["done"] == 1


@pytest.mark.parametrize("below", ["", "results", "deep/er/results"])
def test_a_mount_point_of_fstab_that_is_bare_is_no_place_for_results(
    place: Place, tmp_path: Path, below: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = tmp_path / "mnt with blank"
    point.mkdir()
    (tmp_path / "fstab").write_text(
        f"# comment\nUUID=1 / ext4 defaults 0 1\nUUID=2 {str(point).replace(' ', chr(92) + '040')} ext4 nofail 0 2\n"
    )
    monkeypatch.setattr(mounts, "FSTAB", tmp_path / "fstab")
    place.out = point / below if below else point
    png(place.inbox / "a.png", 1)
    with pytest.raises(StorageError, match="by /etc/fstab"):
        place.scan()
    assert not list(point.iterdir())
    place.out = tmp_path / "out"
    assert place.scan()["done"] == 1


def test_an_output_folder_of_an_earlier_release_gets_its_mark(place: Place) -> None:
    png(place.inbox / "a.png", 1)
    place.scan()
    first = mark_of(place.out)
    (place.out / MARK).unlink()
    with place.scanner() as scanner:
        assert scanner.run_once()["done"] == 1 and not scanner.read_now.total()
    assert first and mark_of(place.out) not in (None, first) and not (place.inbox / RECORD).exists()


def test_the_last_word_of_a_scanner_goes_nowhere_else(place: Place, stick: Path) -> None:
    heartbeat = Heartbeat(place.out, clock=place.time.clock)
    with place.scanner(options=replace(OPTIONS, sinks=lambda bundle, out: [heartbeat])) as scanner:
        heartbeat.beat(scanner)
        assert (place.out / STATUS).is_file()
        unplug(stick)
        place.out.mkdir()
        heartbeat.stopped(scanner)
    assert not list(place.out.iterdir())
