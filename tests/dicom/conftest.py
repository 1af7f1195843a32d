"""A file that many tests of reading edit."""

from __future__ import annotations

from pathlib import Path

import pytest
from samples import RAMP

from edgedx.dicom.reading import pixels
from edgedx.dicom.writing.make import write_dicom


@pytest.fixture
def ramp(tmp_path: Path) -> Path:
    """A CR file whose pixel (row, column) is 64 * row + column, 12 bits, no window."""
    write_dicom(tmp_path / "ramp.dcm", RAMP, bits_stored=12)
    return tmp_path / "ramp.dcm"


@pytest.fixture(autouse=True)
def no_decoder_that_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a device where nobody has installed the decoder under GPL-3, whatever this machine has."""
    monkeypatch.setattr(pixels, "_LIBJPEG", ("absent", pixels._LIBJPEG[1]))
