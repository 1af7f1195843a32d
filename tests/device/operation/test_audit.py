"""The audit log: whole after a crash, and no line of it can be changed, moved, removed or put in unnoticed."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from bundles import png
from death import run_until_killed
from places import OPTIONS, Place

from edgedx.core.errors import InputOutputError
from edgedx.core.result import Result
from edgedx.device.operation.audit import AuditLog, ExportAudit, verify
from edgedx.device.operation.audit_file import ASIDE, AUDIT, FIRST
from edgedx.device.scanner.sinks import ScannedImage

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


def _finding(path: Path) -> ScannedImage:
    return ScannedImage(Result.model_validate_json(path.read_text()))


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


@pytest.mark.parametrize("torn", [b'{"bundle":"bb', b"{", b'{"bundle":"' + b"b" * 64 + b'","event":"11', bytes(512)])
def test_a_line_cut_by_a_crash_is_removed_and_that_is_recorded(log: Path, torn: bytes) -> None:
    """Zeros too: a power cut leaves them where the file's length was on the disk before its content."""
    with log.open("ab") as stream:
        stream.write(torn)
    assert verify(log).torn == len(torn)
    AuditLog(log.parent, DIGEST).close()
    assert verify(log).intact and verify(log).torn == 0
    assert json.loads(_lines(log)[5])["detail"].startswith(f"{len(torn)} bytes")


FOREIGN = {
    "a letter": b"Dear colleague\n",
    "no end": b"Dear colleague",
    "another program's JSON": b'{"level":"info","message":"rotated"}\n',
    "an event that was made up": b'{"bundle":"","hash":"' + b"0" * 64 + b'","sequence":6}\n',
    "one very long line": b"x" * 200_000,
    "binary": bytes(range(256)) * 4,
    "a list": b"[1]\n",
    "a cut line of others": b'{"bundle2":',
}


@pytest.mark.parametrize("tail", FOREIGN.values(), ids=FOREIGN)
def test_a_log_with_a_foreign_tail_is_put_aside_and_scanning_goes_on(
    log: Path, place: Place, tail: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    head = verify(log).head
    with log.open("ab") as stream:
        stream.write(tail)
    before = log.read_bytes()
    png(place.inbox / "later.png", 9)
    options = replace(OPTIONS, sinks=lambda bundle, out: [AuditLog(out, DIGEST)])
    with place.scanner(options=options) as scanner:
        assert scanner.run_once()["done"] == 4
    (aside,) = log.parent.glob(ASIDE)
    assert aside.read_bytes() == before, "evidence, as it was"
    first = json.loads(_lines(log)[0])
    assert first["aside"] == aside.name and first["sha256"] == hashlib.sha256(before).hexdigest()
    outcome = verify(log, head)
    assert outcome.broken_line is None and not outcome.intact and outcome.aside[0].problem == ""
    assert "put aside" in caplog.text
    aside.write_bytes(before[:-1])
    assert "changed" in verify(log).aside[0].problem
    assert verify(log, "f" * 64).broken_line is not None
    aside.unlink()
    assert "taken away" in verify(log).aside[0].problem and verify(log).intact, "the log still has its hash"


def test_a_last_line_that_was_changed_is_evidence_too(log: Path) -> None:
    lines = _lines(log)
    log.write_bytes(b"".join([*lines[:-1], lines[-1].replace(b"Stop", b"Pause")]))
    AuditLog(log.parent, DIGEST).close()
    assert verify(log).aside and len(list(log.parent.glob(ASIDE))) == 1


def test_a_file_that_is_no_log_is_kept_as_it_is(tmp_path: Path) -> None:
    (tmp_path / AUDIT).write_text("Dear colleague\n")
    AuditLog(tmp_path, DIGEST).close()
    (aside,) = tmp_path.glob(ASIDE)
    assert aside.read_text() == "Dear colleague\n" and verify(tmp_path / AUDIT).lines == 3


def test_what_is_no_file_is_an_error_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / AUDIT)
    with pytest.raises(InputOutputError, match="regular file"):
        AuditLog(tmp_path, DIGEST)


def test_a_tail_that_comes_while_a_scanner_runs_is_put_aside_too(log: Path) -> None:
    audit = AuditLog(log.parent, DIGEST)
    with log.open("ab") as stream:
        stream.write(b"Dear colleague\n")
    audit.close()
    assert len(list(log.parent.glob(ASIDE))) == 1 and verify(log).broken_line is None
    assert json.loads(_lines(log)[-1])["meaning"] == "Application Stop"


def test_a_log_that_is_taken_away_while_a_scanner_runs_is_begun_anew(log: Path) -> None:
    audit = AuditLog(log.parent, DIGEST)
    log.rename(log.with_name("rotated.jsonl"))
    audit.close()
    assert verify(log).intact and verify(log).lines == 1 and verify(log.with_name("rotated.jsonl")).intact


def test_a_kill_while_a_log_is_put_aside_leaves_it_named(tmp_path: Path) -> None:
    step, killed = 0, True
    while killed:
        step += 1
        for old in tmp_path.glob("audit*"):
            old.unlink()
        (tmp_path / AUDIT).write_text("Dear colleague\n")
        killed, _ = run_until_killed(lambda: AuditLog(tmp_path, DIGEST).close(), step)
        AuditLog(tmp_path, DIGEST).close()
        outcome = verify(tmp_path / AUDIT)
        assert outcome.broken_line is None and [one.problem for one in outcome.aside] == [""]
    assert step > 4


def test_a_scanner_and_an_export_share_one_chain(log: Path) -> None:
    """They are different processes: each line is written after what the other wrote."""
    results = [Result.model_validate_json(path.read_text()) for path in (log.parent / "results").glob("*.json")]
    audit, export = AuditLog(log.parent, DIGEST), ExportAudit(log.parent)
    for result in results:
        audit.publish(ScannedImage(result), Path(), None)
        export.record(result)
    export.close()
    audit.close()
    assert verify(log).intact and verify(log).lines == 5 + 1 + 6 + 1
    assert [json.loads(line)["meaning"] for line in _lines(log)].count("Export") == 3


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
