"""The systemd unit: systemd understands it, and finds little to expose."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edgedx.device.operation.unit import unit_text

COMMAND = ["/opt/edgedx/bin/edgedx", "scan", "/srv/inbox", "--bundle", "/srv/device", "--out", "/srv/results"]
WRITABLE = [Path("/srv/inbox"), Path("/srv/results"), Path("/srv/device")]
analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed: apt-get install systemd"
)


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "edgedx-scan.service"
    path.write_text(text)
    return path


@analyze
@pytest.mark.parametrize("network", ["none", "loopback", "open"])
@pytest.mark.parametrize("gpu", [False, True])
def test_systemd_finds_it_safe(tmp_path: Path, network: str, gpu: bool) -> None:
    path = _write(tmp_path, unit_text(COMMAND, writable=WRITABLE, network=network, gpu=gpu))
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=30", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    exposure = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert exposure and float(exposure[1]) <= 3.0


def test_nothing_starts_while_a_disk_is_not_mounted() -> None:
    text = unit_text(COMMAND, writable=WRITABLE, readable=[Path("/srv/my keys/ca.pem")])
    assert 'RequiresMountsFor=/srv/inbox /srv/results /srv/device "/srv/my keys/ca.pem"' in text.splitlines()


@analyze
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    command = ["/bin/true", "scan", "/srv/in box", "100%", "$HOME"]  # a program that is there
    path = _write(tmp_path, unit_text(command, writable=[Path("/srv/in box")], gpu=True, network="open"))
    done = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False)
    assert "edgedx-scan.service" not in done.stderr, done.stderr


def test_what_systemd_would_replace_or_divide_is_quoted() -> None:
    text = unit_text(["/x", "in box", "100%", "$HOME"], writable=[Path("/srv/in box")])
    assert 'ExecStart=/x "in box" 100%% $$HOME' in text and 'ReadWritePaths="/srv/in box"' in text


def test_a_gpu_is_let_through_and_else_no_device() -> None:
    assert "PrivateDevices=yes" in unit_text(COMMAND, writable=WRITABLE)
    text = unit_text(COMMAND, writable=WRITABLE, gpu=True)
    assert "\nPrivateDevices=" not in text and "DeviceAllow=char-nvidia rw" in text


def test_folders_below_home_are_bound_and_the_rest_of_it_is_hidden() -> None:
    text = unit_text(COMMAND, writable=[Path("/home/clinic/inbox")], readable=[Path("/home/clinic/a.edgedx")])
    assert "ProtectHome=tmpfs" in text and "BindPaths=/home/clinic/inbox" in text
    assert "BindReadOnlyPaths=/home/clinic/a.edgedx" in text
