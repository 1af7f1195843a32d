"""What the model was not made for: every rule by itself, and real radiographs against the one of saturation."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
from bundles import WarmDecoder, picture, write_tiny
from places import CANARY, Place
from pydantic import ValidationError

from edgedx.core.bundle.container import pack
from edgedx.core.bundle.manifest import open_bundle
from edgedx.core.codes import Code
from edgedx.core.files import canonical_json
from edgedx.core.image import Image, VoiWindow
from edgedx.core.preprocess import PreprocessSpec, saturated_share
from edgedx.core.settings.accept import Accept
from edgedx.core.settings.recipe import load_recipe
from edgedx.device.decode.accept import acceptable, facts_of, header_checks
from edgedx.dicom.reading.open import open_image
from edgedx.dicom.writing.make import PatientFacts, write_dicom

ACCEPT = Accept(
    modality=["CR", "DX"],
    body_part=["CHEST"],
    view=["AP", "PA"],
    laterality=["L", "U"],
    age_years=(1, 5),
    min_side=64,
    max_saturated=0.5,
)
GOOD = {"Modality": "CR", "BodyPartExamined": "CHEST", "ViewPosition": "PA", "Laterality": "U", "PatientAgeYears": "3"}


def code_of(accept: Accept, facts: dict[str, str], height: int = 64, width: int = 64) -> str | None:
    reason = acceptable(accept, facts, height, width)
    return None if reason is None else reason.code


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("Modality", "MR", "MODALITY"),
        ("BodyPartExamined", "HAND", "BODY_PART"),
        ("ViewPosition", "LL", "VIEW"),
        ("ViewPosition", "OTHER", "VIEW"),
        ("Laterality", "R", "LATERALITY"),
        ("PatientAgeYears", "0.99", "AGE"),
        ("PatientAgeYears", "6", "AGE"),
        ("PresentationIntentType", "FOR PROCESSING", "FOR_PROCESSING"),
        ("SaturatedShare", "0.5001", "SATURATED"),
    ],
)
def test_what_the_model_was_not_made_for_has_a_code(field: str, value: str, code: str) -> None:
    assert code_of(ACCEPT, {**GOOD, field: value}) == code
    assert Code(code).outcome == "refused"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Modality", "DX"),
        ("ViewPosition", "AP"),
        ("Laterality", "L"),
        ("PatientAgeYears", "1"),
        ("PatientAgeYears", "5"),
        ("PatientAgeYears", "5.99"),  # the sixth birthday is still to come
        ("PresentationIntentType", "FOR PRESENTATION"),
        ("SaturatedShare", "0.5"),
    ],
)
def test_what_the_model_was_made_for_passes(field: str, value: str) -> None:
    assert code_of(ACCEPT, {**GOOD, field: value}) is None


@pytest.mark.parametrize(("height", "width", "code"), [(500, 64, None), (63, 500, "TOO_SMALL"), (500, 63, "TOO_SMALL")])
def test_both_sides_must_be_long_enough(height: int, width: int, code: str | None) -> None:
    assert code_of(ACCEPT, GOOD, height, width) == code


@pytest.mark.parametrize(
    ("name", "field", "code"),
    [
        ("modality", "Modality", "MODALITY"),
        ("body_part", "BodyPartExamined", "BODY_PART"),
        ("view", "ViewPosition", "VIEW"),
        ("laterality", "Laterality", "LATERALITY"),
        ("age", "PatientAgeYears", "AGE"),
    ],
)
def test_an_absent_value_passes_unless_the_recipe_requires_it(name: str, field: str, code: str) -> None:
    absent = {key: value for key, value in GOOD.items() if key != field}
    assert code_of(ACCEPT, absent) is None
    assert code_of(ACCEPT.model_copy(update={"required": [name]}), absent) == code
    assert code_of(ACCEPT.model_copy(update={"required": [name]}), GOOD) is None
    assert code_of(Accept(required=[name]), {}) == code, "a raster file has no header"  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("name", "field", "code"),
    [
        ("modality", "Modality", "MODALITY"),
        ("body_part", "BodyPartExamined", "BODY_PART"),
        ("view", "ViewPosition", "VIEW"),
        ("laterality", "Laterality", "LATERALITY"),
        ("age", "PatientAgeYears", "AGE"),
    ],
)
def test_an_unreadable_value_is_refused_by_its_rule_and_passes_without_one(name: str, field: str, code: str) -> None:
    """MHubAI/models PR 18: what nobody understood counted as absent, and passed."""
    facts = {key: value for key, value in GOOD.items() if key != field} | {"Unreadable": name}
    assert code_of(ACCEPT, facts) == code
    assert code_of(Accept(), facts) is None
    assert code_of(Accept(required=[name]), facts) == code  # type: ignore[list-item]
    checks = header_checks(Accept(), facts)
    assert checks is not None and checks.unreadable == [name] and checks.not_checked == []


def test_the_result_lists_the_rules_that_nobody_could_check() -> None:
    assert header_checks(ACCEPT, GOOD) is None
    absent = header_checks(ACCEPT, {"Modality": "CR"})
    assert (
        absent is not None and absent.not_checked == ["body_part", "view", "laterality", "age"] and not absent.no_header
    )
    raster = header_checks(ACCEPT, {"Format": "png"})
    assert raster is not None and raster.no_header and len(raster.not_checked) == 5
    assert header_checks(Accept(), {"Format": "png"}) is None, "a model without rules has none that were not checked"
    window = header_checks(Accept(), {**GOOD, "WindowUnreadable": "WindowWidth is out of range"})
    assert window is not None and window.window == "WindowWidth is out of range"


def test_raster_files_are_refused_where_the_recipe_says_so() -> None:
    strict = Accept(raster="refuse")
    assert code_of(strict, {"Format": "png"}) == "RASTER" and code_of(Accept(), {"Format": "png"}) is None
    assert code_of(strict, GOOD) is None and "DICOM only" in strict.describe()


@pytest.mark.parametrize(("window", "code"), [("voi", "WINDOW"), ("minmax", None), ("none", None)])
def test_an_unreadable_window_is_refused_where_the_model_uses_it(tmp_path: Path, window: str, code: str | None) -> None:
    pixels = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    write_dicom(tmp_path / "a.dcm", pixels, bits_stored=12, window=(2000, 3000))
    ds = pydicom.dcmread(tmp_path / "a.dcm")
    spec = PreprocessSpec(size=(64, 64), window=window)  # type: ignore[arg-type]
    assert code_of(Accept(), facts_of(open_image(tmp_path / "a.dcm").image, spec)) is None
    ds.WindowWidth = "0"
    ds.save_as(tmp_path / "a.dcm")
    assert code_of(Accept(), facts_of(open_image(tmp_path / "a.dcm").image, spec)) == code


def test_a_bundle_that_names_nothing_accepts_all_but_raw_tiny_or_saturated_images() -> None:
    facts = {"Modality": "MR", "BodyPartExamined": "HAND", "PatientAgeYears": "99"}
    assert code_of(Accept(), facts, 16, 16) is None
    raw = {**facts, "PresentationIntentType": "FOR PROCESSING"}
    assert code_of(Accept(), raw) == "FOR_PROCESSING" and code_of(Accept(for_processing=True), raw) is None
    assert code_of(Accept(), {"SaturatedShare": "0.91"}) == "SATURATED"
    assert code_of(Accept(max_saturated=1), {"SaturatedShare": "1.0"}) is None


def test_a_message_repeats_nothing_of_the_patient() -> None:
    canaries = dict.fromkeys(("Modality", "BodyPartExamined", "ViewPosition", "Laterality"), "DOE^JANE")
    for field, value in (*canaries.items(), ("PatientAgeYears", "97")):
        reason = acceptable(ACCEPT, {**GOOD, field: value}, 64, 64)
        assert reason is not None and "DOE" not in reason.message and "97" not in reason.message
    known = acceptable(ACCEPT, {"Modality": "MR"}, 64, 64)
    assert known is not None and known.message.endswith("this is MR")
    age = acceptable(ACCEPT, {"PatientAgeYears": "97"}, 64, 64)
    assert age is not None and "1 to 5 years" in age.message


@pytest.mark.parametrize("text", ["", "nan", "inf", "-", "1e999", "DOE^JANE"])
def test_facts_that_are_no_numbers_do_not_stop_the_scanner(text: str) -> None:
    assert code_of(ACCEPT, {**GOOD, "SaturatedShare": text, "PatientAgeYears": text}) is None
    assert code_of(ACCEPT.model_copy(update={"required": ["age"]}), {**GOOD, "PatientAgeYears": text}) == "AGE"


def ramp(low: float, high: float) -> Image:
    pixels = np.linspace(0, 4095, 120 * 90).reshape(120, 90).astype(np.uint16)
    return Image(pixels, (0.0, 4095.0), VoiWindow((low + high) / 2, high - low, "LINEAR_EXACT"))


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "crop"])
@pytest.mark.parametrize("clahe", [0.0, 2.0])
def test_saturation_is_what_the_window_makes_black_or_white(resize: str, clahe: float) -> None:
    spec = PreprocessSpec(size=(32, 32), window="voi", resize=resize, clahe=clahe)  # type: ignore[arg-type]
    assert saturated_share(ramp(0, 4096), spec) < 0.001
    assert saturated_share(ramp(1024, 2048), spec) == pytest.approx(0.75, abs=0.001)
    assert saturated_share(ramp(5000, 6000), spec) == 1.0
    assert float(facts_of(ramp(5000, 6000), spec)["SaturatedShare"]) == 1.0


def test_a_colour_is_not_saturated_when_one_channel_is() -> None:
    spec = PreprocessSpec(size=(32, 32), colour="rgb", window="none", mean=(0.5,) * 3, std=(0.25,) * 3)
    red = np.zeros((40, 40, 3), np.uint8)
    red[..., 0] = 255
    assert saturated_share(Image.of_array(red), spec) == 0.0
    red[:10] = 0
    red[10:20] = 255
    assert saturated_share(Image.of_array(red), spec) == 0.5


def test_a_large_image_is_judged_on_a_grid_with_the_same_answer() -> None:
    pixels = np.random.default_rng(0).integers(1, 255, (2500, 1500), dtype=np.uint8)
    pixels[:1000] = 0
    spec = PreprocessSpec(window="none")
    assert saturated_share(Image.of_array(pixels), spec) == pytest.approx(0.4, abs=0.005)


def data_folder(name: str) -> Path:
    path = Path(os.environ.get("EDGEDX_DATA", "/nowhere"), name)
    if not path.exists():
        pytest.skip(f"EDGEDX_DATA has no {name}")
    return path


def test_no_real_radiograph_comes_near_the_limit_of_saturation() -> None:
    with np.load(data_folder("pneumoniamnist.npz")) as archive:
        images = np.concatenate([archive[f"{split}_images"] for split in ("train", "val", "test")])
    recipe = load_recipe("pneumonia-mnist")
    shares = [saturated_share(Image.of_array(image), recipe.preprocess) for image in images]
    assert len(shares) > 5000 and max(shares) < 0.6 * recipe.accept.max_saturated
    recipe = load_recipe("chest-xray3")
    files = sorted((data_folder("chest-xray3") / "images").rglob("*.jpg"))
    shares = [saturated_share(open_image(path).image, recipe.preprocess) for path in files]
    assert len(shares) > 800 and max(shares) < 0.6 * recipe.accept.max_saturated


def test_the_scanner_refuses_as_a_result_and_tells_nothing_of_the_patient(tmp_path: Path, decoder: WarmDecoder) -> None:
    accept = Accept(modality=["CR", "DX"], view=["PA"], age_years=(1, 5), max_saturated=0.5)
    place = Place(tmp_path, write_tiny(tmp_path / "tiny.edgedx", accept=accept), decoder)
    black = picture(4)
    black[:20] = 0
    for name, pixels, age, view in (
        ("good", picture(1), 3, "PA"),
        ("old", picture(2), 87, "PA"),
        ("lateral", picture(3), 3, "LL"),
        ("black", black, 3, "PA"),
    ):
        subject = PatientFacts(name=CANARY, age_years=age)
        write_dicom(place.inbox / f"{name}.dcm", pixels, subject=subject, view=view)
    assert place.scan()["refused"] == 3
    results = place.results()
    codes = {name: (found["reason"] or {}).get("code") for name, found in results.items()}
    assert codes == {"good.dcm": None, "old.dcm": "AGE", "lateral.dcm": "VIEW", "black.dcm": "SATURATED"}
    assert all(results[name]["source"]["decoder"] for name in codes), "a refused file was read"
    told = [path.read_text() for path in place.out.rglob("*") if path.suffix in {".json", ".csv"}]
    assert len(told) == 5
    assert not any("DOE" in text for text in told)
    assert results["old.dcm"]["reason"]["message"] == "the model is for patients of 1 to 5 years"
    assert (place.inbox / "old.dcm").exists(), "a refused file stays where it is"


def test_values_of_the_recipe_are_as_a_header_has_them() -> None:
    assert Accept(modality=["cr ", "DX"]).modality == ["CR", "DX"]
    for wrong in ({"modality": ["CR,DX"]}, {"view": [""]}, {"age_years": (5, 1)}, {"age_years": (-1, 3)}):
        with pytest.raises(ValidationError):
            Accept(**wrong)  # type: ignore[arg-type]


def test_a_bundle_from_before_there_were_more_fields_opens_with_their_defaults(tmp_path: Path) -> None:
    now = write_tiny(tmp_path / "now.edgedx")
    older = json.loads(now.raw_manifest)
    older["accept"] = {"modality": ["CR"], "body_part": ["CHEST"], "min_side": 32}
    parts = {name: now.read(name) for name in now.names()}
    (tmp_path / "older.edgedx").write_bytes(pack(canonical_json(older), parts, []))
    accept = open_bundle(tmp_path / "older.edgedx").manifest.accept
    assert accept == Accept(modality=["CR"], body_part=["CHEST"], min_side=32)


def test_what_is_accepted_is_told_in_words() -> None:
    told = ACCEPT.model_copy(update={"required": ["age"]}).describe()
    assert told == (
        "modality CR, DX; body part CHEST; view AP, PA; side L, U; age 1 to 5 years; only with age in the header"
    )
    assert Accept().describe() == "any modality"
