"""DICOM report and picture of a result: valid by a validator that others wrote, faithful, and always the same."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path

import numpy as np
import pydicom
import pytest
from answers import BUNDLE, answered, errors, needs_validator, refused
from outcomes import TABLE, packages
from pydicom.dataset import Dataset
from samples import edited, packaged

from edgedx.core.result import Prediction
from edgedx.dicom.writing.capture_picture import draw_capture
from edgedx.dicom.writing.capture_sc import build_capture
from edgedx.dicom.writing.make import PatientFacts, write_dicom
from edgedx.dicom.writing.report_sr import build_report
from edgedx.dicom.writing.source_header import UnfitSource, read_source

CANVAS = np.tile(np.linspace(0, 255, 224, dtype=np.uint8), (224, 1))
PICTURE = draw_capture(answered(), CANVAS)


def _parsed(data: bytes) -> Dataset:
    assert data[:132] == bytes(128) + b"DICM", "a preamble could be another kind of file"
    return pydicom.dcmread(io.BytesIO(data))


def _text(item: Dataset) -> list[str]:
    """Every value of an SR's content tree, as words."""
    words = [str(item.get("TextValue") or "")]
    for sequence in ("ConceptNameCodeSequence", "ConceptCodeSequence"):
        codes = item.get(sequence, [])
        words += [f"{code.CodeValue} {code.CodingSchemeDesignator} {code.CodeMeaning}" for code in codes]
    words += [str(value.NumericValue) for value in item.get("MeasuredValueSequence", [])]
    return [*words, *(word for child in item.get("ContentSequence", []) for word in _text(child))]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    subject = PatientFacts(patient_id="42", name="MÜLLER^ÄNNE", sex="F")
    write_dicom(tmp_path / "chest.dcm", np.arange(4096, dtype=np.uint16).reshape(64, 64), subject=subject)
    return tmp_path / "chest.dcm"


def test_the_report_says_what_the_result_says(source: Path) -> None:
    header, report = pydicom.dcmread(source), _parsed(build_report(answered(), read_source(source.read_bytes())))
    assert report.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.34"
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert (report.PatientID, report.PatientName, report.PatientSex) == ("42", "MÜLLER^ÄNNE", "F")
    assert report.StudyInstanceUID == header.StudyInstanceUID
    assert report.SeriesInstanceUID != header.SeriesInstanceUID
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert evidence.ReferencedSOPInstanceUID == header.SOPInstanceUID
    words = _text(report)
    for expected in (
        "233604007 SCT Pneumonia", "17621005 SCT Normal", "122157 DCM Probability", "122411 DCM Threshold Value",
        "52101004 SCT Present", "272519000 SCT Absent", "0.87", "0.13", "0.62", "chest", "1.2",
        "operating point youden", f"bundle sha256 {BUNDLE}", "variant int8-u8s8", "In 9 of 10 cases.",
        "AI - not for diagnosis. Research software, not a medical device. Not for diagnosis.",
        "The image is unlike those that the model was trained on.",
    ):  # fmt: skip
        assert expected in words, expected


def test_the_report_of_a_refusal_gives_the_reason_and_no_figure(source: Path) -> None:
    header = read_source(source.read_bytes())
    report = _parsed(build_report(refused(), header))
    words = _text(report)
    assert "MODALITY 99EDGEDX Not assessed: MODALITY" in words
    assert not any("Probability" in word or "Present" in word for word in words)
    assert report.SOPInstanceUID != _parsed(build_report(answered(), header)).SOPInstanceUID


def test_a_class_without_a_standard_code_gets_a_private_one_that_fits(source: Path) -> None:
    probabilities = {"a very long class name of the bundle": 0.9, "a very long class name of the other": 0.1}
    said = Prediction(label="nothing", probabilities=probabilities, operating_point="argmax", threshold={})
    report = _parsed(build_report(answered(prediction=said), read_source(source.read_bytes())))
    codes = {word.split()[0] for word in _text(report) if "99EDGEDX a very long" in word}
    assert len(codes) == 2 and all(len(code) <= 16 for code in codes)


def test_the_picture_is_colour_in_the_same_study_and_names_its_source(source: Path) -> None:
    header = pydicom.dcmread(source)
    capture = _parsed(build_capture(answered(), read_source(source.read_bytes()), PICTURE))
    assert capture.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7" and capture.PhotometricInterpretation == "RGB"
    assert np.array_equal(capture.pixel_array, PICTURE)
    assert capture.StudyInstanceUID == header.StudyInstanceUID and capture.PatientName == "MÜLLER^ÄNNE"
    assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == header.SOPInstanceUID
    assert "not for diagnosis" in capture.DerivationDescription and "not for diagnosis" in capture.SeriesDescription
    assert capture.BurnedInAnnotation == "NO"
    unknown = read_source(edited(source, BurnedInAnnotation=None))
    assert "BurnedInAnnotation" not in _parsed(build_capture(answered(), unknown, PICTURE)), "nobody knows"


def test_the_same_result_gives_the_same_bytes_and_uids(source: Path) -> None:
    header = read_source(source.read_bytes())
    assert build_report(answered(), header) == build_report(answered(), header)
    assert build_capture(answered(), header, PICTURE) == build_capture(answered(), header, PICTURE)
    other = _parsed(build_report(answered("d" * 64), header))
    first = _parsed(build_report(answered(), header))
    assert other.SOPInstanceUID != first.SOPInstanceUID and other.SeriesInstanceUID == first.SeriesInstanceUID
    assert first.SOPInstanceUID.startswith("2.25.") and len(first.SOPInstanceUID) <= 44


