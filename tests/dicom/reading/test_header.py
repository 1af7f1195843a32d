"""What of the header is kept, and that nothing else ever shows."""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from samples import RAMP, edited

from edgedx.core.errors import ImageError
from edgedx.dicom.reading.read import read_dicom
from edgedx.dicom.writing.make import PatientFacts, write_dicom


def test_meta_holds_what_refusal_rules_need_and_no_identity(tmp_path: Path) -> None:
    subject = PatientFacts("CANARY-ID", "CANARY^NAME", "F", 7)
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
        "Machine": found.image.meta["Machine"],  # a hash of manufacturer and model
    }
    assert found.sop_instance_uid == uid
    assert "CANARY" not in repr(found)


@pytest.mark.parametrize(("text", "years"), [("045Y", "45"), ("006M", "0.5"), ("010D", "0.03"), ("026W", "0.5")])
def test_age_is_in_years_whatever_its_unit(ramp: Path, text: str, years: str) -> None:
    assert read_dicom(edited(ramp, PatientAge=text)).image.meta["PatientAgeYears"] == years


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("born", "studied", "years"),
    [
        ("20150302", "20200301", "4"),
        ("20150302", "20200302", "5"),
        ("20160229", "20210228", "4"),
        ("20160229", "20210301", "5"),
        ("20200101", "20200101", "0"),
        ("11111111", "20200101", None),  # as de-identification leaves them
        ("20210101", "20200101", None),
        ("20151301", "20200101", None),
        ("1987", "20200101", None),
        ("", "20200101", None),
        ("20150302", "", None),
    ],
)
def test_without_an_age_birth_and_study_date_tell_completed_years(
    ramp: Path, born: str, studied: str, years: str | None
) -> None:
    found = read_dicom(edited(ramp, PatientBirthDate=born, StudyDate=studied))
    assert found.image.meta.get("PatientAgeYears") == years
    assert all(born not in value for value in found.image.meta.values() if born), "the date itself goes no further"
    both = read_dicom(edited(ramp, PatientBirthDate=born, StudyDate=studied, PatientAge="030Y"))
    assert both.image.meta["PatientAgeYears"] == "30"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("text", "years"),
    [
        *((text, "45") for text in ("45", "45Y", "045Y", "045y", " 045Y", "45 Y")),
        *(("6M", "0.5"), ("9", "9"), ("130Y", "130"), ("000Y", "0")),
        *((text, None) for text in ("0045Y", "45.5", "Y45", "forty", "-4Y", "131Y", "999", "45Y/46Y", "045YY")),
    ],
)
def test_an_age_without_unit_is_years_and_what_is_no_age_is_unreadable(
    ramp: Path, text: str, years: str | None
) -> None:
    """datalad/example-dicom-structural#2, MHubAI/models PR 18: ages of 42 and 45Y passed a gate for small children."""
    meta = read_dicom(edited(ramp, PatientAge=text)).image.meta
    assert meta.get("PatientAgeYears") == years
    assert meta.get("Unreadable") == (None if years else "age")


