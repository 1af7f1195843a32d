"""The rules of the scanner, without a file, a clock or a process."""

from __future__ import annotations

import pytest

from edgedx.core.codes import Code
from edgedx.device.scanner.decide import MAX_ATTEMPTS, StabilityGate, after_failure, ignored, interrupted_too_often
from edgedx.device.scanner.facts import Stat

ONE, OTHER = Stat(10, 1, 1), Stat(11, 1, 1)


@pytest.mark.parametrize(
    "name",
    [".hidden", "._a.dcm", "@eaDir", "@eaDir/a.dcm", "x/.stversions/a.dcm", "a.part", "a.PART", "a.tmp", "x/.y/a.dcm"],
)
def test_what_servers_and_writers_leave_is_ignored(name: str) -> None:
    assert ignored(name)


@pytest.mark.parametrize("name", ["a.dcm", "a", "part", "x.tmp.dcm", "IM.0001", "x/y/a.png", "a..dcm", "ä.png"])
def test_names_of_images_are_not_ignored(name: str) -> None:
    assert not ignored(name)


def test_a_file_passes_after_it_was_seen_unchanged_for_the_settling_time() -> None:
    gate = StabilityGate(2.0)
    assert gate.settled({"a": ONE}, 0.0) == []
    assert gate.settled({"a": ONE}, 1.9) == []
    assert gate.settled({"a": ONE}, 2.0) == ["a"]


def test_two_looks_are_needed_even_without_a_settling_time() -> None:
    gate = StabilityGate(0.0)
    assert gate.settled({"a": ONE}, 5.0) == []
    assert gate.settled({"a": ONE}, 5.0) == ["a"]


@pytest.mark.parametrize("other", [Stat(11, 1, 1), Stat(10, 2, 1), Stat(10, 1, 2)])
def test_any_change_begins_the_wait_anew(other: Stat) -> None:
    gate = StabilityGate(2.0)
    gate.settled({"a": ONE}, 0.0)
    assert gate.settled({"a": other}, 2.0) == []
    assert gate.settled({"a": other}, 3.9) == []
    assert gate.settled({"a": other}, 4.0) == ["a"]


def test_a_dismissed_file_comes_back_only_when_it_changed_or_was_reopened() -> None:
    gate = StabilityGate(1.0)
    gate.settled({"a": ONE}, 0.0)
    gate.dismiss("a")
    assert gate.settled({"a": ONE}, 9.0) == [] and gate.waiting() == set()
    gate.settled({"a": OTHER}, 10.0)
    assert gate.settled({"a": OTHER}, 11.0) == ["a"] and gate.waiting() == {"a"}
    gate.dismiss("a")
    gate.reopen("a")
    assert gate.settled({"a": OTHER}, 12.0) == []
    assert gate.settled({"a": OTHER}, 13.0) == ["a"]


def test_a_file_that_vanished_is_forgotten_and_settles_again() -> None:
    gate = StabilityGate(1.0)
    gate.settled({"a": ONE}, 0.0)
    gate.dismiss("a")
    assert gate.settled({}, 1.0) == [] and gate.waiting() == set()
    assert gate.settled({"a": ONE}, 2.0) == []
    assert gate.settled({"a": ONE}, 3.0) == ["a"]


@pytest.mark.parametrize("code", ["DECODER_CRASH", "DECODER_TIMEOUT", "DECODER_MEMORY"])
def test_a_file_that_ends_the_decoder_has_three_attempts_with_longer_and_longer_waits(code: str) -> None:
    steps = [after_failure(code, attempts, 2.0) for attempts in (1, 2, 3, 4)]
    assert [status for status, _ in steps] == ["retry", "retry", "quarantined", "quarantined"]
    assert 0 < steps[0][1] < steps[1][1]


@pytest.mark.parametrize("code", ["TRUNCATED", "UNKNOWN_FORMAT", "DECODE_FAILED", "EMPTY"])
def test_a_damaged_file_is_tried_once_more_as_its_writer_may_have_paused(code: str) -> None:
    assert after_failure(code, 1, 2.0) == ("retry", 2.0)
    assert after_failure(code, 2, 2.0) == ("quarantined", 0.0)


@pytest.mark.parametrize("code", ["MULTI_FRAME", "REPORT", "BLANK", "DICOMDIR"])
def test_what_was_read_and_is_no_image_for_a_model_is_refused_at_once(code: str) -> None:
    assert after_failure(code, 1, 2.0) == ("refused", 0.0)


def test_a_file_that_ended_the_scanner_three_times_is_quarantined() -> None:
    assert [interrupted_too_often(attempts) for attempts in (1, 4, 5)] == [False, False, True]
    assert after_failure("INTERRUPTED", MAX_ATTEMPTS + 1, 2.0) == ("quarantined", 0.0)
    assert after_failure("INTERRUPTED", 1, 2.0) == ("quarantined", 0.0)


@pytest.mark.parametrize("code", [code.value for code in Code])
def test_every_code_ends_within_the_attempts_as_its_table_says(code: str) -> None:
    assert after_failure(code, MAX_ATTEMPTS, 2.0) == (Code(code).outcome, 0.0)
