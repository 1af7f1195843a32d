"""An installation is killed at every step, and exactly one whole version is active after each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from bundles import write_tiny
from death import run_until_killed

from edgedx.device import install
from edgedx.device.install import install_bundle, open_any


def _proven(*_: object) -> float:
    """In place of the golden samples: a runtime with threads does not survive a fork."""
    return 0.0


def test_a_kill_at_any_step_leaves_one_whole_version_active(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_prove", _proven)
    old = write_tiny(tmp_path / "old.edgedx", version="1")
    new = write_tiny(tmp_path / "new.edgedx", version="2")

    def root(name: str) -> Path:
        install_bundle(old.path, tmp_path / name)
        return tmp_path / name

    whole = root("whole")
    killed, steps = run_until_killed(lambda: install_bundle(new.path, whole))
    assert not killed and steps > 20
    active = []
    for at in range(1, steps + 1):
        place = root(str(at))
        run_until_killed(lambda place=place: install_bundle(new.path, place), at)  # type: ignore[misc]
        active.append(open_any(place).digest)
        install_bundle(new.path, place)
        assert open_any(place).digest == new.digest
        assert open_any(place / "previous").digest == old.digest
        assert sorted(os.listdir(place / "versions")) == sorted((old.digest[:16], new.digest[:16]))
    switched = active.index(new.digest)
    assert active == [old.digest] * switched + [new.digest] * (len(active) - switched)


def test_a_damaged_version_is_repaired_through_any_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_prove", _proven)
    bundle = write_tiny(tmp_path / "a.edgedx")
    for at in range(1, 40):
        place = tmp_path / str(at)
        install_bundle(bundle.path, place)
        (place / "current/golden.npz").write_bytes(b"spoiled")
        run_until_killed(lambda place=place: install_bundle(bundle.path, place), at)  # type: ignore[misc]
        install_bundle(bundle.path, place)
        assert open_any(place).digest == bundle.digest
        assert os.listdir(place / "versions") == [bundle.digest[:16]]
