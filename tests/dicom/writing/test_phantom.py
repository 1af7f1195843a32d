"""The phantom: valid DICOM, reproducible, and neither trivial nor impossible to classify."""

from __future__ import annotations

import csv
import warnings
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from edgedx.core.preprocess import PreprocessSpec, canvas
from edgedx.dicom.reading.open import open_image
from edgedx.dicom.reading.read import read_dicom
from edgedx.dicom.writing.make import PatientFacts, write_dicom
from edgedx.dicom.writing.phantom import BOXES, COLUMNS, _expose, _grow, draw_phantom, write_phantoms

PATIENTS = 150
TYPE_1 = """
    SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID Modality SamplesPerPixel PhotometricInterpretation
    Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation PixelData
"""
TYPE_2 = """
    PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName StudyID
    AccessionNumber SeriesNumber Manufacturer InstanceNumber BodyPartExamined ViewPosition PatientOrientation Laterality
"""
TYPE_1_OF_DX = "PresentationIntentType PixelIntensityRelationship PresentationLUTShape RescaleType WindowCenter"
Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("phantoms"), PATIENTS, seed=5)


@pytest.fixture(scope="module")
def rows(labels: Path) -> Rows:
    with labels.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def pixels(labels: Path, rows: Rows) -> NDArray[np.float32]:
    """(images, 112, 112) as a network would see them, 0 to 1."""
    spec = PreprocessSpec(size=(112, 112), bits=8)
    found = [canvas(open_image(labels.parent / row["image"]).image, spec) for row in rows]
    return np.asarray(found, np.float32) / 255


def test_same_seed_same_bytes_and_another_seed_other_bytes(tmp_path: Path) -> None:
    def tree(name: str, patients: int, seed: int) -> dict[str, bytes]:
        folder = write_phantoms(tmp_path / name, patients, seed).parent
        return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    first = tree("a", 2, 1)
    assert first == tree("b", 2, 1)
    other = {name: data for name, data in tree("c", 2, 2).items() if name != BOXES}  # of healthy patients it is empty
    assert not set(first.values()) & set(other.values())
    larger = tree("d", 3, 1)
    assert all(larger[name] == data for name, data in first.items() if not name.endswith(".csv"))


def test_table_matches_the_folder_and_patients_keep_one_label(labels: Path, rows: Rows) -> None:
    assert tuple(rows[0]) == COLUMNS
    on_disk = {str(p.relative_to(labels.parent)) for p in labels.parent.rglob("*.dcm")}
    assert {row["image"] for row in rows} == on_disk and len(on_disk) == len(rows)
    by_patient: dict[str, Rows] = {}
    for row in rows:
        by_patient.setdefault(row["patient_id"], []).append(row)
    assert len(by_patient) == PATIENTS
    for images in by_patient.values():
        assert 2 <= len(images) <= 4
        assert len({(row["label"], row["sex"], row["age"]) for row in images}) == 1
    share = np.mean([images[0]["label"] == "opacity" for images in by_patient.values()])
    assert 0.3 < share < 0.6
    assert {row["view"] for row in rows} == {"PA", "AP"} and {row["sex"] for row in rows} == {"M", "F"}


def test_files_are_complete_cr_objects_marked_synthetic(labels: Path, rows: Rows) -> None:
    seen: dict[str, set[object]] = {"photometric": set(), "window": set(), "size": set(), "uid": set()}
    for row in rows:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ds = pydicom.dcmread(labels.parent / row["image"])
            assert all(ds[keyword].value not in (None, "") for keyword in TYPE_1.split())
            assert all(keyword in ds for keyword in TYPE_2.split())
        assert ds.file_meta.MediaStorageSOPClassUID == ds.SOPClassUID == pydicom.uid.ComputedRadiographyImageStorage
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID and ds.preamble == bytes(128)
        assert (ds.BitsAllocated, ds.BitsStored, ds.HighBit) == (16, 12, 11)
        assert ds.BurnedInAnnotation == "NO" and "SYNTHETIC" in ds.ImageComments
        assert str(ds.PatientName).startswith("PHANTOM^")
        assert (ds.PatientID, ds.PatientSex) == (row["patient_id"], row["sex"])
        assert ds.PatientAge == f"{int(row['age']):03d}Y"
        assert min(ds.Rows, ds.Columns) >= 200 and max(ds.Rows, ds.Columns) <= 420
        for key, value in (
            ("photometric", ds.PhotometricInterpretation),
            ("window", "WindowCenter" in ds),
            ("size", (ds.Rows, ds.Columns)),
            ("uid", ds.SOPInstanceUID),
        ):
            seen[key].add(value)
    assert seen["photometric"] == {"MONOCHROME1", "MONOCHROME2"} and seen["window"] == {True, False}
    assert len(seen["size"]) > 0.9 * len(rows) and len(seen["uid"]) == len(rows)


def test_polarity_is_undone_by_reading(pixels: NDArray[np.float32]) -> None:
    spine, lung = pixels[:, 40:70, 52:60].mean((1, 2)), pixels[:, 35:60, 25:38].mean((1, 2))
    assert (spine > lung).mean() > 0.97  # dense is bright in every file, whatever its photometric interpretation


def predicted(model: object, features: NDArray[np.floating], rows: Rows) -> float:
    """Area under the ROC curve, cross-validated by patient."""
    truth = np.asarray([row["label"] == "opacity" for row in rows])
    groups = [row["patient_id"] for row in rows]
    score = cross_val_predict(model, features, truth, groups=groups, cv=GroupKFold(5), method="predict_proba")[:, 1]
    return float(roc_auc_score(truth, score))


