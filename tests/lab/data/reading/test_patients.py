"""One person under several spellings is one patient, or the data set is refused; never several in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from pydicom.dataset import Dataset as Header
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from edgedx.core.errors import DataError, RecipeError
from edgedx.lab.data.dataset import build_dataset, load_dataset
from edgedx.lab.data.reading.patients import header_patient, one_spelling, patient_key, spellings
from edgedx.lab.data.sources import open_source

SAME = [
    ("0007", "7"),  # PyNIDM PR 84: leading zeros lost in one part of a table
    ("7", "7.0"),  # CLAM PR 90: pandas makes floats of a column with a gap
    ("7", "7,0"),  # the same with a decimal comma
    ("P007", "p7"),
    ("MRN 12", "mrn12"),
    ("A-01", "a-1"),
    ("7", "\N{FULLWIDTH DIGIT SEVEN}"),
    ("7", "7\N{NO-BREAK SPACE}"),
    ("7", "\N{ZERO WIDTH NO-BREAK SPACE}7"),  # a byte order mark in the middle of a joined table
    ("0", "000"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_spellings_of_one_patient_have_one_key(one: str, other: str) -> None:
    assert patient_key(one) == patient_key(other)


@pytest.mark.parametrize(("one", "other"), [("7", "70"), ("1.10", "1.1"), ("A1", "B1"), ("10", "1"), ("p1-2", "p12")])
def test_other_patients_have_other_keys(one: str, other: str) -> None:
    assert patient_key(one) != patient_key(other)


def test_images_without_a_patient_are_not_one_patient() -> None:
    assert one_spelling(["", "7", "07", ""]) == ["", "7", "7", ""]
    assert spellings(["", "", "7", "8"]) == []


def _mixed(folder: Path) -> list[tiny.Entry]:
    """Thirty people; those of even number also with a float's spelling."""
    entries = tiny.write_set(folder)
    for index, entry in enumerate(entries):
        number = int(entry["patient_id"][1:])
        entry["patient_id"] = f"{number}.0" if number % 2 == 0 and index % 2 else str(number)
    tiny.write_table(folder, entries)
    return entries


def test_they_are_refused_or_taken_for_others_where_the_recipe_says_so(tmp_path: Path) -> None:
    _mixed(tmp_path)
    with pytest.raises(
        DataError, match=r"30 patient identifiers differ only .* those of images/p000-0\.png, images/p000-1\.png"
    ) as caught:
        open_source(tiny.recipe(tmp_path, data={"patient_ids": "refuse"}))
    assert "data.patient_ids=merge" in str(caught.value.next_step)
    assert len({row.patient for row in open_source(tiny.recipe(tmp_path, data={"patient_ids": "distinct"})).rows}) == 45


def test_they_are_one_patient_who_is_not_divided_and_that_is_told(tmp_path: Path) -> None:
    _mixed(tmp_path)
    recipe = tiny.recipe(tmp_path)
    summary = build_dataset(recipe, tmp_path / "out")
    data = load_dataset(tmp_path / "out", "binary", recipe.preprocess)
    assert summary["patients"] == 30 and any("taken for 15 patients" in warning for warning in summary["warnings"])
    assert len({(Path(name).stem[:4], split) for name, split in zip(data.names, data.splits, strict=True)}) == 30


def test_a_name_in_the_path_gives_the_patient(tmp_path: Path) -> None:
    tiny.write_set(tmp_path)
    data = {"patient_column": None, "patient_from": "(p[0-9]+)-"}
    rows = open_source(tiny.recipe(tmp_path, data=data)).rows
    assert [row.patient for row in rows[:3]] == ["p000", "p000", "p001"]


@pytest.mark.parametrize("pattern", ["(", "p[0-9]+", "(p)([0-9])"])
def test_a_pattern_without_exactly_one_group_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(RecipeError, match="patient_from"):
        tiny.recipe(tmp_path, data={"patient_from": pattern})


def _dicom(path: Path, **elements: Any) -> None:
    header = Header()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = f"1.2.{abs(hash(path)) % 10**9}"
    header.update({})
    for name, value in elements.items():
        setattr(header, name, value)
    pixels = np.random.default_rng(len(str(path))).integers(0, 255, (40, 40)).astype(np.uint8)
    header.Rows, header.Columns, header.BitsAllocated, header.BitsStored, header.HighBit = 40, 40, 8, 8, 7
    header.PixelRepresentation, header.SamplesPerPixel, header.PhotometricInterpretation = 0, 1, "MONOCHROME2"
    header.PixelData = pixels.tobytes()
    header.save_as(path, enforce_file_format=True)


def test_the_header_gives_a_hash_and_never_the_identifier(tmp_path: Path) -> None:
    for name, patient in (("a", "0042"), ("b", "42"), ("c", "43"), ("d", "")):
        _dicom(tmp_path / name, PatientID=patient, PatientName="Doe^Jane")
    _dicom(tmp_path / "e", PatientID="42", IssuerOfPatientID="ELSEWHERE")
    found = {name: header_patient(tmp_path / name) for name in "abcde"}
    assert found["a"] == found["b"] != found["c"] and found["d"] == ""
    assert found["e"] not in (found["a"], found["c"], "")
    assert found["a"] != "42" and len(found["a"]) == 16
    (tmp_path / "f.png").write_bytes(b"no DICOM file")
    assert header_patient(tmp_path / "f.png") == ""
