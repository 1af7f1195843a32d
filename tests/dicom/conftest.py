"""A file that many tests of reading edit."""

from __future__ import annotations

from pathlib import Path

import pytest
from samples import RAMP

from edgedx.dicom.writing.make import write_dicom


@pytest.fixture
def ramp(tmp_path: Path) -> Path:
    """A CR file whose pixel (row, column) is 64 * row + column, 12 bits, no window."""
    write_dicom(tmp_path / "ramp.dcm", RAMP, bits_stored=12)
    return tmp_path / "ramp.dcm"
