"""The heartbeat says what the scanner does, to people, to Prometheus and to systemd; without patients, without harm."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bundles import dicom, picture, png, png_bytes
from places import CANARY, OPTIONS, Place

from edgedx.core.errors import InputOutputError
from edgedx.device.machine.alive import FINISHED, STALE_SECONDS, STATUS
from edgedx.device.operation.audit import AuditLog
from edgedx.device.operation.audit_file import AUDIT
from edgedx.device.operation.heartbeat import METRICS, Heartbeat, complaints, read_heartbeat
from edgedx.device.operation.notify import notify
from edgedx.device.operation.prometheus import metrics_text

SAMPLE = re.compile(r'[a-z_]+(\{([a-z]+="[^"]*",?)+\})? -?[0-9.e+]+')


def _scan(place: Place, heartbeat: Heartbeat) -> None:
    options = replace(OPTIONS, sinks=lambda bundle, out: [heartbeat, AuditLog(out, bundle.digest)])
    with place.scanner(options=options) as scanner:
        scanner.on_beat = lambda: heartbeat.beat(scanner)
        scanner.run_once()
        heartbeat.stopped(scanner)


def test_status_and_metrics_tell_what_the_ledger_holds(place: Place) -> None:
    png(place.inbox / "a.png")
    dicom(place.inbox / "other.dcm", 4, kind="SC")
    (place.inbox / "letter.txt").write_text("Dear colleague")
    _scan(place, Heartbeat(place.out))
    found = read_heartbeat(place.out)
    assert found["results"] == {"done ": 1, "quarantined UNKNOWN_FORMAT": 1, "refused MODALITY": 1}
    assert found["pending"] == 0 and found["bundle"] == place.bundle.digest and found["read_by_this_process"] == 3
    assert not found["running"] and complaints(found) == ["the scanner was stopped"]
    assert complaints({**found, "state": FINISHED}) == []
    text = (place.out / METRICS).read_text()
    assert 'edgedx_results_total{status="refused",code="MODALITY"} 1' in text
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert samples and all(SAMPLE.fullmatch(line) for line in samples)


def test_it_is_written_where_something_changed_and_else_once_a_minute(place: Place) -> None:
    now = [0.0]
    heartbeat = Heartbeat(place.out, clock=lambda: now[0])
    with place.scanner(options=replace(OPTIONS, sinks=lambda bundle, out: [heartbeat])) as scanner:
        written = []
        for seconds in range(0, 200, 2):
            now[0] = float(seconds)
            if seconds == 100:
                png(place.inbox / "a.png")
                scanner.run_once()
            (place.out / STATUS).unlink(missing_ok=True)
            heartbeat.beat(scanner)
            if (place.out / STATUS).exists():
                written.append(seconds)
    assert written == [0, 60, 100, 160]


def _beating(place: Place, **changes: Any) -> dict[str, Any]:
    heartbeat = Heartbeat(place.out)
    with place.scanner(options=replace(OPTIONS, sinks=lambda bundle, out: [heartbeat])) as scanner:
        heartbeat.beat(scanner)
    path = place.out / STATUS
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return read_heartbeat(place.out)


def test_a_scanner_that_died_hangs_or_was_left_behind_by_a_restart_does_not_run(place: Place) -> None:
    assert _beating(place)["running"] and complaints(_beating(place)) == []
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not _beating(place, pid=ended.pid)["running"]
    now = json.loads((place.out / STATUS).read_text())["at"]
    assert not _beating(place, at=now - STALE_SECONDS - 1)["running"]
    found = _beating(place, boot="another start")
    assert not found["running"] and found["age_seconds"] is None
    assert complaints(found)[0].startswith("the scanner does not run")


def test_a_folder_without_a_scanner_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match="no scanner has written"):
        read_heartbeat(tmp_path)


def test_a_low_disk_and_a_failing_output_are_complained_of(place: Place) -> None:
    found = _beating(place, disk_free=1, disk_floor=2, sink_failures={"heatmap": 3})
    assert len(complaints(found)) == 2 and "3 results without their heatmap" in complaints(found)[1]
    assert found["outbox"] is None
    assert "2 objects that the PACS refused" in complaints({**found, "outbox": {"failed": 2}})[-1]


def test_a_label_cannot_break_out_of_its_quotes() -> None:
    found = dict.fromkeys(("model", "bundle", "variant", "provider"), 'a"b\\c\nd')
    numbers = dict.fromkeys(("pending", "read_by_this_process", "disk_free", "disk_floor", "at"), 0)
    empty: dict[str, Any] = {"results": {}, "seconds": {}, "sink_failures": {}, "oldest_pending_seconds": None}
    text = metrics_text({**found, **numbers, **empty, "state": "scanning"})
    assert text.splitlines()[-1].count('a\\"b\\\\c\\nd') == 4


def test_systemd_is_told_and_its_absence_is_not_minded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notify("WATCHDOG=1")
        assert end.recv(100) == b"WATCHDOG=1"
    notify("WATCHDOG=1")  # nobody listens any more


def test_no_patient_is_in_log_status_metrics_or_audit(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    png(place.inbox / f"{CANARY}.png")
    dicom(place.inbox / f"{CANARY}.dcm", 4, name=CANARY)
    dicom(place.inbox / f"{CANARY}-other.dcm", 5, kind="SC", name=CANARY)
    (place.inbox / f"{CANARY}.txt").write_text(CANARY)
    (place.inbox / f"{CANARY}-half.png").write_bytes(png_bytes(picture(5))[:200])
    _scan(place, Heartbeat(place.out))
    told = [(place.out / name).read_text() for name in (STATUS, METRICS, AUDIT)]
    assert len(place.results()) == 5
    assert all(CANARY not in text and "DOE" not in text for text in [*told, caplog.text])
    assert os.stat(place.out / AUDIT).st_mode & 0o007 == 0
