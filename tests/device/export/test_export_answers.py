"""Answers that leave the clinic: no name, no free text, no burned-in name; and figures from blind answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from bundles import dicom, make_key, png, write_tiny
from places import CANARY, Place

from edgedx.core.bundle.manifest import Bundle
from edgedx.core.errors import DataError, InputOutputError, UsageError
from edgedx.core.stats.binomial import wilson
from edgedx.device.clinic.agreement import agreement
from edgedx.device.clinic.answers import ANSWERS, Answers
from edgedx.device.clinic.answers_export import read_answers
from edgedx.device.export.export_answers import Asked, export_answers
from edgedx.device.operation.audit import verify
from edgedx.device.operation.audit_file import AUDIT


@pytest.fixture
def answered(place: Place) -> Place:
    """Three DICOM images of one patient and a PNG, each answered; one of them by two people."""
    for number in (1, 2, 3):
        dicom(place.inbox / f"{CANARY}-{number}.dcm", number, name=CANARY)
    png(place.inbox / "p.png", 9)
    assert place.scan()["done"] == 4
    for number, name in enumerate(sorted(place.results())):
        give(place, name, "dark" if number else "bright", f"2026-11-2{number}T10:00:00Z", note=f"{CANARY} is old")
    give(place, "p.png", "bright", "2026-11-24T10:00:00Z", person="joseph", blind=True)
    give(place, "p.png", "dark", "2026-11-25T10:00:00Z", person="joseph")
    return place


def give(
    place: Place, name: str, label: str | None, when: str, person: str = "amina", *, blind: bool = False, note: str = ""
) -> None:
    result = place.results()[name]
    answers = Answers(place.out / ANSWERS)
    answers.give(
        key=result["key"], sha256=result["source"]["sha256"], bundle=place.bundle.digest, person=person, label=label,
        shown=result["prediction"]["label"], blind=blind, note=note, when=when,
    )  # fmt: skip
    answers.close()


def test_what_leaves_names_nobody_and_holds_the_canvas(answered: Place, bundle: Bundle, tmp_path: Path) -> None:
    from edgedx.device.decode.decoder import Decoder

    key, to = make_key(tmp_path, "north"), tmp_path / "north.answers"
    asked = Asked("north", images=True, inbox=answered.inbox)
    written = export_answers(bundle, answered.out, to, asked, [key])
    assert written.counts["left_out_BURNED_IN"] == 1, "the PNG: nothing says that no name is in its pixels"
    found = read_answers(to, [key.public])
    assert len(found.answers) == 5 and len(found.images()) == 3
    whole = to.read_bytes().lower()
    for word in ("amina", "joseph", "is old", *CANARY.lower().split("^"), ".dcm", "t10:00"):
        assert word.encode() not in whole
    assert {one.person for one in found.answers} == {"p1", "p2"}
    patients = {one.patient for one in found.answers if one.image in found.images()}
    assert len(patients) == 1 and patients != {""}
    results = {one["source"]["sha256"]: name for name, one in answered.results().items()}
    decoder = Decoder(bundle.manifest.preprocess)
    for image in found.images():
        assert (found.canvas(image) == decoder.decode(answered.inbox / results[image], image).canvas).all()
    decoder.close()
    events = [json.loads(line) for line in (answered.out / AUDIT).read_text().splitlines()]
    assert (events[-1]["form"], events[-1]["answers"], events[-1]["images"]) == ("answers", 5, 3)
    assert verify(answered.out / AUDIT).intact


def test_a_blind_answer_that_was_changed_after_a_look_keeps_what_was_said_blind(
    answered: Place, bundle: Bundle, tmp_path: Path
) -> None:
    export_answers(bundle, answered.out, tmp_path / "x.answers", Asked("north"), [])
    rows = read_answers(tmp_path / "x.answers", [], unsigned=True).answers
    (changed,) = [one for one in rows if one.blind]
    assert (changed.label, changed.blind_label, changed.person) == ("dark", "bright", "p2")
    assert all(one.blind_label == "" for one in rows if not one.blind)


def test_days_checked_pixels_and_images_that_are_gone(answered: Place, bundle: Bundle, tmp_path: Path) -> None:
    to = tmp_path / "x.answers"
    written = export_answers(bundle, answered.out, to, Asked("n", since="2026-11-21", until="2026-11-22"), [])
    assert written.counts["answers"] == 2
    (answered.inbox / f"{CANARY}-1.dcm").unlink()
    dicom(answered.inbox / f"{CANARY}-2.dcm", 77)
    asked = Asked("n", images=True, pixels_checked=True, inbox=answered.inbox)
    written = export_answers(bundle, answered.out, to, asked, [])
    assert (written.counts["images"], written.counts["left_out_ABSENT"]) == (2, 2)


def test_answers_to_another_bundle_and_places_that_are_wrong(answered: Place, bundle: Bundle, tmp_path: Path) -> None:
    other = write_tiny(tmp_path / "other.edgedx", version="9")
    with pytest.raises(DataError, match="none of 5 answers"):
        export_answers(other, answered.out, tmp_path / "x.answers", Asked("n"), [])
    with pytest.raises(UsageError, match="lies inside"):
        export_answers(bundle, answered.out, answered.out / "x.answers", Asked("n"), [])
    with pytest.raises(InputOutputError, match="no folder"):
        export_answers(bundle, answered.out, tmp_path / "x.answers", Asked("n", images=True), [])
    with pytest.raises(InputOutputError, match="nobody has answered"):
        export_answers(bundle, tmp_path / "empty", tmp_path / "x.answers", Asked("n"), [])
    assert not (tmp_path / "x.answers").exists()


def test_of_several_findings_none_is_one_answer_however_it_is_written(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "several.edgedx", task="multilabel", positive=None)
    (tmp_path / "out").mkdir()
    answers = Answers(tmp_path / "out" / ANSWERS)
    for number, label in enumerate(("", "none", "bright|dark")):
        answers.give(key=f"{number}" * 64, sha256=f"{number}" * 64, bundle=bundle.digest, person="amina", label=label,
                     shown="none")  # fmt: skip
    answers.close()
    export_answers(bundle, tmp_path / "out", tmp_path / "x.answers", Asked("n"), [])
    rows = read_answers(tmp_path / "x.answers", [], unsigned=True).answers
    assert [(one.verdict, one.label, one.shown) for one in rows] == [
        ("agree", "", ""), ("agree", "", ""), ("disagree", "dark|bright", ""),
    ]  # fmt: skip


def test_figures_are_of_the_first_blind_answers_alone(place: Place) -> None:
    names = []
    for number in range(12):
        png(place.inbox / f"{number}.png", number, bright=bool(number % 2))
        names.append(f"{number}.png")
    place.scan()
    shown = [place.results()[name]["prediction"]["label"] for name in names]
    assert shown == ["dark", "bright"] * 6
    for number, name in enumerate(names):
        truth = "dark" if number in (1, 3) else shown[number]
        give(place, name, truth, "2026-11-20T10:00:00Z", blind=number < 8)
        give(place, name, shown[number], "2026-11-21T10:00:00Z")  # having seen it, they follow
    give(place, names[0], None, "2026-11-22T10:00:00Z", person="joseph")
    (found,) = agreement(place.out)
    assert (found.answers, found.images, found.people, found.blind) == (13, 12, 2, 8)
    assert found.blind_agreement == wilson(6 / 8, 8)
    assert found.seen_agreement == wilson(1.0, 4)
    by_name = {one.name: one for one in found.classes}
    assert by_name["bright"].sensitivity == wilson(1.0, 2) and by_name["bright"].specificity == wilson(4 / 6, 6)
    assert found.to_dict()["blind_agreement"]["value"] == 0.75
    assert np.isfinite(found.blind_agreement.low)
