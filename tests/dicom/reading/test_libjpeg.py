"""JPEG Lossless and 12-bit JPEG where a user has installed the decoder under GPL-3, which edgedx does not require."""

from __future__ import annotations

from pathlib import Path

import pytest
from outcomes import packages
from samples import packaged

from edgedx.core.codes import Code
from edgedx.core.errors import ImageError
from edgedx.dicom.reading import pixels
from edgedx.dicom.reading.read import read_dicom


@pytest.fixture(autouse=True)
def the_decoder_is_here(no_decoder_that_is_not_ours: None, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("libjpeg", reason="pylibjpeg-libjpeg (GPL-3) is not installed, as on most devices")
    monkeypatch.setattr(pixels, "_LIBJPEG", ("edgedx-libjpeg", "pylibjpeg-libjpeg"))


def test_colour_is_read() -> None:
    found = read_dicom(packaged("SC_rgb_jpeg_gdcm.dcm"))
    bars = {5: (255, 0, 0), 25: (0, 255, 0), 45: (0, 0, 255), 65: (0, 0, 0), 95: (255, 255, 255)}
    assert {row: tuple(map(int, found.image.pixels[row, 50])) for row in bars} == bars
    assert found.decoder.startswith("pylibjpeg-libjpeg ")


def test_grey_values_are_those_of_pydicoms_own_tests() -> None:
    folder = packages().get("pydicom-data", Path())
    path = folder / "JPGLosslessP14SV1_1s_1f_8b.dcm"
    if not path.is_file():
        pytest.skip("the package pydicom-data is not installed")
    values = read_dicom(path).image.pixels
    assert values[300, 512:520].tolist() == [26, 26, 25, 22, 19, 16, 14, 15]
    assert values[600, 512:520].tolist() == [45, 43, 41, 38, 33, 30, 26, 21]


def test_12_bits_are_read_and_damage_is_refused() -> None:
    found = read_dicom(packaged("JPGExtended.dcm")).image
    assert found.value_range == (0, 4095) and found.pixels.shape == (1024, 256)
    with pytest.raises(ImageError) as caught:
        read_dicom(packaged("JPEG-lossy.dcm"))
    assert caught.value.code == Code.DECODE_FAILED
