"""What of the header is kept, and that nothing else ever shows."""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path

import pydicom
import pytest
from samples import RAMP, edited

from edgedx.core.errors import ImageError
from edgedx.dicom.make import Subject, write_dicom
from edgedx.dicom.read import read_dicom


def test_meta_holds_what_refusal_rules_need_and_no_identity(tmp_path: Path) -> None:
    subject = Subject("CANARY-ID", "CANARY^NAME", "F", 7)
    uid = write_dicom(tmp_path / "a.dcm", RAMP, bits_stored=12, subject=subject, view="PA")
    found = read_dicom(tmp_path / "a.dcm")
    assert found.image.meta == {
        "Modality": "CR",
        "BodyPartExamined": "CHEST",
        "ViewPosition": "PA",
        "PatientSex": "F",
        "PatientAgeYears": "7",
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": "64",
        "Columns": "64",
        "BitsStored": "12",
    }
    assert found.sop_instance_uid == uid
    assert "CANARY" not in repr(found)


@pytest.mark.parametrize(("text", "years"), [("045Y", "45"), ("006M", "0.5"), ("010D", "0.03"), ("026W", "0.5")])
def test_age_is_in_years_whatever_its_unit(ramp: Path, text: str, years: str) -> None:
    assert read_dicom(edited(ramp, PatientAge=text)).image.meta["PatientAgeYears"] == years


@pytest.mark.filterwarnings("ignore")
def test_free_text_in_code_fields_is_dropped(ramp: Path) -> None:
    meta = read_dicom(edited(ramp, BodyPartExamined="Thorax of Mr. Smith", ViewPosition="pa")).image.meta
    assert "BodyPartExamined" not in meta and meta["ViewPosition"] == "PA"


def test_nothing_of_the_header_is_logged_warned_or_quoted(
    ramp: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder, capfd: pytest.CaptureFixture[str]
) -> None:
    data = edited(ramp, PatientName="CANARY^NAME", PatientID="CANARYID", PatientAge="044Y", RescaleIntercept="77777777")
    data = data.replace(b"77777777", b"CANARY77").replace(b"044Y", b"CANA")
    with caplog.at_level(logging.DEBUG), pytest.raises(ImageError) as caught:
        read_dicom(data)
    assert caught.value.code == "BROKEN_HEADER"
    said = [
        caught.value.message,
        str(caught.value.next_step),
        caplog.text,
        *(str(w.message) for w in recwarn),
        *capfd.readouterr(),
    ]
    assert not any("CANA" in text for text in said)


def test_pydicoms_own_warnings_about_values_are_silenced(
    ramp: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    uid = pydicom.dcmread(ramp).SOPInstanceUID.encode()
    data = ramp.read_bytes().replace(uid, uid[:-6] + b"CANARY")
    with caplog.at_level(logging.DEBUG):
        found = read_dicom(data)
    assert found.sop_instance_uid == "", "what is not a UID is free text"
    assert "CANARY" not in caplog.text and not any("CANARY" in str(w.message) for w in recwarn)
    with pytest.warns(UserWarning, match="CANARY"):  # the control: pydicom by itself does quote the value
        warnings.simplefilter("always")
        str(pydicom.dcmread(io.BytesIO(data)).SOPInstanceUID)
