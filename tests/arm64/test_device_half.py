"""The device half as arm64: installed without a network by the Python of an arm64 Debian, run there by emulation.

Run by `make test-arm64`, as root, with debootstrap and qemu-user-static; the first run makes the Debian (minutes).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import chroot
import pytest
from bundles import dicom, golden, model, png, write_tiny

from edgedx.core.settings.profile import load_profile
from edgedx.lab.remote.on_device import BUILD
from edgedx.lab.remote.wheelhouse import make_wheelhouse

FOLDER = os.environ.get("EDGEDX_ARM64")
WHY = "EDGEDX_ARM64 names no folder: make test-arm64" if FOLDER is None else chroot.missing()
pytestmark = pytest.mark.skipif(WHY is not None, reason=str(WHY))

Run = Callable[..., "subprocess.CompletedProcess[str]"]
PLACE = "srv/edgedx"


@pytest.fixture(scope="module")
def debian() -> Iterator[Path]:
    """The arm64 root, while this machine can run it."""
    assert FOLDER is not None
    with chroot.emulation():
        yield chroot.make_root(Path(FOLDER))


@pytest.fixture(scope="module")
def run(debian: Path) -> Run:
    """Run a command in it, without a network."""

    def work(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(chroot.enter(debian, *command), capture_output=True, text=True, timeout=900, check=False)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    return work


@pytest.fixture(scope="module")
def device(debian: Path, run: Run) -> Iterator[Path]:
    """A folder there with edgedx installed by the same script that `edgedx push` runs on a device."""
    place = debian / PLACE
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    python = run("python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").stdout.strip()
    house = make_wheelhouse(load_profile("raspberry-pi-5"), place / "wheels", python=python)
    run("sh", "-c", BUILD, "sh", f"/{PLACE}", "venv", f"/{PLACE}/wheels", house.pip, "python3")
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def edgedx(device: Path, run: Run) -> Run:
    """Run edgedx there."""

    def work(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return run(f"/{PLACE}/venv/bin/edgedx", *arguments, check=check)

    return work


@pytest.fixture(scope="module")
def installed(device: Path, edgedx: Run) -> dict[str, object]:
    """A bundle whose golden samples were computed here, on another instruction set."""
    write_tiny(device / "tiny.edgedx", profile="raspberry-pi-5")
    arguments = (f"/{PLACE}/tiny.edgedx", "--root", f"/{PLACE}/bundle", "--allow-unsigned", "--json")
    return dict(json.loads(edgedx("install", *arguments).stdout))


def test_it_is_arm64_and_has_no_network(run: Run) -> None:
    assert run("uname", "-m").stdout.strip() == "aarch64"
    code = "import socket; socket.create_connection(('127.0.0.1', 9), 2)"
    assert "Network is unreachable" in run("python3", "-c", code, check=False).stderr
    interfaces = run("cat", "/proc/net/dev").stdout.splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]


def test_doctor_finds_it_fit_and_every_decoder_loads(edgedx: Run) -> None:
    document = json.loads(edgedx("doctor", "--json").stdout)
    assert document["fit"] is True
    assert document["hardware"]["arch"] == "aarch64"
    assert "emulated" in document["hardware"]["cpu"]["model"]
    assert document["profile"] == "arm64"
    assert None not in document["software"]["decoders"].values()


def test_golden_samples_of_another_instruction_set_hold(installed: dict[str, object]) -> None:
    assert installed["variant"] == "fp32"
    assert isinstance(installed["golden_difference"], float)
    assert installed["golden_difference"] <= 1e-4


def test_a_bundle_that_computes_otherwise_is_refused(device: Path, edgedx: Run, installed: dict[str, object]) -> None:
    network = model(2.0)
    write_tiny(device / "other.edgedx", network=network, samples=golden(network, shift=1.0), profile="raspberry-pi-5",
               version="2")  # fmt: skip
    arguments = (f"/{PLACE}/other.edgedx", "--root", f"/{PLACE}/bundle", "--allow-unsigned")
    done = edgedx("install", *arguments, check=False)
    assert done.returncode == 1
    assert "computes other values" in done.stderr
    assert json.loads(edgedx("status", "--root", f"/{PLACE}/bundle", "--json").stdout)["active"]["version"] == "1"


def test_a_bundle_for_x86_is_refused(device: Path, edgedx: Run) -> None:
    write_tiny(device / "pc.edgedx", profile="x86-avx2")
    arguments = (f"/{PLACE}/pc.edgedx", "--root", f"/{PLACE}/pc", "--allow-unsigned")
    done = edgedx("install", *arguments, check=False)
    assert done.returncode == 2
    assert "needs an x86_64 processor" in done.stderr


def test_a_folder_is_scanned(device: Path, edgedx: Run, installed: dict[str, object]) -> None:
    png(device / "inbox" / "bright.png", 1, bright=True)
    png(device / "inbox" / "dark.png", 2, bright=False)
    dicom(device / "inbox" / "one.dcm", 3)
    (device / "inbox" / "letter.txt").write_text("Dear colleague")
    arguments = (
        f"/{PLACE}/inbox",
        "--bundle",
        f"/{PLACE}/bundle/current",
        "--out",
        f"/{PLACE}/out",
        "--once",
        "--json",
    )
    read = json.loads(edgedx("scan", *arguments).stdout)["read_now"]
    assert read == {"done": 3, "refused": 0, "quarantined": 1}
    labels = {}
    for path in (device / "out/results").glob("*.json"):
        result = json.loads(path.read_text())
        if result["prediction"]:
            labels[result["source"]["name"]] = result["prediction"]["label"]
    assert labels["bright.png"] == "bright"
    assert labels["dark.png"] == "dark"


def test_nothing_stays_mounted(debian: Path, device: Path) -> None:
    assert str(debian) not in Path("/proc/mounts").read_text()
