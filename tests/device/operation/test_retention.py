"""What was answered and sent long ago is removed whole; what waits for anything, or is somebody else's, never."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from bundles import dicom, png, write_tiny
from death import run_until_killed
from places import OPTIONS, Place
from pynetdicom.dsutils import encode

from edgedx.core.errors import UsageError
from edgedx.device.operation import retention
from edgedx.device.operation.audit import AuditLog, verify
from edgedx.device.operation.audit_file import AUDIT
from edgedx.device.operation.heartbeat import Heartbeat, read_heartbeat
from edgedx.device.operation.retention import Retention, RetentionLimits, may_be_removed
from edgedx.device.operation.retention_record import read_retention
from edgedx.device.pacs.outbox import Outbox, folder_of
from edgedx.device.pacs.receipts import Desk, Receipts
from edgedx.device.scanner.journal import Journal
from edgedx.device.scanner.scanner import Scanner
from edgedx.dicom.receive import Status

DAY = 86400.0


class Clinic:
    """An inbox with images that were received by C-STORE, and others; all answered, as long ago as is wanted."""

    def __init__(self, place: Place, received: int = 3) -> None:
        self.place, self.inbox, self.out = place, place.inbox, place.out
        self.out.mkdir()
        for seed in range(received):
            self.receive(seed)

    def receive(self, seed: int) -> None:
        path = dicom(self.out.parent / f"{seed}.dcm", seed)
        header = pydicom.dcmread(path)
        body = encode(header, is_implicit_vr=False, is_little_endian=True)
        assert body is not None
        receipts = Receipts(self.out / "receipts.sqlite")
        desk = Desk(self.inbox, receipts, 0)
        taken = desk.take(
            str(header.SOPClassUID), str(header.SOPInstanceUID), str(header.file_meta.TransferSyntaxUID), BytesIO(body)
        )
        receipts.close()
        assert taken is Status.TAKEN

    def scan(self) -> dict[str, int]:
        options = replace(OPTIONS, sinks=lambda bundle, out: [AuditLog(out, bundle.digest)])
        return self.place.scan(options=options)

    def age(self, days: float, *stems: str) -> None:
        """Let results look as old as that."""
        for path in (self.out / "results").glob("*.json"):
            if not stems or path.stem in stems:
                os.utime(path, (time.time() - days * DAY,) * 2)

    def sweep(self, limits: RetentionLimits, **options: Any) -> None:
        with self.place.scanner() as scanner:
            Retention(self.inbox, self.out, limits, **options).sweep_now(scanner)

    def images(self) -> list[str]:
        return sorted(path.name for path in self.inbox.iterdir())

    def results(self) -> list[str]:
        return sorted(path.stem for path in (self.out / "results").glob("*.json"))

    def by_status(self) -> dict[str, str]:
        found = [json.loads(path.read_text()) for path in (self.out / "results").glob("*.json")]
        return {one["source"]["name"]: one["key"][:32] for one in found}


@pytest.fixture
def clinic(place: Place) -> Clinic:
    clinic = Clinic(place)
    clinic.scan()
    assert len(clinic.images()) == len(clinic.results()) == 3
    return clinic


def test_what_is_older_than_the_limit_goes_whole_and_the_rest_stays(clinic: Clinic) -> None:
    old, *young = clinic.results()
    clinic.age(40, old)
    (clinic.out / "results" / f"{old}.png").write_bytes(b"map")
    folder_of(clinic.out).mkdir()
    (folder_of(clinic.out) / f"{old}-sr.dcm").write_bytes(b"report")
    name = next(name for name, stem in clinic.by_status().items() if stem == old)
    clinic.sweep(RetentionLimits(days=30))
    assert clinic.results() == sorted(young) and name not in clinic.images() and len(clinic.images()) == 2
    assert not [path for path in clinic.out.rglob(f"{old}*")]
    assert len(clinic.place.table()) == 2 and {row["result"] for row in clinic.place.table()} == {
        f"results/{stem}.json" for stem in young
    }
    journal = Journal(clinic.out / "journal.sqlite", clinic.place.bundle.digest)
    assert journal.counts()["done"] == 2 and journal.check() == "ok"
    journal.close()
    assert clinic.scan()["done"] == 2, "nothing is read again"


def test_it_stands_in_audit_log_and_status_and_counters_do_not_go_down(clinic: Clinic) -> None:
    clinic.age(40)
    clinic.sweep(RetentionLimits(days=30, gigabytes=5))
    events = [json.loads(line) for line in (clinic.out / AUDIT).read_bytes().splitlines()]
    assert [event["event"] for event in events].count("110105") == 3 and verify(clinic.out / AUDIT).intact
    heartbeat = Heartbeat(clinic.out)
    with clinic.place.scanner() as scanner:
        heartbeat.beat(scanner)
    found = read_heartbeat(clinic.out)
    assert found["results"] == {"done ": 3}
    told = found["retention"]
    assert told["removed"] == {"done ": 3} and told["removed_bytes"] > 1000 and told["bytes"] == 0
    assert told["limits"] == {"days": 30, "gigabytes": 5} and told["swept"]


def test_the_oldest_go_until_the_rest_is_small_enough(clinic: Clinic) -> None:
    stems = clinic.results()
    for days, stem in enumerate(stems, start=1):
        clinic.age(days, stem)
    size = sum(path.stat().st_size for path in (*clinic.inbox.iterdir(), *(clinic.out / "results").iterdir()))
    clinic.sweep(RetentionLimits(gigabytes=0.7 * size / 1e9))
    assert clinic.results() == sorted(stems[:2]), "the oldest is gone, and that was enough"
    clinic.sweep(RetentionLimits(gigabytes=0))
    assert clinic.results() == [] == clinic.images()


def test_a_content_that_comes_again_is_read_anew(clinic: Clinic) -> None:
    clinic.age(40)
    clinic.sweep(RetentionLimits(days=30))
    clinic.receive(0)
    assert clinic.scan()["done"] == 1 and len(clinic.results()) == 1


# Never


def _pending_for_a_new_bundle(clinic: Clinic) -> None:
    other = write_tiny(clinic.out.parent / "next.edgedx", version="2")
    journal = Journal(clinic.out / "journal.sqlite", other.digest)
    old = Journal(clinic.out / "journal.sqlite", clinic.place.bundle.digest)
    with journal._transaction():
        for item in old.items():
            sql = "INSERT INTO items (key, sha256, bundle, name, bytes) VALUES (?, ?, ?, ?, ?)"
            journal._db.execute(sql, (item.key[::-1], item.sha256, other.digest, item.name.encode(), item.bytes))
    journal.close()
    old.close()


def _queued(clinic: Clinic, status: str = "queued") -> None:
    folder_of(clinic.out).mkdir()
    outbox = Outbox(folder_of(clinic.out) / "outbox.sqlite")
    for number, stem in enumerate(clinic.results()):
        (folder_of(clinic.out) / f"{stem}-sr.dcm").write_bytes(b"report")
        outbox.add(f"1.2.{number}", f"{stem}-sr.dcm", 6)
    for parcel in outbox.next(10) if status != "queued" else ():
        outbox.settle(parcel, status, "0x0000")  # type: ignore[arg-type]
    outbox.close()


def _refused_by_the_pacs(clinic: Clinic) -> None:
    _queued(clinic, "failed")


def _object_not_made_yet(clinic: Clinic) -> None:
    (folder_of(clinic.out) / "jobs").mkdir(parents=True)
    for stem in clinic.results():
        (folder_of(clinic.out) / "jobs" / f"{stem}.npz").touch()


def _copied_by_hand(clinic: Clinic) -> None:
    for path in list(clinic.inbox.iterdir()):
        shutil.copy(path, clinic.inbox / f"by-hand-{path.name}")
    clinic.scan()


def _not_received(clinic: Clinic) -> None:
    (clinic.out / "receipts.sqlite").unlink()


@pytest.mark.parametrize(
    ("wait", "why"),
    [(_pending_for_a_new_bundle, "unanswered"), (_queued, "unsent"), (_refused_by_the_pacs, "unsent"),
     (_object_not_made_yet, "unsent"), (_copied_by_hand, "in the inbox"), (_not_received, "in the inbox")],
)  # fmt: skip
def test_what_waits_for_anything_or_is_somebody_elses_is_never_removed(
    clinic: Clinic, wait: Callable[[Clinic], None], why: str
) -> None:
    wait(clinic)
    clinic.age(4000)
    before = (clinic.images(), clinic.results())
    clinic.sweep(RetentionLimits(days=0, gigabytes=0))
    assert (clinic.images(), clinic.results()) == before
    assert read_retention(clinic.out)["kept_over_limit"] == {why: 3} and read_retention(clinic.out)["removed"] == {}


def test_what_was_sent_goes(clinic: Clinic) -> None:
    _queued(clinic, "sent")
    clinic.age(40)
    clinic.sweep(RetentionLimits(days=30))
    assert clinic.results() == [] and list(folder_of(clinic.out).glob("*.dcm")) == []


def test_what_was_quarantined_or_never_answered_stays(place: Place) -> None:
    clinic = Clinic(place, received=1)
    (clinic.inbox / "letter.txt").write_text("Dear colleague")
    clinic.scan()
    clinic.receive(7)  # after the scan
    png(clinic.inbox / "new.png", 8)
    clinic.age(40)
    clinic.sweep(RetentionLimits(days=0, gigabytes=0))
    assert len(clinic.images()) == 2 and len(list((clinic.out / "quarantine").iterdir())) == 2
    assert read_retention(clinic.out)["removed"] == {"done ": 1}
    assert clinic.scan()["done"] == 2


def test_a_result_whose_input_somebody_took_away_goes_and_a_file_that_was_put_there_stays(place: Place) -> None:
    clinic = Clinic(place, received=0)
    for seed in range(2):
        png(clinic.inbox / f"{seed}.png", seed)
    clinic.scan()
    (clinic.inbox / "0.png").unlink()
    clinic.age(40)
    clinic.sweep(RetentionLimits(days=30))
    assert clinic.images() == ["1.png"] and len(clinic.results()) == 1


def test_a_receipt_that_names_a_path_outside_removes_nothing(clinic: Clinic) -> None:
    outside = clinic.out.parent / "outside.dcm"
    shutil.copy(clinic.inbox / clinic.images()[0], outside)
    receipts = Receipts(clinic.out / "receipts.sqlite")
    sha256 = receipts.all()[clinic.images()[0]]
    receipts._db.execute("INSERT INTO receipts (file, sha256, bytes) VALUES ('../outside.dcm', ?, 1)", (sha256,))
    receipts.close()
    clinic.age(40)
    clinic.sweep(RetentionLimits(days=30))
    assert outside.exists() and clinic.images() == []


# When


@pytest.mark.parametrize(
    ("age", "total", "limits", "removed"),
    [
        (31 * DAY, 0, RetentionLimits(days=30), True),
        (29 * DAY, 9e12, RetentionLimits(days=30), False),
        (31 * DAY, 2e9, RetentionLimits(days=30, gigabytes=5), True),
        (1 * DAY, 6e9, RetentionLimits(days=30, gigabytes=5), True),
        (1 * DAY, 5e9, RetentionLimits(days=30, gigabytes=5), False),
        (1800, 9e12, RetentionLimits(0, 0), False),
        (3601, 1, RetentionLimits(0, 0), True),
        (-5 * DAY, 9e12, RetentionLimits(0, 0), False),
        (4000 * DAY, 9e12, RetentionLimits(), False),
    ],
)
def test_a_limit_is_age_or_size_and_an_hour_is_always_kept(
    age: float, total: float, limits: RetentionLimits, removed: bool
) -> None:
    assert may_be_removed(age, total, limits) is removed


@pytest.mark.parametrize("wrong", [{"days": -1.0}, {"gigabytes": -0.1}, {"days": float("nan")}, {"days": float("inf")}])
def test_a_limit_that_is_none_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="--keep-"):
        RetentionLimits(**wrong)


class Clocks:
    def __init__(self) -> None:
        self.wall, self.steady = time.time(), 5000.0

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


def _take_in(clinic: Clinic, scanner: Scanner) -> None:
    """What is in the inbox is in the ledger then, and not answered."""
    scanner.look()
    clinic.place.time.now += 60
    scanner.look()


def test_it_is_done_in_idle_times_and_again_each_hour(clinic: Clinic) -> None:
    clinic.age(40)
    clocks = Clocks()
    keeper = Retention(
        clinic.inbox, clinic.out, RetentionLimits(days=30), clock=lambda: clocks.wall, monotonic=lambda: clocks.steady
    )
    with clinic.place.scanner() as scanner:
        keeper.tend(scanner)
        assert len(clinic.results()) == 3, "not right at the start"
        clinic.receive(9)
        _take_in(clinic, scanner)
        clocks.pass_(120)
        keeper.tend(scanner)
        assert len(clinic.results()) == 3, "an image waits"
        scanner.work()
        for _ in range(50):
            keeper.tend(scanner)
        assert len(clinic.results()) == 1
        clinic.age(40)
        clocks.pass_(1800)
        for _ in range(50):
            keeper.tend(scanner)
        assert len(clinic.results()) == 1
        clocks.pass_(1801)
        for _ in range(50):
            keeper.tend(scanner)
        assert clinic.results() == []


@pytest.mark.parametrize("low", [False, True])
def test_a_scanner_that_is_never_idle_sweeps_when_overdue_and_at_once_on_a_full_disk(clinic: Clinic, low: bool) -> None:
    clinic.age(40)
    clocks = Clocks()
    keeper = Retention(
        clinic.inbox, clinic.out, RetentionLimits(days=30), clock=lambda: clocks.wall, monotonic=lambda: clocks.steady
    )
    with clinic.place.scanner() as scanner:
        clinic.receive(9)
        _take_in(clinic, scanner)
        clocks.pass_(61)
        scanner._low = low
        for _ in range(50):
            keeper.tend(scanner)
        assert len(clinic.results()) == (0 if low else 3)
        clocks.pass_(7 * 3600)
        for _ in range(50):
            keeper.tend(scanner)
        assert clinic.results() == [] and scanner.journal.count_pending() == 1


@pytest.mark.parametrize("jump", [400 * DAY, -400 * DAY, 2 * 3600.0])
def test_a_clock_that_jumps_removes_nothing(clinic: Clinic, jump: float, caplog: pytest.LogCaptureFixture) -> None:
    """A battery that is flat, or a wrong time server: everything would look old at once."""
    clocks = Clocks()
    keeper = Retention(
        clinic.inbox, clinic.out, RetentionLimits(0, 0), clock=lambda: clocks.wall, monotonic=lambda: clocks.steady
    )
    clocks.wall += jump
    with clinic.place.scanner() as scanner:
        keeper.sweep_now(scanner)
    assert len(clinic.results()) == 3 and "clock" in caplog.text


def test_a_clock_before_this_release_removes_nothing(clinic: Clinic) -> None:
    clinic.sweep(RetentionLimits(0, 0), clock=lambda: 1e9)
    assert len(clinic.results()) == 3


def test_what_cannot_be_removed_costs_no_result(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    clinic.age(40)
    clocks = Clocks()
    keeper = Retention(
        clinic.inbox, clinic.out, RetentionLimits(days=30), clock=lambda: clocks.wall, monotonic=lambda: clocks.steady
    )
    with clinic.place.scanner() as scanner:
        clocks.pass_(61)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", _refuse)
            for _ in range(50):
                keeper.tend(scanner)
        clinic.receive(9)
        assert scanner.run_once()["done"] == 4
        clocks.pass_(3601)
        for _ in range(50):
            keeper.tend(scanner)
        assert len(clinic.results()) == 1


def _refuse(*_: object, **__: object) -> None:
    raise PermissionError(1, "read-only")


def test_a_kill_at_any_step_loses_nothing_that_stays_and_the_next_sweep_ends_it(
    clinic: Clinic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stays, *goes = clinic.results()
    clinic.age(40, *goes)
    before = clinic.by_status()
    kept_name = next(name for name, stem in before.items() if stem == stays)
    saved = tmp_path / "saved"
    shutil.copytree(clinic.out, saved / "out")
    shutil.copytree(clinic.inbox, saved / "inbox")
    step, killed = 0, True
    while killed:
        step += 1
        for name in ("out", "inbox"):
            shutil.rmtree(getattr(clinic, name))
            shutil.copytree(saved / name, getattr(clinic, name))
        journal = Journal(clinic.out / "journal.sqlite", clinic.place.bundle.digest)

        def work(journal: Journal = journal) -> None:
            for _ in Retention(clinic.inbox, clinic.out, RetentionLimits(days=30)).sweep(journal):
                pass

        killed, _ = run_until_killed(work, step)
        journal.close()
        assert stays in clinic.results() and kept_name in clinic.images()
        clinic.sweep(RetentionLimits(days=30))
        assert clinic.results() == [stays] and clinic.images() == [kept_name]
        assert [row["result"] for row in clinic.place.table()] == [f"results/{stays}.json"]
    assert step > 10


def test_ten_thousand_results_do_not_hold_up_the_work_loop(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    clinic = Clinic(place, received=1)
    clinic.scan()
    text, (stem,) = next((clinic.out / "results").glob("*.json")).read_text(), clinic.results()
    journal = Journal(clinic.out / "journal.sqlite", place.bundle.digest)
    with journal._transaction():
        for number in range(10_000):
            key = f"{number:032x}" + stem
            (clinic.out / "results" / f"{key[:32]}.json").write_text(text)
            sql = "INSERT INTO items (key, sha256, bundle, name, bytes, status) VALUES (?, ?, ?, 'x', 1, 'done')"
            journal._db.execute(sql, (key, key, place.bundle.digest))
    journal.close()
    keeper = Retention(clinic.inbox, clinic.out, RetentionLimits(days=30))
    keeper._next = 0.0
    longest = 0.0
    with place.scanner() as scanner:
        while True:
            begun = time.monotonic()
            keeper.tend(scanner)
            longest = max(longest, time.monotonic() - begun)
            if keeper._sweep is None:
                break
    print(f"longest slice {longest:.2f} s")
    assert longest < 1.0 and retention._SLICE_SECONDS <= 0.1
