"""How an image was taken, without a word of what somebody typed."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from samples import edited, saved

from edgedx.dicom.reading.read import read_dicom


def test_machine_exposure_and_window_are_told_and_no_free_text(ramp: Path) -> None:
    path = edited(
        ramp, Manufacturer="CANARY WORKS", ManufacturerModelName="DOE^JANE", Exposure="5", WindowCenter="500",
        WindowWidth="1000",
    )  # fmt: skip
    found = read_dicom(path)
    assert len(found.image.meta["Machine"]) == 16 and found.image.meta["ExposureMAs"] == "5"
    assert found.image.meta["WindowWidthUsed"] == "1000"
    assert "CANARY" not in repr(found) and "DOE" not in repr(found)
    other = read_dicom(edited(ramp, Manufacturer="Canary Works ", ManufacturerModelName="DOE^JANE"))
    assert other.image.meta["Machine"] == found.image.meta["Machine"]  # case and padding are no other machine
    assert read_dicom(edited(ramp, Manufacturer="another")).image.meta["Machine"] != found.image.meta["Machine"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fields", [{}, {"Exposure": ""}, {"Exposure": None}])
def test_what_is_absent_or_no_number_is_left_out(ramp: Path, fields: dict[str, str]) -> None:
    ds = pydicom.dcmread(ramp)
    for keyword in ("Manufacturer", "ManufacturerModelName", "Exposure"):
        if keyword in ds:
            delattr(ds, keyword)
    for keyword, value in fields.items():
        setattr(ds, keyword, value)
    assert not {"Machine", "ExposureMAs"} & set(read_dicom(saved(ds)).image.meta)


def test_microampere_seconds_come_first(ramp: Path) -> None:
    assert read_dicom(edited(ramp, Exposure="5", ExposureInuAs="4700")).image.meta["ExposureMAs"] == "4.7"
