"""A device behind 64 kbit/s with a fifth of all packets lost, and behind a line that is cut: whole, or as before."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from bad_lines import Line, bad_line, why_not
from bundles import GOLDEN, MODEL, golden, manifest, model
from fleets import FleetPlace

from edgedx.core.bundle.manifest import write_bundle
from edgedx.device.install.active import open_any
from edgedx.lab.fleet.publish import publish

_REASON = why_not() if sys.platform == "linux" else "network namespaces are Linux'"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(_REASON), reason=_REASON)]
SIZE = 120_000


def _publish(fleet: FleetPlace, version: str) -> int:
    """A bundle of `SIZE` bytes and a little, which no compression makes smaller."""
    network = model()
    parts = {MODEL: network, GOLDEN: golden(network), "notes.txt": np.random.default_rng(int(version)).bytes(SIZE)}
    path = fleet.folder / f"{version}.edgedx"
    write_bundle(path, manifest(version=version), parts, [fleet.release])
    return publish(fleet.repo, path, fleet.ring, ring=100).release.length


def _install(fleet: FleetPlace) -> list[str]:
    return [sys.executable, "-m", "edgedx", "install", "--from", Line.url, "--root", str(fleet.root)]


def _active(fleet: FleetPlace) -> str:
    """Opened with all its hashes: never half."""
    return open_any(fleet.root).manifest.version


def test_64_kbit_with_20_percent_loss_completes(member: FleetPlace, tmp_path: Path) -> None:
    _publish(member, "5")
    with bad_line(member.repo, tmp_path / "asked") as line:
        line.shape(kbit=64, loss=20, delay_ms=100)
        process, end = line.start(_install(member)), time.monotonic() + 540
        while process.poll() is None:
            assert time.monotonic() < end
            assert _active(member) in ("1", "5")
            time.sleep(0.5)
        assert process.returncode == 0 and _active(member) == "5"


def test_a_line_that_is_cut_and_a_process_that_is_killed_go_on_where_they_were(
    member: FleetPlace, tmp_path: Path
) -> None:
    length = _publish(member, "5")
    part = member.root / "fleet" / "downloads"
    with bad_line(member.repo, tmp_path / "asked") as line:
        line.shape(kbit=128, delay_ms=20)
        for turn in range(3):
            process, before = line.start(_install(member)), _size(part)
            end = time.monotonic() + 120
            while process.poll() is None and _size(part) < before + length // 5:
                assert time.monotonic() < end
                time.sleep(0.05)
            if turn == 0:
                line.cut(8)  # TCP goes on by itself, or the client asks for the rest
                time.sleep(2)
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert _active(member) == "1" and _size(part) >= before
        line.shape()
        assert line.start(_install(member)).wait(300) == 0 and _active(member) == "5"
        ranges = [one for one in line.asked() if "bundles" in one and "bytes=" in one]
        assert ranges, "the rest alone was asked for"


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.part")) if folder.is_dir() else 0
