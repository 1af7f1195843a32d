"""The audit log: whole after a crash, and no line of it can be changed, moved, removed or put in unnoticed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from bundles import png
from death import run_until_killed
from places import Place

from edgedx.core.errors import InputOutputError
from edgedx.core.result import Result
from edgedx.device.operation.audit import AUDIT, FIRST, AuditLog, verify
from edgedx.device.scanner.sinks import Finding

DIGEST = "b" * 64


@pytest.fixture
def log(place: Place) -> Path:
    """Five events: start, three images, stop."""
    for index in range(3):
        png(place.inbox / f"{index}.png", index)
    place.scan()
    audit = AuditLog(place.out, DIGEST)
    for path in sorted((place.out / "results").glob("*.json")):
        audit.publish(_finding(path), path, None)
    audit.close()
    return place.out / AUDIT


def _finding(path: Path) -> Finding:
    return Finding(Result.model_validate_json(path.read_text()))


def _lines(log: Path) -> list[bytes]:
    return log.read_bytes().splitlines(keepends=True)


def test_a_log_as_it_was_written_is_intact(log: Path) -> None:
    found = verify(log)
    assert (found.lines, found.broken_line, found.torn) == (5, None, 0)
    codes = [(entry["event"], entry.get("outcome")) for entry in map(json.loads, _lines(log))]
    assert codes == [("110100", None), *[("110103", "done")] * 3, ("110100", None)]
    assert verify(log, found.head) == found


@pytest.mark.parametrize("line", range(5))
def test_a_line_that_was_changed_is_named(log: Path, line: int) -> None:
    lines = _lines(log)
    lines[line] = lines[line].replace(b"20", b"19", 1)
    log.write_bytes(b"".join(lines))
    assert verify(log).broken_line == line + 1


@pytest.mark.parametrize("line", range(4))
def test_a_line_that_was_removed_or_moved_is_noticed(log: Path, line: int) -> None:
    lines = _lines(log)
    log.write_bytes(b"".join(lines[:line] + lines[line + 1 :]))
    assert verify(log).broken_line == line + 1
    lines[line], lines[line + 1] = lines[line + 1], lines[line]
    log.write_bytes(b"".join(lines))
    assert verify(log).broken_line == line + 1


def test_lines_cut_off_the_end_are_missed_by_who_noted_the_head(log: Path) -> None:
    head = verify(log).head
    log.write_bytes(b"".join(_lines(log)[:-2]))
    assert verify(log).broken_line is None, "nothing in the file itself can tell"
    found = verify(log, head)
    assert found.broken_line == 4 and "removed" in found.problem


def test_a_log_that_goes_on_keeps_its_chain(log: Path) -> None:
    head = verify(log).head
    AuditLog(log.parent, DIGEST).close()
    assert (verify(log, head).lines, verify(log, head).broken_line) == (7, None)


def test_a_line_cut_by_a_crash_is_removed_and_that_is_recorded(log: Path) -> None:
    with log.open("ab") as stream:
        stream.write(b'{"sequence":6,"time"')
    assert verify(log).torn == 20
    AuditLog(log.parent, DIGEST).close()
    assert verify(log).broken_line is None and verify(log).torn == 0
    assert json.loads(_lines(log)[5])["detail"].startswith("20 bytes")


def test_a_file_that_is_no_log_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / AUDIT).write_text("Dear colleague\n")
    with pytest.raises(InputOutputError, match="no audit event"):
        AuditLog(tmp_path, DIGEST)
    assert (tmp_path / AUDIT).read_text() == "Dear colleague\n" and verify(tmp_path / AUDIT).broken_line == 1


def test_a_full_disk_leaves_no_half_line(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit, before = AuditLog(log.parent, DIGEST), log.read_bytes()
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda handle, data: write(handle, data[: len(data) // 2]))
        with pytest.raises(InputOutputError):
            audit.close()
    assert log.read_bytes() == before and verify(log).broken_line is None


def test_a_kill_at_any_step_leaves_a_log_that_goes_on(tmp_path: Path) -> None:
    step, killed = 0, True
    while killed:
        step += 1
        killed, _ = run_until_killed(lambda: AuditLog(tmp_path, DIGEST).close(), step)
        if (tmp_path / AUDIT).exists():
            assert verify(tmp_path / AUDIT).broken_line is None
    assert step > 4 and verify(tmp_path / AUDIT).head != FIRST
