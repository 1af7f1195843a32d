"""The systemd unit: systemd understands it, and finds little to expose."""

from __future__ import annotations

import grp
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgedx.core.errors import UsageError
from edgedx.device.operation import unit
from edgedx.device.operation.unit import gpu_nodes, program_paths, unit_text

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
    text = unit_text(["/x", "in box", "100%", "$HOME", ""], writable=[Path("/srv/in box"), Path("/srv/$a:100%")])
    assert 'ExecStart=:/x "in box" 100%% $HOME ""' in text
    assert 'ReadWritePaths="/srv/in box" "/srv/$a:100%%"' in text, "a dollar is itself there"
    assert 'RequiresMountsFor="/srv/in box" "/srv/$a:100%%"' in text
    bound = unit_text(["/x"], writable=[Path("/home/a b:c$d\\e")])
    assert 'BindPaths="/home/a b\\\\:c$d\\\\e"'.replace("\\\\:", "\\:") in bound


@pytest.mark.parametrize("name", ["a\nExecStartPre=/bin/sh", "a\rb", "a\0b", "a\x1b[2J", "a\udcffb"])
def test_a_name_that_would_begin_another_line_is_refused(name: str) -> None:
    for given in (
        {"writable": [Path(f"/srv/{name}")]},
        {"writable": [Path("/srv/a")], "readable": [Path(f"/home/{name}")]},
    ):
        with pytest.raises(UsageError, match="unit file"):
            unit_text(["/x"], **given)
    with pytest.raises(UsageError, match="unit file"):
        unit_text(["/x", name], writable=WRITABLE)


def test_the_folders_of_inbox_and_results_must_be_mounted_first(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    text = unit_text(COMMAND, writable=[tmp_path / "link", Path("/srv/results")])
    (line,) = [line for line in text.splitlines() if line.startswith("RequiresMountsFor=")]
    assert line == f"RequiresMountsFor={tmp_path}/link {tmp_path}/real /srv/results"


def _nodes(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_a_gpu_is_let_through_and_else_no_device(tmp_path: Path) -> None:
    assert "PrivateDevices=yes" in unit_text(COMMAND, writable=WRITABLE)
    text = unit_text(COMMAND, writable=WRITABLE, gpu=True)
    assert "\nPrivateDevices=" not in text and "DeviceAllow=char-nvidia* rw" in text and "MemoryMax=4G" in text


@pytest.mark.parametrize(
    ("there", "through"),
    [
        (["nvidia0", "nvidiactl", "nvidia-uvm", "nvidia-caps/nvidia-cap1", "dri/renderD128", "dri/card0"],
         ["dri/renderD128", "nvidia-caps/nvidia-cap1", "nvidia-uvm", "nvidia0", "nvidiactl"]),
        (["nvgpu/igpu0/ctrl", "nvgpu/igpu0/power", "nvmap", "nvhost-ctrl-gpu", "nvhost-as-gpu", "dri/renderD129"],
         ["dri/renderD129", "nvgpu/igpu0/ctrl", "nvgpu/igpu0/power", "nvhost-as-gpu", "nvhost-ctrl-gpu", "nvmap"]),
        (["nvhost-ctrl", "nvmap", "nvhost-gpu"], ["nvhost-ctrl", "nvhost-gpu", "nvmap"]),
        (["dri/renderD128", "dri/card0", "nvme0", "nvme0n1", "nvram"], []),
        ([], []),
    ],
    ids=["card", "Orin with JetPack 6", "JetPack 5", "another maker's, and disks", "none"],
)  # fmt: skip
def test_the_nodes_of_this_machine_are_named(tmp_path: Path, there: list[str], through: list[str]) -> None:
    dev = _nodes(tmp_path, *there)
    assert [str(path.relative_to(dev)) for path in gpu_nodes(dev)] == through


def test_groups_that_may_open_the_gpu_are_joined_where_they_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group that does not exist would end the unit (216/GROUP): old systems have no render."""
    made = [grp.struct_group(("video", "x", 44, [])), grp.struct_group(("render", "x", 105, []))]
    for there, line in (
        (made, "SupplementaryGroups=render video"),
        (made[:1], "SupplementaryGroups=video"),
        ([], None),
    ):
        monkeypatch.setattr(grp, "getgrall", lambda there=there: there)
        text = unit_text(COMMAND, writable=WRITABLE, gpu=True)
        assert (line in text) if line else ("SupplementaryGroups" not in text)


def test_a_link_to_a_home_folder_leads_to_what_is_bound(tmp_path: Path) -> None:
    assert str(tmp_path).startswith("/tmp/"), "a folder that PrivateTmp= hides"
    (tmp_path / "real").mkdir()
    link = Path(f"/srv/edgedx-test-{os.getpid()}")
    try:
        link.symlink_to(tmp_path / "real")
        text = unit_text(COMMAND, writable=[link, Path("/srv/results")])
    finally:
        link.unlink()
    assert f"BindPaths={tmp_path}/real" in text and "ReadWritePaths=/srv/results" in text


def test_folders_below_home_are_bound_and_the_rest_of_it_is_hidden() -> None:
    text = unit_text(COMMAND, writable=[Path("/home/clinic/inbox")], readable=[Path("/home/clinic/a.edgedx")])
    assert "ProtectHome=tmpfs" in text and "BindPaths=/home/clinic/inbox" in text
    assert "BindReadOnlyPaths=/home/clinic/a.edgedx" in text


@pytest.mark.parametrize("top", ["/home/clinic", "/root/.pyenv", "/tmp/build", "/run/user/1000/x"])
def test_an_interpreter_and_packages_in_a_home_folder_are_bound(monkeypatch: pytest.MonkeyPatch, top: str) -> None:
    paths = [Path(top, "venv"), Path("/usr/lib/python3"), Path("/srv/edgedx")]
    monkeypatch.setattr("edgedx.device.operation.unit.program_paths", lambda: paths)
    text = unit_text([f"{top}/venv/bin/edgedx"], writable=WRITABLE)
    assert f"BindReadOnlyPaths={top}/venv" in text and "ProtectHome=tmpfs" in text
    assert "/usr/lib/python3" not in text, "it is seen anyway"


def test_the_program_lies_where_its_interpreter_its_packages_and_its_code_are() -> None:
    paths = program_paths()
    for needed in (
        Path(sys.executable),
        Path(os.path.realpath(sys.executable)),
        Path(pytest.__file__),
        Path(unit.__file__),
    ):
        assert any(needed.is_relative_to(path) for path in paths), needed
    assert not [path for path in paths for other in paths if path != other and path.is_relative_to(other)]