def test_brightness_alone_does_not_tell_the_classes_apart(pixels: NDArray[np.float32], rows: Rows) -> None:
    truth = [row["label"] == "opacity" for row in rows]
    area = roc_auc_score(truth, pixels.mean((1, 2)))
    assert max(area, 1 - area) < 0.65
    assert predicted(LogisticRegression(), pixels.mean((1, 2))[:, None], rows) < 0.65


def test_neither_does_what_the_table_says(rows: Rows) -> None:
    features = np.asarray([(int(r["age"]) / 90, r["sex"] == "F", r["view"] == "AP") for r in rows], float)
    assert predicted(LogisticRegression(), features, rows) < 0.65


def test_local_contrast_does(pixels: NDArray[np.float32], rows: Rows) -> None:
    band = [cv2.GaussianBlur(p, (0, 0), 3) - cv2.GaussianBlur(p, (0, 0), 10) for p in pixels]
    small = np.asarray([cv2.resize(b[12:84], (20, 16), interpolation=cv2.INTER_AREA).ravel() for b in band])
    area = predicted(RandomForestClassifier(200, random_state=0), small, rows)
    assert 0.75 < area < 0.99


def test_drawing_without_a_file() -> None:
    drawn = [draw_phantom(label, np.random.default_rng(3)) for label in ("normal", "opacity", "normal")]
    np.testing.assert_array_equal(drawn[0], drawn[2])
    assert drawn[0].dtype == np.uint16 and drawn[0].max() < 4096
    assert drawn[0].shape != drawn[1].shape or (drawn[0] != drawn[1]).any()


@pytest.mark.parametrize(("patients", "seed"), [(0, 1), (3, -1)])
def test_impossible_arguments_are_refused(tmp_path: Path, patients: int, seed: int) -> None:
    with pytest.raises(ValueError):
        write_phantoms(tmp_path, patients, seed)


# The writer underneath


@pytest.mark.parametrize(
    ("kind", "modality", "extra"),
    [
        ("CR", "CR", ""),
        ("DX", "DX", TYPE_1_OF_DX),
        ("SC", "OT", "ConversionType"),
    ],
)
def test_each_kind_is_written_with_its_own_attributes(tmp_path: Path, kind: str, modality: str, extra: str) -> None:
    grey = np.arange(120, dtype=np.uint8).reshape(10, 12)
    write_dicom(tmp_path / "a.dcm", grey, kind=kind, subject=PatientFacts("ID", "A^B", "M", 50))  # type: ignore[arg-type]
    ds = pydicom.dcmread(tmp_path / "a.dcm")
    assert ds.Modality == modality and all(ds[keyword].value not in (None, "") for keyword in extra.split())
    np.testing.assert_array_equal(read_dicom(tmp_path / "a.dcm").image.pixels, grey)


def test_odd_number_of_bytes_is_padded(tmp_path: Path) -> None:
    grey = np.arange(15, dtype=np.uint8).reshape(3, 5)
    write_dicom(tmp_path / "a.dcm", grey)
    assert len(pydicom.dcmread(tmp_path / "a.dcm").PixelData) == 16
    np.testing.assert_array_equal(read_dicom(tmp_path / "a.dcm").image.pixels, grey)


def test_uids_depend_on_the_content_alone(tmp_path: Path) -> None:
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4)
    one = write_dicom(tmp_path / "1.dcm", grey)
    assert write_dicom(tmp_path / "2.dcm", grey) == one
    assert (tmp_path / "1.dcm").read_bytes() == (tmp_path / "2.dcm").read_bytes()
    assert len({one, write_dicom(tmp_path / "3.dcm", grey.T), write_dicom(tmp_path / "4.dcm", grey, view="AP")}) == 3


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (np.zeros((4, 4), np.int16), {}),
        (np.zeros((4, 4, 3), np.uint8), {"kind": "CR"}),
        (np.zeros((0, 4), np.uint8), {}),
        (np.full((4, 4), 4096, np.uint16), {"bits_stored": 12}),
        (np.zeros((4, 4), np.uint8), {"photometric": "YBR_FULL"}),
        (np.zeros((4, 4), np.uint8), {"photometric": "RGB"}),
    ],
)
def test_what_does_not_fit_the_object_is_refused(
    tmp_path: Path, pixels: NDArray[np.generic], options: dict[str, object]
) -> None:
    with pytest.raises(ValueError):
        write_dicom(tmp_path / "a.dcm", pixels, **options)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_boxes_hold_the_opacities_and_only_images_with_one_have_boxes(labels: Path, rows: Rows) -> None:
    with (labels.parent / BOXES).open(newline="") as stream:
        boxed = {row["image"] for row in csv.DictReader(stream)}
    assert boxed == {row["image"] for row in rows if row["label"] == "opacity"}
    for seed in range(6):
        body = _grow("opacity", np.random.default_rng(seed))
        without = replace(body, soft=body.soft[: -len(body.opacities)], opacities=())
        pixels, boxes = _expose(body, "PA", np.random.default_rng(seed))
        bare, none = _expose(without, "PA", np.random.default_rng(seed))  # the same pose, texture and noise
        assert len(boxes) == len(body.opacities) and none == []
        inside = np.zeros(pixels.shape, bool)
        for left, top, width, height in boxes:
            inside[top : top + height, left : left + width] = True
        added = pixels.astype(float) - bare
        assert added[inside].sum() > 0.85 * added.sum() > 0 and inside.mean() < 0.35
