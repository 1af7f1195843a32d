"""De-identification: nothing of who is on an image is left, the image itself is, and what is not sure is refused."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit

from edgedx.core.errors import ImageError
from edgedx.dicom.pseudonyms import Pseudonyms
from edgedx.dicom.reading.read import read_dicom
from edgedx.dicom.writing.make import PatientFacts, write_dicom

pytest.importorskip("dicomanonymizer", reason="dicom-anonymizer is not installed")

from edgedx.dicom.deidentify import deidentify

NAMES = Pseudonyms(b"k" * 32)
PIXELS = np.random.default_rng(3).integers(0, 4096, (32, 40), dtype=np.uint16)
# Keyword and value; every value is found again by `_left` if it survives anywhere in the file.
PLANTED = {
    "PatientName": "Zwetschge^Ottilie",
    "PatientID": "PID-77310045",
    "OtherPatientIDs": "OPID-55120983",
    "PatientBirthDate": "19440229",
    "PatientAge": "076Y",
    "PatientAddress": "Quittengasse 7",
    "PatientTelephoneNumbers": "0155-5550199",
    "PatientComments": "sister of Ludmilla",
    "AccessionNumber": "ACC90817263",
    "StudyID": "STU4471",
    "StudyDate": "20191224",
    "StudyTime": "183059.123",
    "StudyDescription": "knee of Frau Zwetschge",
    "SeriesDescription": "Mirabelle protocol",
    "ImageComments": "called at Mispelhof",
    "InstitutionName": "Spital Hagebutte",
    "InstitutionAddress": "Holunderweg 3",
    "ReferringPhysicianName": "Schlehdorn^Balthasar",
    "PerformingPhysicianName": "Wacholder^Kunigunde",
    "OperatorsName": "Berberitze^Adalbert",
    "StationName": "ROOM-ERDBEERE",
    "DeviceSerialNumber": "SN-660021",
    "AdmissionID": "ADM-120099",
    "RequestedProcedureDescription": "asked by Schlehdorn",
}
HIDDEN = ("PRIVATEPFLAUME", "OVERLAYQUITTE", "PREAMBLEBIRNE", "AETITLEHIMBEER", "NESTEDKIRSCHE", "DEEPJOHANNIS",
          "COMMENTBROMBEER", "UNKNOWNSTACHEL")  # fmt: skip


def _planted(path: Path, **changes: str) -> pydicom.FileDataset:
    write_dicom(path, PIXELS, kind="DX", bits_stored=12, subject=PatientFacts(name="X", patient_id="X"))
    dataset = pydicom.dcmread(path)
    for keyword, value in {**PLANTED, **changes}.items():
        setattr(dataset, keyword, value)
    dataset.private_block(0x0011, "PRIVATEPFLAUME", create=True).add_new(1, "LO", "PRIVATEPFLAUME")
    dataset.add_new(0x60000010, "US", 8)
    dataset.add_new(0x60003000, "OW", b"OVERLAYQUITTE ")
    dataset.add_new(0x60004000, "LT", "OVERLAYQUITTE")
    dataset.add_new(0x00081999, "LO", "UNKNOWNSTACHEL")
    dataset.ICCProfile = b"UNKNOWNSTACHEL"
    deep, nested = Dataset(), Dataset()
    deep.PatientName, deep.ReferencedSOPInstanceUID = "DEEPJOHANNIS", "1.2.3.4.5.6"
    deep.private_block(0x0013, "DEEPJOHANNIS", create=True).add_new(1, "LO", "DEEPJOHANNIS")
    nested.OperatorsName, nested.ScheduledProcedureStepDescription = "NESTEDKIRSCHE", "NESTEDKIRSCHE"
    nested.AnatomicRegionModifierSequence = Sequence([deep])
    dataset.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = Sequence([deep])
    dataset.RequestAttributesSequence = Sequence([nested])
    dataset.ViewCodeSequence = Sequence([nested])
    dataset.file_meta.SourceApplicationEntityTitle = "AETITLEHIMBEER"
    dataset.preamble = b"PREAMBLEBIRNE".ljust(128, b"\0")
    return dataset


def _bytes(dataset: pydicom.FileDataset) -> bytes:
    stream = BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


def _left(done: bytes) -> list[str]:
    """Planted words that are somewhere in the file, in any case."""
    words = [word for value in PLANTED.values() for word in value.replace("^", " ").split() if len(word) > 3]
    return [word for word in (*words, *HIDDEN) if word.lower().encode() in done.lower()]


def test_of_all_planted_identifiers_none_is_left(tmp_path: Path) -> None:
    dataset = _planted(tmp_path / "a.dcm")
    before = _bytes(dataset)
    assert len(_left(before)) >= 30
    done = deidentify(before, NAMES)
    assert _left(done) == []
    uids = [str(element.value) for element in dataset.iterall() if element.keyword.endswith("InstanceUID")]
    assert len(uids) >= 4 and not [uid for uid in uids if uid.encode() in done]


def test_the_image_and_what_a_model_asks_of_it_stay(tmp_path: Path) -> None:
    dataset = _planted(tmp_path / "a.dcm")
    before, after = read_dicom(_bytes(dataset)), read_dicom(deidentify(_bytes(dataset), NAMES))
    assert np.array_equal(before.image.pixels, after.image.pixels)
    assert (before.image.voi, before.image.value_range) == (after.image.voi, after.image.value_range)
    kept = ("Modality", "BodyPartExamined", "PresentationIntentType")
    assert {key: after.image.meta.get(key) for key in kept} == {key: before.image.meta.get(key) for key in kept}


def test_the_copy_says_that_and_how_it_was_deidentified(tmp_path: Path) -> None:
    done = pydicom.dcmread(BytesIO(deidentify(_bytes(_planted(tmp_path / "a.dcm")), NAMES)))
    assert done.PatientIdentityRemoved == "YES" and done.LongitudinalTemporalInformationModified == "REMOVED"
    assert [code.CodeValue for code in done.DeidentificationMethodCodeSequence] == ["113100"]
    assert "dicom-anonymizer" in str(done.DeidentificationMethod) and done.preamble == b"\0" * 128
    assert done.file_meta.MediaStorageSOPInstanceUID == done.SOPInstanceUID


def test_pseudonyms_hold_together_what_belongs_together_and_depend_on_the_key(tmp_path: Path) -> None:
    first = pydicom.dcmread(BytesIO(deidentify(_bytes(_planted(tmp_path / "a.dcm")), NAMES)))
    other = _planted(tmp_path / "b.dcm")
    other.SOPInstanceUID = "1.2.3"
    second = pydicom.dcmread(BytesIO(deidentify(_bytes(other), NAMES)))
    assert first.StudyInstanceUID == second.StudyInstanceUID and first.SOPInstanceUID != second.SOPInstanceUID
    assert first.PatientID == first.PatientName == second.PatientID and first.PatientID.startswith("P")
    third = pydicom.dcmread(BytesIO(deidentify(_bytes(_planted(tmp_path / "a.dcm")), Pseudonyms(b"l" * 32))))
    assert first.PatientID != third.PatientID and first.StudyInstanceUID != third.StudyInstanceUID
    assert deidentify(_bytes(other), NAMES) == deidentify(_bytes(other), NAMES)


@pytest.mark.parametrize("said", ["YES", "", "MAYBE"])
def test_what_may_have_names_in_its_pixels_needs_a_mask(tmp_path: Path, said: str) -> None:
    data = _bytes(_planted(tmp_path / "a.dcm", BurnedInAnnotation=said))
    with pytest.raises(ImageError) as caught:
        deidentify(data, NAMES)
    assert caught.value.code == "BURNED_IN"
    done = deidentify(data, NAMES, [(4, 2, 10, 5)])
    pixels = read_dicom(done).image.pixels
    assert (pixels[2:7, 4:14] == PIXELS.min()).all()
    outside = np.ones(PIXELS.shape, bool)
    outside[2:7, 4:14] = False
    assert np.array_equal(pixels[outside], PIXELS[outside])
    header = pydicom.dcmread(BytesIO(done))
    assert header.BurnedInAnnotation == "NO"
    assert [code.CodeValue for code in header.DeidentificationMethodCodeSequence] == ["113100", "113101"]


@pytest.mark.parametrize("mask", [(-1, 0, 5, 5), (0, 0, 0, 5), (36, 0, 5, 5), (0, 30, 5, 5)])
def test_a_mask_outside_of_the_image_is_refused(tmp_path: Path, mask: tuple[int, int, int, int]) -> None:
    with pytest.raises(ImageError) as caught:
        deidentify(_bytes(_planted(tmp_path / "a.dcm")), NAMES, [mask])
    assert caught.value.code == "MASK"


@pytest.mark.parametrize("keyword", ["Manufacturer", "BodyPartExamined", "SoftwareVersions"])
def test_a_name_where_no_rule_expects_one_is_refused_and_not_quoted(tmp_path: Path, keyword: str) -> None:
    with pytest.raises(ImageError) as caught:
        deidentify(_bytes(_planted(tmp_path / "a.dcm", **{keyword: "CHEST ZWETSCHGE"})), NAMES)
    assert caught.value.code == "IDENTIFIER_LEFT" and "wetschge" not in str(caught.value).lower()


def test_a_comment_within_compressed_pixels_is_gone(tmp_path: Path) -> None:
    import cv2
    from pydicom.encaps import encapsulate

    done, jpeg = cv2.imencode(".jpg", (PIXELS >> 4).astype(np.uint8))
    assert done
    comment = b"COMMENTBROMBEER"
    marker = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
    dataset = _planted(tmp_path / "a.dcm")
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PixelData = encapsulate([jpeg.tobytes()[:2] + marker + jpeg.tobytes()[2:]])
    data = _bytes(dataset)
    assert comment in data
    copy = deidentify(data, NAMES)
    assert _left(copy) == [] and np.array_equal(read_dicom(copy).image.pixels, read_dicom(data).image.pixels)


def test_without_the_package_it_is_named_and_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from edgedx.core.errors import DependencyMissing
    from edgedx.dicom import deidentify as module

    module._rules.cache_clear()
    monkeypatch.setitem(sys.modules, "dicomanonymizer", None)
    with pytest.raises(DependencyMissing, match="dicom-anonymizer") as caught:
        deidentify(b"", NAMES)
    assert "edgedx[deid]" in str(caught.value.next_step)
