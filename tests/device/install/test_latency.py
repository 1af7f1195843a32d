"""Latency of what is installed, as `edgedx push` asks a device for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bundles import write_tiny

from edgedx.core.errors import BundleError, InputOutputError
from edgedx.device.install.install import install_bundle
from edgedx.device.install.latency import installed_latency


def test_an_installed_bundle_is_timed_by_a_process_of_its_own(tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny.edgedx")
    install_bundle(tmp_path / "tiny.edgedx", tmp_path / "root", allow_unsigned=True)
    command = [sys.executable, "-m", "edgedx.device.install.latency", str(tmp_path / "root/current")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    record = json.loads(done.stdout)
    assert record["name"] == "fp32"
    assert record["provider"] == "CPUExecutionProvider"
    assert record["repeats"] >= 50
    assert 0 < record["p50_ms"] <= record["p99_ms"]


def test_a_file_is_timed_too_and_a_variant_that_is_not_there_is_named(tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny.edgedx")
    assert installed_latency(tmp_path / "tiny.edgedx", seconds=0.01, threads=1).threads == 1
    with pytest.raises(BundleError, match="int8"):
        installed_latency(tmp_path / "tiny.edgedx", variant="int8")
    with pytest.raises(InputOutputError, match="no bundle at"):
        installed_latency(tmp_path / "none.edgedx")