@pytest.mark.filterwarnings("ignore")
def test_dates_stand_in_for_an_age_that_cannot_be_read_and_impossible_ones_are_unreadable(ramp: Path) -> None:
    dates = {"PatientBirthDate": "20150302", "StudyDate": "20200301"}
    meta = read_dicom(edited(ramp, PatientAge="young", **dates)).image.meta
    assert meta["PatientAgeYears"] == "4" and "Unreadable" not in meta
    for born in ("11111111", "20210101", "1987", "18800101"):
        meta = read_dicom(edited(ramp, PatientBirthDate=born, StudyDate="20200101")).image.meta
        assert "PatientAgeYears" not in meta and meta["Unreadable"] == "age"
    assert "Unreadable" not in read_dicom(edited(ramp, PatientBirthDate="20150302", StudyDate="")).image.meta


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("elements", "names"),
    [
        ({"BodyPartExamined": ["ABDOMEN", "PELVIS"]}, "body_part"),
        ({"BodyPartExamined": ["CHEST", "CHEST"]}, "body_part"),
        ({"BodyPartExamined": "Thorax of Mr. Smith"}, "body_part"),
        ({"BodyPartExamined": "CHEST; ABDOMEN"}, "body_part"),
        ({"ViewPosition": ["PA", "LL"]}, "view"),
        ({"Modality": ["CR", "DX"]}, "modality"),
        ({"Laterality": "L/R"}, "laterality"),
        ({"Laterality": "L", "ImageLaterality": ["L", "R"]}, "laterality"),
        ({"ViewPosition": "p.a.", "BodyPartExamined": "?", "PatientAge": "?"}, "body_part,view,age"),
        ({"BodyPartExamined": None, "AnatomicRegionSequence": [Dataset()]}, "body_part"),
        ({"ViewCodeSequence": [Dataset()]}, "view"),
        ({"BodyPartExamined": "", "ViewPosition": "", "PatientAge": "", "Laterality": ""}, None),
        ({"BodyPartExamined": "chest ", "ViewPosition": "pa"}, None),
        ({"AnatomicRegionSequence": [Dataset()]}, None),  # the element itself says CHEST
    ],
)
def test_what_is_there_and_no_code_is_unreadable_and_not_absent(
    ramp: Path, elements: dict[str, object], names: str | None
) -> None:
    found = read_dicom(edited(ramp, **elements)).image.meta
    assert found.get("Unreadable") == names
    assert not any("Smith" in value for value in found.values())


def code(value: str, scheme: str = "SCT") -> list[Dataset]:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, "CANARY"
    return [item]


@pytest.mark.parametrize(
    ("value", "view"),
    [("272479007", "PA"), ("399348003", "AP"), ("R-10206", "AP"), ("399162004", "CC"), ("399067008", "OTHER")],
)
def test_a_coded_view_stands_in_for_an_absent_view_position(ramp: Path, value: str, view: str) -> None:
    assert read_dicom(edited(ramp, ViewCodeSequence=code(value))).image.meta["ViewPosition"] == view
    both = edited(ramp, ViewCodeSequence=code(value), ViewPosition="LL")
    assert read_dicom(both).image.meta["ViewPosition"] == "LL"
    assert "ViewPosition" not in read_dicom(edited(ramp, ViewCodeSequence=[])).image.meta


@pytest.mark.parametrize(("value", "part"), [("816094009", "CHEST"), ("T-D8700", "HAND"), ("80891009", "OTHER")])
def test_a_coded_region_stands_in_for_an_absent_body_part(ramp: Path, value: str, part: str) -> None:
    coded = edited(ramp, AnatomicRegionSequence=code(value), BodyPartExamined=None)
    assert read_dicom(coded).image.meta["BodyPartExamined"] == part
    both = edited(ramp, AnatomicRegionSequence=code("T-D8700"), BodyPartExamined="CHEST")
    assert read_dicom(both).image.meta["BodyPartExamined"] == "CHEST"


def test_the_side_of_the_image_comes_before_the_side_of_the_series(ramp: Path) -> None:
    assert "Laterality" not in read_dicom(ramp).image.meta
    assert read_dicom(edited(ramp, Laterality="R")).image.meta["Laterality"] == "R"
    assert read_dicom(edited(ramp, Laterality="R", ImageLaterality="L")).image.meta["Laterality"] == "L"


def test_raw_detector_values_are_known_by_their_class_too(tmp_path: Path) -> None:
    write_dicom(tmp_path / "dx.dcm", RAMP, bits_stored=12, kind="DX")
    assert read_dicom(tmp_path / "dx.dcm").image.meta["PresentationIntentType"] == "FOR PRESENTATION"
    raw = edited(tmp_path / "dx.dcm", SOPClassUID="1.2.840.10008.5.1.4.1.1.1.1.1", PresentationIntentType=None)
    assert read_dicom(raw).image.meta["PresentationIntentType"] == "FOR PROCESSING"


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
