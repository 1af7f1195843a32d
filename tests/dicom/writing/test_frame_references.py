"""Report and picture of a multi-frame object name the frame (0008,1160), and a validator that others wrote agrees."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from answers import answered, errors, needs_validator, refused
from cine import loop, write_loop
from pydicom.dataset import Dataset

from edgedx.core.result import FrameResult, Prediction, Result, Unlikeness
from edgedx.core.stats.frames import rule_in_words
from edgedx.dicom.writing.capture_picture import draw_capture
from edgedx.dicom.writing.capture_sc import build_capture
from edgedx.dicom.writing.report_sr import build_report
from edgedx.dicom.writing.source_header import read_source

CANVAS = np.tile(np.linspace(0, 255, 64, dtype=np.uint8), (64, 1))


def findings() -> Result:
    """Two findings in two frames of three; one of the frames is unlike the training images."""
    frames = [
        FrameResult(
            frame=number,
            label="pneumonia",
            probabilities={"pneumonia": 0.9, "pneumothorax": 0.7},
            unlikeness=Unlikeness(out_of_distribution=number == 1, energy=1.0, energy_limit=2.0, pass_rate=0.99),
        )
        for number in (1, 2, 3)
    ]
    said = Prediction(
        label="pneumonia|pneumothorax",
        probabilities={"pneumonia": 0.9, "pneumothorax": 0.7},
        operating_point="youden",
        threshold={"pneumonia": 0.5, "pneumothorax": 0.5},
    )
    return answered(
        prediction=said,
        prediction_set=None,
        frame=2,
        frames=frames,
        frame_rule=rule_in_words("multilabel", None, 2, 3),
        frame_by_finding={"pneumonia": 2, "pneumothorax": 3},
    )


def _read(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def _walk(item: Dataset) -> list[Dataset]:
    return [item, *(one for child in item.get("ContentSequence", []) for one in _walk(child))]


def _frames_of_groups(report: Dataset) -> dict[str, Any]:
    """By the meaning of the finding: the number that the source of its figures names."""
    found = {}
    for group in _walk(report):
        codes = [
            child.ConceptCodeSequence[0].CodeMeaning
            for child in group.get("ContentSequence", [])
            if child.ValueType == "CODE" and child.ConceptNameCodeSequence[0].CodeMeaning == "Finding"
        ]
        images = [child for child in group.get("ContentSequence", []) if child.ValueType == "IMAGE"]
        if codes:
            found[codes[0]] = images[0].ReferencedSOPSequence[0].get("ReferencedFrameNumber")
    return found


@pytest.fixture(params=["US", "MG", "XA"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Dataset:
    path = write_loop(tmp_path / "a.dcm", loop(False, True, True), modality=request.param)
    return read_source(path.read_bytes())


def test_each_finding_of_the_report_names_its_frame(source: Dataset) -> None:
    report = _read(build_report(findings(), source))
    assert _frames_of_groups(report) == {"Pneumonia": 2, "Pneumothorax": 3}
    texts = [str(one.TextValue) for one in _walk(report) if one.get("ValueType") == "TEXT"]
    assert findings().frame_rule in texts
    assert "Frames unlike the images that the model was trained on: 1 of 3." in texts


def test_the_picture_names_its_frame_and_says_it_in_its_text(source: Dataset) -> None:
    picture = draw_capture(findings(), CANVAS)
    made = _read(build_capture(findings(), source, picture))
    assert made.SourceImageSequence[0].ReferencedFrameNumber == 2
    whole = findings().model_copy(update={"frame": None, "frames": None})
    assert picture.shape[0] > draw_capture(whole, CANVAS).shape[0], "a line more"


def test_of_a_single_image_no_frame_is_named(source: Dataset) -> None:
    report = _read(build_report(answered(), source))
    assert set(_frames_of_groups(report).values()) == {None}
    made = _read(build_capture(answered(), source, draw_capture(answered(), CANVAS)))
    assert "ReferencedFrameNumber" not in made.SourceImageSequence[0]


def test_the_report_of_a_refusal_names_the_frame_that_it_is_of(source: Dataset) -> None:
    report = _read(build_report(refused().model_copy(update={"frame": 3}), source))
    numbers = [one.ReferencedSOPSequence[0].ReferencedFrameNumber for one in _walk(report) if one.ValueType == "IMAGE"]
    assert numbers == [3]


@needs_validator
@pytest.mark.parametrize("result", [findings(), refused().model_copy(update={"frame": 3})], ids=["done", "refused"])
def test_the_validator_has_nothing_against_them(source: Dataset, result: Result, tmp_path: Path) -> None:
    assert errors(build_report(result, source), tmp_path) == []
    if result.prediction is not None:
        assert errors(build_capture(result, source, draw_capture(result, CANVAS)), tmp_path) == []
