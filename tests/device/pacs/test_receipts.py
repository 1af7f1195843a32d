"""An object is acknowledged when it is durable, at no kill before; and never twice in the inbox."""

from __future__ import annotations

import os
import sqlite3
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from death import run_until_killed

from edgedx.core.errors import StorageError
from edgedx.core.files import sha256_file
from edgedx.device.pacs.receipts import Desk, Receipts
from edgedx.dicom.receive import Status
from edgedx.dicom.writing.make import write_dicom

EXPLICIT = "1.2.840.10008.1.2.1"


class Sent:
    """One object, as a C-STORE brings it."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        pixels = np.random.default_rng(seed).integers(0, 255, (16, 16)).astype(np.uint8)
        write_dicom(folder / f"sent-{seed}.dcm", pixels)
        found = pydicom.dcmread(folder / f"sent-{seed}.dcm")
        self.uid, self.sop_class = str(found.SOPInstanceUID), str(found.SOPClassUID)
        start = 132 + 12 + found.file_meta.FileMetaInformationGroupLength
        self.body = (folder / f"sent-{seed}.dcm").read_bytes()[start:]

    def to(self, desk: Desk, body: bytes | None = None) -> Status:
        return desk.take(self.sop_class, self.uid, EXPLICIT, BytesIO(body or self.body))


class Place:
    """An inbox and an output folder."""

    def __init__(self, folder: Path) -> None:
        self.inbox, self.out = folder / "inbox", folder / "out"
        self.inbox.mkdir(parents=True, exist_ok=True)
        self.out.mkdir(exist_ok=True)

    def desk(self, floor: int = 0) -> Desk:
        return Desk(self.inbox, Receipts(self.out / "receipts.sqlite"), floor)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.inbox.iterdir())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def sent(tmp_path: Path) -> Sent:
    return Sent(tmp_path)


def test_the_file_is_durable_before_its_name_the_name_before_the_receipt_and_that_before_the_answer(
    place: Place, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, steps = place.desk(), []
    sync, rename, add = os.fsync, os.replace, Receipts.add

    def fsync(handle: int) -> None:
        steps.append("sync folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "sync file")
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", lambda *paths: (steps.append("rename"), rename(*paths)))
    monkeypatch.setattr(Receipts, "add", lambda self, *row: (steps.append("receipt"), add(self, *row)))
    assert sent.to(desk) == Status.TAKEN
    assert steps == ["sync file", "rename", "sync folder", "receipt"]
    assert desk.receipts._db.execute("PRAGMA journal_mode").fetchone()[0] == "truncate"
    assert desk.receipts._db.execute("PRAGMA synchronous").fetchone()[0] == 2, "FULL"


def test_a_kill_at_any_step_leaves_nothing_half_and_a_resend_makes_it_one(tmp_path: Path, sent: Sent) -> None:
    def steps_of(place: Place, die_at: int | None) -> tuple[bool, int]:
        def work() -> None:
            desk = place.desk()
            assert sent.to(desk) == Status.TAKEN
            (place.out / "acknowledged").touch()

        return run_until_killed(work, die_at)

    killed, steps = steps_of(Place(tmp_path / "whole"), None)
    assert not killed and steps >= 8
    for at in range(1, steps + 1):
        place = Place(tmp_path / str(at))
        assert steps_of(place, at)[0]
        before = [name for name in place.names() if not name.startswith(".")]
        assert not (place.out / "acknowledged").exists()
        assert all(sha256_file(place.inbox / name)[:32] == name[33:65] for name in before)
        desk = place.desk()
        desk.clear()
        assert sent.to(desk) == Status.TAKEN and desk.receipts.all().keys() == set(place.names())
        assert len(place.names()) == 1 and before in ([], place.names())


def test_the_same_object_again_is_one_file_that_is_not_touched(place: Place, sent: Sent) -> None:
    desk = place.desk()
    assert sent.to(desk) == Status.TAKEN
    before = (place.inbox / place.names()[0]).stat()
    assert sent.to(place.desk()) == Status.TAKEN, "after a restart, too"
    assert (place.inbox / place.names()[0]).stat() == before and len(desk.receipts.all()) == 1


def test_one_that_was_taken_out_of_the_inbox_is_put_there_again(place: Place, sent: Sent) -> None:
    desk = place.desk()
    sent.to(desk)
    names = place.names()
    (place.inbox / names[0]).unlink()
    assert sent.to(desk) == Status.TAKEN and place.names() == names and len(desk.receipts.all()) == 1


def test_another_content_under_the_same_uid_is_kept_beside_the_first(place: Place, sent: Sent) -> None:
    desk = place.desk()
    other = sent.body[:-1] + bytes([sent.body[-1] ^ 1])
    assert sent.to(desk) == sent.to(desk, other) == Status.TAKEN
    one, two = place.names()
    assert one[:32] == two[:32] and one != two and len(desk.receipts.all()) == 2


def test_what_is_not_wanted_is_answered_so_and_leaves_nothing(place: Place, sent: Sent) -> None:
    desk = place.desk()
    assert desk.take("1.2.840.10008.5.1.4.1.1.88.34", sent.uid, EXPLICIT, BytesIO(sent.body)) == 0x0122
    assert desk.take(sent.sop_class, "1.2.3", EXPLICIT, BytesIO(sent.body)) == 0xA900
    assert desk.take(sent.sop_class, sent.uid, EXPLICIT, BytesIO(b"no data set")) == 0xC000
    assert place.names() == [] and desk.receipts.all() == {}


def test_below_the_floor_nothing_is_taken_until_there_is_space(place: Place, sent: Sent) -> None:
    assert sent.to(place.desk(floor=1 << 62)) == 0xA700 and place.names() == []
    assert sent.to(place.desk()) == Status.TAKEN


@pytest.mark.parametrize("left", [0, 1000, 12 * 1024])
@pytest.mark.parametrize("full", ["inbox", "out"])
def test_a_full_disk_is_answered_0xa700_and_the_same_object_is_taken_when_it_is_not(
    place: Place, sent: Sent, small_disk: Path, full: str, left: int
) -> None:
    setattr(place, full, small_disk)
    desk = place.desk()
    ballast = small_disk / ".ballast"
    with ballast.open("wb") as stream:
        free = os.statvfs(small_disk)
        stream.write(bytes(free.f_bavail * free.f_frsize - left))
    others = [Sent(place.inbox.parent, seed) for seed in range(1, 9)]
    answers = [one.to(desk) for one in (sent, *others)]
    assert set(answers) <= {Status.TAKEN, Status.NO_SPACE} and answers[-1] == Status.NO_SPACE
    assert len(desk.receipts.all()) == answers.count(Status.TAKEN)
    ballast.unlink()
    assert {one.to(desk) for one in (sent, *others)} == {Status.TAKEN}
    files = {name for name in place.names() if name.endswith(".dcm")}
    assert desk.receipts.all().keys() == files and len(files) == 9
    assert not [name for name in place.names() if name.endswith(".tmp")]
    desk.receipts.close()


def test_what_a_kill_left_half_written_goes_and_nothing_else_does(place: Place) -> None:
    half = place.inbox / f".{'a' * 32}-{'b' * 32}.dcm.x7_a.tmp"
    foreign = place.inbox / ".copying.dcm.tmp"
    half.touch()
    foreign.touch()
    place.desk().clear()
    assert place.names() == [foreign.name]


def test_a_damaged_ledger_is_told(place: Place) -> None:
    (place.out / "receipts.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(StorageError, match=r"receipts\.sqlite"):
        place.desk()


def test_a_ledger_that_cannot_be_written_acknowledges_nothing(
    place: Place, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = place.desk()

    def add(self: Receipts, *row: object) -> None:
        with self._translate():
            raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(Receipts, "add", add)
    assert sent.to(desk) == Status.NO_SPACE
    monkeypatch.undo()
    assert sent.to(desk) == Status.TAKEN and len(place.names()) == 1