def test_the_picture_shows_the_image_the_answer_and_the_map() -> None:
    height, width = PICTURE.shape[:2]
    assert width == 640 and PICTURE.dtype == np.uint8 and height > 640
    view = PICTURE[44 : 44 + 640]
    assert np.array_equal(view[..., 0], view[..., 2]), "a grey image stays grey"
    assert view[320, 600, 0] > 200 and view[320, 40, 0] < 40, "the image as the model saw it, not turned"
    evidence = np.zeros((7, 7), np.float32)
    evidence[6, 0] = 1.0
    shown = draw_capture(answered(), CANVAS, evidence, "pneumonia")[44 : 44 + 640]
    assert np.ptp(shown[600, 20]) > 30, "colour where the map is"
    assert np.array_equal(shown[40, 600], view[40, 600]), "and none where it says nothing"
    tall = draw_capture(answered(), np.zeros((2000, 100), np.uint16))
    assert tall.shape[1] == 640 and tall.shape[0] < 1300


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"PatientID": None}, "NO_PATIENT_ID"),
        ({"PatientID": ""}, "NO_PATIENT_ID"),
        ({"Modality": None}, "NO_MODALITY"),
        ({"StudyInstanceUID": None}, "NO_UIDS"),
        ({"SeriesInstanceUID": ""}, "NO_UIDS"),
    ],
)
def test_a_header_that_cannot_carry_an_object_is_told_by_a_code(
    source: Path, changes: dict[str, object], code: str
) -> None:
    with pytest.raises(UnfitSource) as caught:
        read_source(edited(source, **changes))
    assert caught.value.code.name == code


def test_nothing_is_made_of_what_edgedx_made(source: Path) -> None:
    own = build_capture(answered(), read_source(source.read_bytes()), PICTURE)
    with pytest.raises(UnfitSource) as caught:
        read_source(own)
    assert caught.value.code.name == "OWN_OBJECT"


def test_a_broken_value_that_may_be_empty_is_left_empty(source: Path, tmp_path: Path) -> None:
    with pydicom.config.disable_value_validation():
        header = read_source(edited(source, PatientBirthDate="not a date", PatientSex="female", StudyTime="25h"))
    assert (header.PatientBirthDate, header.PatientSex, header.StudyTime) == (None, None, None)
    assert build_report(answered(), header) and build_capture(answered(), header, PICTURE)


@pytest.mark.parametrize("junk", [b"", b"DICM", bytes(128) + b"DICM" + bytes(range(256))])
def test_what_is_no_header_is_told_by_a_code(junk: bytes) -> None:
    with pytest.raises(UnfitSource):
        read_source(junk)


@needs_validator
@pytest.mark.parametrize("kind", ["CR", "DX"])
def test_a_validator_finds_no_error(tmp_path: Path, kind: str) -> None:
    write_dicom(tmp_path / "a.dcm", np.arange(4096, dtype=np.uint16).reshape(64, 64), kind=kind)  # type: ignore[arg-type]
    header = read_source((tmp_path / "a.dcm").read_bytes())
    for made in (
        build_report(answered(), header),
        build_report(refused(), header),
        build_capture(answered(), header, PICTURE),
    ):
        assert errors(made, tmp_path) == []


@needs_validator
def test_the_validator_would_find_one(source: Path, tmp_path: Path) -> None:
    made = _parsed(build_report(answered(), read_source(source.read_bytes())))
    del made.CompletionFlag
    stream = io.BytesIO()
    made.save_as(stream)
    assert errors(stream.getvalue(), tmp_path)


@needs_validator
@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "color-px.dcm"])
def test_a_validator_finds_no_error_on_others_files(name: str, tmp_path: Path) -> None:
    _validate(packaged(name), tmp_path)


@needs_validator
@pytest.mark.slow
def test_a_validator_finds_no_error_on_any_readable_file_of_pydicom(tmp_path: Path) -> None:
    with TABLE.open(encoding="utf-8", newline="") as stream:
        readable = [line for line in csv.DictReader(stream) if line["outcome"] == "read"]
    folders = packages()
    paths = {folders[line["package"]] / line["file"] for line in readable if line["package"] in folders}
    made = sum(_validate(path, tmp_path) for path in sorted(paths))
    assert len(paths) > 90 and made > 0.6 * len(paths), f"{made} of {len(paths)}"


@needs_validator
@pytest.mark.slow
def test_a_damaged_header_gives_a_code_or_valid_objects(tmp_path: Path) -> None:
    dice = random.Random(5)
    good = [packaged(name).read_bytes() for name in ("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm")]
    made = 0
    for _ in range(300):
        data = bytearray(dice.choice(good))
        for _ in range(dice.choice((1, 2, 5, 20))):
            data[dice.randrange(300, 2500)] = dice.choice((0, 0x20, 0x5C, 0xFF, dice.randrange(256)))
        (tmp_path / "damaged.dcm").write_bytes(data)
        made += _validate(tmp_path / "damaged.dcm", tmp_path)
    assert 50 < made < 250


def _validate(path: Path, folder: Path) -> bool:
    """Whether the file's header can carry objects; fails where one of them has an error."""
    try:
        header = read_source(path.read_bytes())
    except UnfitSource:
        return False
    for made in (build_report(answered(), header), build_capture(answered(), header, PICTURE)):
        assert errors(made, folder) == [], path.name
    return True
