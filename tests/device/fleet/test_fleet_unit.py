"""The service and the timer of updates: systemd understands them, and finds little to expose."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from fleets import FleetPlace

from edgedx.core.errors import GateRefused, UsageError
from edgedx.device.fleet.unit import service_text, timer_text

analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed: apt-get install systemd"
)
WEB = "https://fleet.example.org/repo"


@analyze
@pytest.mark.parametrize("where", [WEB, "/media/stick/repo"])
def test_systemd_finds_it_safe_and_understands_every_line(member: FleetPlace, where: str) -> None:
    text = service_text(
        where, member.root, out=member.folder / "out 1", to="https://fleet.example.org/up", restart=None
    )
    service, timer = member.folder / "edgedx-update.service", member.folder / "edgedx-update.timer"
    service.write_text(re.sub(r"(?m)^(Exec\w+=:)\S+", r"\1/bin/true", text))
    timer.write_text(timer_text())
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=30", str(service)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for path in (service, timer):
        done = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False)
        assert "edgedx-update" not in done.stderr, done.stderr


def test_it_may_reach_what_it_needs_and_no_more(member: FleetPlace) -> None:
    stick = service_text("/media/stick", member.root)
    assert "PrivateNetwork=yes" in stick and "fleet status" not in stick
    web = service_text(WEB, member.root, out=Path("/srv/out"), to="/media/stick")
    assert "PrivateNetwork" not in web and "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6" in web
    assert "ExecStopPost=:" in web and "fleet status --root" in web and "--to /media/stick" in web
    assert "ExecStartPost=+systemctl try-restart edgedx-scan.service" in web
    writable = [line for line in web.splitlines() if line.startswith(("ReadWritePaths", "BindPaths"))]
    assert any(str(member.root) in line for line in writable) and not any("/srv/out" in line for line in writable)


def test_a_thousand_devices_do_not_ask_at_once() -> None:
    assert "RandomizedDelaySec=4h" in timer_text() and "Persistent=yes" in timer_text()


def test_what_no_unit_can_hold(member: FleetPlace, fleet: FleetPlace) -> None:
    with pytest.raises(UsageError, match="unit file"):
        service_text("/media/a\nExecStartPre=/bin/sh", member.root)
    with pytest.raises(UsageError, match="unit file"):
        timer_text("daily\n[Service]")
    shutil.rmtree(member.root / "fleet")
    with pytest.raises(GateRefused, match="trusts no repository"):
        service_text(WEB, member.root)
