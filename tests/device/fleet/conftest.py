"""One repository and one device, made once and copied for each test."""

from __future__ import annotations

from pathlib import Path

import pytest
from fleets import FleetPlace


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return FleetPlace(tmp_path_factory.mktemp("fleet"), pytest.MonkeyPatch()).folder


@pytest.fixture(scope="session")
def joined(tmp_path_factory: pytest.TempPathFactory, empty: Path) -> Path:
    """A device with version 1, of a repository that has version 2."""
    place = FleetPlace(tmp_path_factory.mktemp("joined"), pytest.MonkeyPatch(), empty)
    place.join()
    place.publish("1")
    place.install()
    place.publish("2")
    return place.folder


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty: Path) -> FleetPlace:
    return FleetPlace(tmp_path, monkeypatch, empty)


@pytest.fixture
def member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, joined: Path) -> FleetPlace:
    return FleetPlace(tmp_path, monkeypatch, joined)


@pytest.fixture(autouse=True)
def no_syncs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here pulls the plug: the syncs, hundreds in each test, would take most of the time."""
    monkeypatch.setattr("os.fsync", lambda handle: None)
