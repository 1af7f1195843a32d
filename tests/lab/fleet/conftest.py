"""One repository and one device."""

from __future__ import annotations

from pathlib import Path

import pytest
from fleets import FleetPlace


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FleetPlace:
    monkeypatch.setattr("os.fsync", lambda handle: None)
    return FleetPlace(tmp_path, monkeypatch)
