"""Of an image only figures, bands and hashes are watched."""

from __future__ import annotations

import numpy as np
from answers import answered, refused

from edgedx.device.monitor.streams import observe

FACTS = {"Machine": "0123456789abcdef", "Rows": "2048", "Columns": "2500", "PatientAgeYears": "7.5", "PatientSex": "F",
         "ViewPosition": "PA", "ExposureMAs": "3.2", "WindowWidthUsed": "4096"}  # fmt: skip
POSITIVE = answered().prediction.label  # type: ignore[union-attr]
CANVAS = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)


def test_what_is_watched_of_an_answer() -> None:
    result = answered()
    assert result.prediction is not None
    positive = result.prediction.label
    one = observe(result, CANVAS, FACTS, task="binary", positive=positive, salt=b"s")
    assert one.key == result.key and one.called == (positive,) and one.refused is None
    assert one.numbers["exposure"] == 3.2 and one.numbers["window"] == 4096
    assert {"mean", "contrast", "clipped", "sharpness", f"probability:{positive}"} <= set(one.numbers)
    assert one.categories["age_band"] == "5-17" and one.categories["rows"] == "2048 x 2500"
    assert one.categories["view"] == "PA" and one.categories["sex"] == "F"
    assert one.mark is not None and len(one.mark) == 32


def test_a_threshold_that_the_site_chose_is_no_change_of_its_patients() -> None:
    given = answered().prediction
    assert given is not None
    local = given.model_copy(
        update={"label": "normal", "threshold": {"pneumonia": 0.95}, "operating_point": "local", "origin": "local"}
    )
    result = answered(prediction=local)
    one = observe(result, CANVAS, FACTS, task="binary", positive="pneumonia", salt=b"s", own={"pneumonia": 0.62})
    assert one.called == ("pneumonia",) and one.thresholds == {"pneumonia": 0.95}
    assert observe(result, CANVAS, FACTS, task="binary", positive="pneumonia", salt=b"s").called == ("normal",)


def test_the_machine_is_a_hash_that_another_folder_does_not_share() -> None:
    result = answered()
    hashes = {observe(result, CANVAS, FACTS, task="binary", positive=POSITIVE, salt=salt).categories["device"]
              for salt in (b"one", b"two")}  # fmt: skip
    assert len(hashes) == 2 and not any("0123456789" in one for one in hashes)


def test_what_a_hostile_header_says_is_bounded() -> None:
    facts = {**FACTS, "PatientAgeYears": "nan", "ExposureMAs": "inf", "ViewPosition": "X" * 500}
    one = observe(answered(), CANVAS, facts, task="binary", positive=POSITIVE, salt=b"s")
    assert one.categories["age_band"] == "-" and "exposure" not in one.numbers and len(one.categories["view"]) == 32


def test_of_what_was_not_read_the_reason_alone() -> None:
    one = observe(refused(), None, {}, task="binary", positive="x", salt=b"s")
    assert one.refused == refused().reason.code and not one.numbers and not one.categories and one.mark is None  # type: ignore[union-attr]
