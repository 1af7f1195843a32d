"""The examination of a slot in a fresh process survives whatever the runtime does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bundles import MODEL, write_tiny

from edgedx.device.install.health import examine, examine_fresh
from edgedx.device.install.install import install_bundle


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_tiny(tmp_path / "a.edgedx")
    install_bundle(tmp_path / "a.edgedx", tmp_path / "device", allow_unsigned=True, examine=examine)
    return tmp_path / "device"


def _runtime(folder: Path, body: str) -> Path:
    """A package onnxruntime that is found before the real one, as a broken update would be."""
    (folder / "onnxruntime").mkdir(parents=True)
    (folder / "onnxruntime/__init__.py").write_text(body)
    return folder


def test_a_slot_that_works_is_healthy_in_both_ways(root: Path) -> None:
    here, fresh = examine(root), examine_fresh(root, "a")
    assert here.ok and fresh.ok and here == fresh and here.golden_difference is not None


def test_errors_of_ours_become_findings(root: Path) -> None:
    (root / "current" / MODEL).write_bytes(b"rotten")
    for health in (examine(root), examine_fresh(root)):
        assert not health.ok and MODEL in health.why
    assert "slot b" in examine(root, "b").why
    assert "nothing is installed" in examine(root.parent).why


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", "crashed: Segmentation fault"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n", "crashed: Illegal instruction"),
        ("import os\nos._exit(7)\n", "ended with 7"),
        ("raise ImportError('libonnxruntime.so: undefined symbol')\n", "undefined symbol"),
        ("import time\ntime.sleep(60)\n", "did not answer within 5 s"),
        ("print('{}')\nimport os\nos._exit(0)\n", "ended with 0"),
    ],
)
def test_a_runtime_that_breaks_takes_only_its_process_along(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, says: str
) -> None:
    package = str(Path(__file__).parents[3])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(_runtime(tmp_path / "broken", body)), package]))
    health = examine_fresh(root, timeout=5)
    assert not health.ok and says in health.why


def test_a_missing_interpreter_is_a_finding(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert "no process" in examine_fresh(root).why


def test_it_can_be_asked_from_a_shell(root: Path) -> None:
    command = [sys.executable, "-m", "edgedx.device.install.health", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["ok"] is True and done.stderr == ""
