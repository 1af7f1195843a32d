"""The queue to a PACS: durable, least tried first, and what each answer means."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedx.core.errors import StorageError
from edgedx.device.pacs import outbox as module
from edgedx.device.pacs.outbox import MAX_ATTEMPTS, Outbox, counts_of, outcome_of, pause


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "dicom").mkdir()
    return tmp_path / "dicom" / "outbox.sqlite"


def test_what_was_queued_is_there_after_a_restart_once(path: Path) -> None:
    box = Outbox(path)
    assert box.add("1.2", "a.dcm", 10) and not box.add("1.2", "a.dcm", 10)
    box.close()
    again = Outbox(path)
    assert [(one.uid, one.file, one.attempts) for one in again.next(9)] == [("1.2", "a.dcm", 0)]
    assert counts_of(path.parents[1]) == {"queued": 1, "sent": 0, "failed": 0, "queued_bytes": 10}


def test_one_that_the_pacs_chokes_on_does_not_stop_the_others(path: Path) -> None:
    box = Outbox(path)
    for name in ("a", "b", "c"):
        box.add(f"1.{ord(name)}", name, 1)
    first = box.next(1)[0]
    box.settle(first, "again", "NO_ANSWER")
    assert [one.file for one in box.next(9)] == ["b", "c", "a"]
    box.settle(box.next(1)[0], "pause", "0xA700")
    assert [(one.file, one.attempts) for one in box.next(9)] == [("b", 0), ("c", 0), ("a", 1)], "no object's fault"


def test_what_failed_for_good_is_kept_and_tried_only_when_asked(path: Path) -> None:
    box = Outbox(path)
    box.add("1.2", "a.dcm", 1)
    box.settle(box.next(1)[0], "failed", "0xA900")
    assert box.next(9) == [] and [(one.file, one.code) for one in box.failed()] == [("a.dcm", "0xA900")]
    assert box.retry() == 1 and len(box.next(9)) == 1


def test_what_was_sent_long_ago_is_forgotten(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 2)
    box = Outbox(path)
    for number in range(5):
        box.add(f"1.{number}", f"{number}", 1)
    for queued in box.next(5)[:4]:
        box.settle(queued, "sent", "0x0000")
    box.forget()
    assert [box.knows(f"1.{number}") for number in range(5)] == [False, False, False, True, True]
    assert box.counts()["queued"] == 1


def test_a_damaged_outbox_says_which_file(path: Path) -> None:
    path.write_bytes(b"no database" * 100)
    with pytest.raises(StorageError, match="outbox.sqlite"):
        Outbox(path)


@pytest.mark.parametrize(
    ("status", "attempts", "expected"),
    [
        (0x0000, 0, ("sent", "0x0000")),
        (0xB000, 0, ("sent", "0xB000")),
        (0xB006, 0, ("sent", "0xB006")),
        (0x0111, 3, ("sent", "0x0111")),
        (0xA700, 99, ("pause", "0xA700")),
        (0xA7FF, 0, ("pause", "0xA7FF")),
        (0x0110, 0, ("again", "0x0110")),
        (0x0110, MAX_ATTEMPTS - 1, ("failed", "0x0110")),
        (0xA900, 0, ("failed", "0xA900")),
        (0xC123, 0, ("failed", "0xC123")),
        (0x0122, 0, ("failed", "0x0122")),
        (0x0124, 0, ("failed", "0x0124")),
        (None, 99, ("again", "NO_ANSWER")),
    ],
)
def test_what_an_answer_means(status: int | None, attempts: int, expected: tuple[str, str]) -> None:
    assert outcome_of(status, attempts) == expected


def test_pauses_double_to_five_minutes_and_differ_between_devices() -> None:
    assert [pause(failures, 1.0) for failures in (1, 2, 3, 9, 10, 5000)] == [1, 2, 4, 256, 300, 300]
    assert pause(10, 0.0) == 150 < pause(10, 0.5) < pause(10, 1.0)
