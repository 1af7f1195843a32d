"""A device tells the model what the header says, says which columns it told, and never what was in them."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import SPEC, WarmDecoder, model, picture, png, predictor, write_tiny
from columned import COLUMNS, ROWS, WEIGHT, samples, with_columns
from places import Place

from edgedx.core.bundle.manifest import Bundle, Manifest, check_models
from edgedx.core.errors import BundleError, GateRefused
from edgedx.core.image import Image
from edgedx.core.preprocess import preprocess
from edgedx.core.settings.columns import encode_rows
from edgedx.core.stats.cases import calibrated_probabilities
from edgedx.device.clinic.gate import examine_samples
from edgedx.device.clinic.samples import Sample
from edgedx.device.runtime.golden import check_golden
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.dicom.writing.make import PatientFacts, write_dicom


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    network = with_columns()
    path = tmp_path_factory.mktemp("told") / "told.edgedx"
    return write_tiny(path, network=network, samples=samples(network, ROWS), columns=COLUMNS)


def dicom(path: Path, **subject: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_dicom(path, picture(1), subject=PatientFacts(**subject))
    return path


def expected(bundle: Bundle, **values: str) -> float:
    """Chance of bright for the picture of `dicom`, by hand."""
    with OnnxRunner(model(), threads=1) as runner:
        image = runner.infer(preprocess(Image.of_array(picture(1)), SPEC)[None]).logits
    logits = image + encode_rows(COLUMNS, [values]) @ WEIGHT
    return float(calibrated_probabilities(logits, "binary", bundle.manifest.temperature)[0, 1])


def test_a_scan_answers_with_what_the_header_says(tmp_path: Path, told: Bundle, decoder: WarmDecoder) -> None:
    place = Place(tmp_path, told, decoder)
    dicom(place.inbox / "both.dcm", age_years=70, sex="M")
    dicom(place.inbox / "old.dcm", age_years=90)
    dicom(place.inbox / "other.dcm", sex="O")
    png(place.inbox / "raster.png", 1)
    place.scan()
    found = place.results()
    assert {name: result["columns"] for name, result in found.items()} == {
        "both.dcm": {"used": ["age", "sex"], "absent": []},
        "old.dcm": {"used": ["age"], "absent": ["sex"]},
        "other.dcm": {"used": [], "absent": ["age", "sex"]},
        "raster.png": {"used": [], "absent": ["age", "sex"]},
    }
    probabilities = {name: result["prediction"]["probabilities"]["bright"] for name, result in found.items()}
    wanted = {
        "both.dcm": expected(told, age="70", sex="M"),
        "old.dcm": expected(told, age="90"),
        "other.dcm": expected(told),
        "raster.png": expected(told),
    }
    assert probabilities == pytest.approx(wanted, abs=1e-6)
    assert probabilities["old.dcm"] > probabilities["both.dcm"] + 0.05 > probabilities["other.dcm"] + 0.1


def test_no_value_of_a_column_is_in_a_result_or_in_the_log(
    tmp_path: Path, told: Bundle, decoder: WarmDecoder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    place = Place(tmp_path, told, decoder)
    dicom(place.inbox / "a.dcm", age_years=87, sex="F")
    place.scan()
    text = json.dumps({key: value for key, value in place.results()["a.dcm"].items() if key in ("columns", "runtime")})
    assert "87" not in json.dumps(place.results()["a.dcm"]["columns"]) and '"F"' not in text
    assert "087Y" not in caplog.text and "87 " not in caplog.text and "age" not in caplog.text


@pytest.mark.parametrize(
    "facts",
    [{"PatientAgeYears": "nan"}, {"PatientAgeYears": "1e999"}, {"PatientAgeYears": "x" * 100_000},
     {"PatientSex": "\x00"}, {"PatientAgeYears": 70}, {"PatientAgeYears": None}, {"PatientName": "Doe"}],
)  # fmt: skip
def test_a_hostile_header_is_absent(told: Bundle, facts: dict[str, Any]) -> None:
    asked = predictor(told)
    (answer,) = asked.predict_canvases(picture(1, size=16)[None], [facts])
    (absent,) = asked.predict_canvases(picture(1, size=16)[None])
    assert answer.told is not None and answer.told.used == [] and answer.told.absent == ["age", "sex"]
    assert np.array_equal(answer.logits, absent.logits)


def test_a_huge_age_moves_the_answer_no_further_than_the_oldest(told: Bundle) -> None:
    asked = predictor(told)
    canvases = np.stack([picture(1, size=16)] * 2)
    one, two = asked.predict_canvases(canvases, [{"PatientAgeYears": "90"}, {"PatientAgeYears": "999"}])
    assert np.array_equal(one.logits, two.logits)


def test_a_model_without_columns_is_asked_without_and_says_nothing_of_them(bundle: Bundle) -> None:
    (answer,) = predictor(bundle).predict_canvases(picture(1, size=16)[None], [{"PatientAgeYears": "70"}])
    assert answer.told is None
    with OnnxRunner(model()) as runner:
        batch = np.zeros((2, 1, 16, 16), np.float32)
        assert np.array_equal(runner.infer(batch, ROWS).logits, runner.infer(batch).logits)


def test_columns_of_another_length_are_an_error_in_words() -> None:
    with OnnxRunner(with_columns()) as runner, pytest.raises(BundleError, match="4 numbers beside each image"):
        runner.infer(np.zeros((2, 1, 16, 16), np.float32), np.zeros((2, 3), np.float32))


def test_golden_samples_prove_the_columns_too(tmp_path: Path, told: Bundle) -> None:
    check_models(told)
    with OnnxRunner(told.model()) as runner:
        assert check_golden(told, runner) <= 1e-6
    deaf = write_tiny(tmp_path / "deaf.edgedx", network=with_columns(WEIGHT * 0), columns=COLUMNS,
                      samples=samples(with_columns(), ROWS))  # fmt: skip
    with OnnxRunner(deaf.model()) as runner, pytest.raises(GateRefused):
        check_golden(deaf, runner)


@pytest.mark.parametrize("rows", [None, ROWS[:1], ROWS[:, :3]])
def test_golden_samples_without_their_columns_are_malformed(tmp_path: Path, rows: np.ndarray | None) -> None:
    with np.load(io.BytesIO(samples(with_columns(), ROWS))) as archive:
        arrays = {name: archive[name] for name in archive if name != "columns"}
    stream = io.BytesIO()
    np.savez(stream, **arrays, **({} if rows is None else {"columns": rows}))
    bundle = write_tiny(tmp_path / "a.edgedx", network=with_columns(), samples=stream.getvalue(), columns=COLUMNS)
    with OnnxRunner(bundle.model()) as runner, pytest.raises(BundleError, match="malformed"):
        check_golden(bundle, runner)


def test_a_bundle_from_before_there_were_columns_opens(bundle: Bundle) -> None:
    old = json.loads(bundle.raw_manifest)
    del old["columns"]
    assert Manifest.model_validate(old).columns == []


def test_a_manifest_with_a_column_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="twice"):
        write_tiny(tmp_path / "a.edgedx", columns=[COLUMNS[0], COLUMNS[0]])


def test_the_gate_of_a_device_is_told_what_the_scanner_is(tmp_path: Path, told: Bundle) -> None:
    files = [dicom(tmp_path / f"{index}.dcm", **subject) for index, subject in
             enumerate(({"age_years": 70, "sex": "M"}, {}))]  # fmt: skip
    found = examine_samples(told, [Sample(path, path.name, None, ("bright",)) for path in files])  # type: ignore[arg-type]
    assert found.columns is not None
    assert np.allclose(found.columns, encode_rows(COLUMNS, [{"age": "70", "sex": "M"}, {}]))
    assert found.logits[0, 1] > found.logits[1, 1]
