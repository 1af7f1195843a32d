"""The whole way onto a device, with every wheel: fetched, copied over a real ssh, installed without a network, used.

Slow, and needs a package index once for each Python. The device is this machine, with a Python that has no packages.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sshd
from bundles import dicom, png, write_tiny
from inprocess import edgedx

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(sshd.absent()), reason=str(sshd.absent()))]


def interpreter(version: str) -> Path | None:
    """A Python of this version here: that of the tests, one in PATH, one of pyenv."""
    if version == sshd.PYTHON:
        return sshd.HERE
    found = [
        shutil.which(f"python{version}"),
        *map(str, (Path.home() / ".pyenv/versions").glob(f"{version}.*/bin/python")),
    ]
    for path in filter(None, found):
        done = subprocess.run(
            [path, "-c", "import sys; print(sys.executable)"], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return Path(done.stdout.strip())
    return None


def offline() -> list[str]:
    """What a command is started with so that it has no network, where that is possible."""
    return ["unshare", "--net"] if os.geteuid() == 0 and shutil.which("unshare") else []


@pytest.fixture(scope="module", params=["3.10", "3.11", "3.12"])
def device(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A device with this Python after `edgedx wheelhouse` and `edgedx push`: its root, record and wheelhouse."""
    python = interpreter(request.param)
    if python is None:
        pytest.skip(f"no Python {request.param} here")
    where = tmp_path_factory.mktemp(f"python{request.param}")
    name = "x86-avx2" if os.uname().machine == "x86_64" else "arm64"
    made = edgedx(where, "wheelhouse", "--device", name, "--python", request.param, "--out", "house")
    if "cannot be reached" in made.stderr:
        pytest.skip(f"no package index: {made.stderr}")
    assert made.returncode == 0, made.stderr
    write_tiny(where / "tiny.edgedx", profile=name)
    with sshd.server(where / "sshd", python=python) as server:
        options = ["--ssh-config", server.config, "--wheelhouse", where / "house"]
        options += ["--folder", where / "root", "--allow-unsigned", "--json"]
        done = edgedx(where, "push", "tiny.edgedx", "device", *map(str, options))
    assert done.returncode == 0, done.stderr
    yield {"root": where / "root", "house": where / "house", "record": json.loads(done.stdout), "at": where}


def run(device: dict[str, Any], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run edgedx of the device, without a network and without anything of this environment."""
    command = [*offline(), "env", "-i", "PATH=/usr/bin:/bin", f"HOME={device['at']}", "COLUMNS=140"]
    command += [str(device["root"] / "venv/bin/edgedx"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=device["at"])


def test_it_is_installed_from_the_wheels_alone(device: dict[str, Any]) -> None:
    record = device["record"]
    assert record["doctor"]["fit"] is True
    assert record["installed"]["golden_difference"] <= 1e-4
    packages = next((device["root"] / "venv/lib").glob("python3*/site-packages"))
    assert (packages / "onnxruntime").is_dir()
    assert not (packages / "torch").exists()


def test_every_requirement_is_met(device: dict[str, Any]) -> None:
    (pip,) = device["house"].glob("pip-*.whl")
    python = str(device["root"] / "venv/bin/python")
    done = subprocess.run([python, f"{pip}/pip", "check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_commands_of_the_device_half_run(device: dict[str, Any]) -> None:
    assert "Not a medical device" in run(device, "--help").stdout
    assert "orin-nano-8gb" in run(device, "devices", "list").stdout
    assert "phantom" in run(device, "recipes", "list").stdout
    document = json.loads(run(device, "doctor", "--json").stdout)
    assert document["fit"] is True
    assert document["software"]["edgedx"] == device["record"]["doctor"]["software"]["edgedx"]


def test_what_needs_the_other_half_says_so(device: dict[str, Any]) -> None:
    done = run(device, "finetune", "phantom")
    assert done.returncode == 3
    assert 'pip install "edgedx[lab]"' in done.stderr


def test_a_folder_is_scanned(device: dict[str, Any]) -> None:
    inbox = device["at"] / "inbox"
    png(inbox / "bright.png", 1, bright=True)
    dicom(inbox / "one.dcm", 2)
    done = run(device, "scan", inbox, "--bundle", device["root"] / "bundle/current", "--out", "out", "--once", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["read_now"] == {"done": 2, "refused": 0, "quarantined": 0}


def test_edgedx_as_installed_there_becomes_the_same_wheel_again(device: dict[str, Any], tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from edgedx.lab.remote.own_wheel import own_wheel\n"
        "print(own_wheel(pathlib.Path(sys.argv[1])))"
    )
    python = str(device["root"] / "venv/bin/python")
    done = subprocess.run([python, "-I", "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (original,) = device["house"].glob("edgedx-*.whl")
    with zipfile.ZipFile(done.stdout.strip()) as again, zipfile.ZipFile(original) as first:
        content = {name: first.read(name) for name in first.namelist() if not name.endswith("RECORD")}
        assert {name: again.read(name) for name in again.namelist() if not name.endswith("RECORD")} == content
