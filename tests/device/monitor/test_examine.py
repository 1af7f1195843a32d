"""One light: which change gives which, what it needs to say anything, and that it says nothing of pure noise."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monitored import (
    NOON,
    Change,
    brighter,
    calibrating,
    images,
    inverted,
    other_machine,
    reference,
    refused,
    write,
)

from edgedx.core.messages import LANGUAGES
from edgedx.device.clinic.answers import ANSWERS, Answers
from edgedx.device.monitor.examine import NOTES, examine
from edgedx.device.monitor.light import Light, light, prevalence_sentence
from edgedx.device.monitor.streams import Observation


def clinic(
    out: Path, change: Change | None = None, *, count: int = 250, share: float = 0.5, made: bool = True
) -> dict[str, Any]:
    """500 usual images, 200 more, then changed ones."""
    write(out, [images(500), images(200, first=500, day=10)], reference() if made else None)
    write(out, [images(count, first=1000, day=14, share=share, change=change)], reference() if made else None)
    return examine(out)


def test_as_usual_is_green_and_says_how_many_have_it(tmp_path: Path) -> None:
    found = clinic(tmp_path)
    assert found["light"] == {"colour": "green", "code": "usual", "values": {"count": found["window"]["images"]}}
    assert found["notes"] == [] and found["seconds"] < 1.0
    told = found["prevalence"]["pneumonia"]
    assert told["low"] < 0.5 < told["high"] and told["built"] == 0.5 and 0.7 < told["ppv_here"] < 1
    expected = found["expected"]["pneumonia"]
    assert expected["sensitivity"]["low"] < told["sensitivity"] < expected["sensitivity"]["high"] + 0.05
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("change", "colour", "code", "stream"),
    [
        (brighter, "yellow", "pictures", "mean"),
        (inverted, "red", "unlike", "distance"),
        (other_machine, "yellow", "header", "device"),
        (calibrating, "yellow", "repeats", "repeats"),
        (refused, "yellow", "refusals", "refusals"),
    ],
)
def test_each_change_has_its_light(tmp_path: Path, change: Change, colour: str, code: str, stream: str) -> None:
    found = clinic(tmp_path, change)
    assert (found["light"]["colour"], found["light"]["code"]) == (colour, code)
    assert stream in {one["stream"] for one in found["streams"] if one["alarm"]}
    assert found["expected"] is None and "EXPECTED_ALARM" in found["notes"]
    for language in LANGUAGES:
        told = Light(**found["light"]).sentences(language)
        assert len(told) >= 2 and all(told)


def test_a_strong_change_of_pictures_is_red_without_any_refusal(tmp_path: Path) -> None:
    found = clinic(tmp_path, lambda one, rng: replace(one, numbers={**one.numbers, "sharpness": rng.normal(-2, 0.5)}))
    assert (found["light"]["colour"], found["light"]["code"]) == ("red", "foreign")


def test_the_day_of_the_change_is_told(tmp_path: Path) -> None:
    write(tmp_path, [images(500), images(200, first=500, day=10), images(150, first=800, day=14)], reference())
    write(tmp_path, [images(150, first=1000, day=17, change=glaring)], reference())
    found = examine(tmp_path)
    assert found["light"]["values"]["since"] == _date(17)


def glaring(one: Observation, rng: np.random.Generator) -> Observation:
    return replace(one, numbers={**one.numbers, "mean": one.numbers["mean"] + 0.15})


def _date(day: int) -> str:
    from datetime import datetime, timezone

    return datetime.fromtimestamp(NOON + 86400 * day, timezone.utc).strftime("%Y-%m-%d")


def test_fewer_patients_with_it_are_counted_and_change_what_an_answer_is_worth(tmp_path: Path) -> None:
    found = clinic(tmp_path, share=0.15, count=400)
    assert (found["light"]["colour"], found["light"]["code"]) == ("yellow", "answers")
    told = found["prevalence"]["pneumonia"]
    assert told["low"] < 0.15 < told["high"] and told["ppv_here"] < told["ppv_built"] - 0.2
    said = prevalence_sentence("en", "pneumonia", told)
    assert "have pneumonia here; the model was built where 50 % had it" in said and "of 100 cases here" in said


def test_too_few_images_say_how_many_more(tmp_path: Path) -> None:
    write(tmp_path, [images(60)], reference())
    found = examine(tmp_path)
    assert found["light"] == {"colour": "grey", "code": "few", "values": {"count": 60, "needed": 140}}
    assert "140 more images are needed" in " ".join(Light(**found["light"]).sentences())
    assert found["reference"]["site_images_needed"] == 440 and found["streams"] == []


def test_without_a_reference_the_site_itself_is_compared_with(tmp_path: Path) -> None:
    found = clinic(tmp_path / "same", made=False)
    assert (found["light"]["code"], found["prevalence"], found["expected"]) == ("reference", {}, None)
    assert "NO_REFERENCE" in found["notes"] and "Deploy the run again" in NOTES["NO_REFERENCE"]
    changed = clinic(tmp_path / "other", brighter, made=False)
    assert (changed["light"]["colour"], changed["light"]["code"]) == ("yellow", "pictures")


def jumped(one: Observation) -> Observation:
    return replace(one, when=one.when - 3000 * 86400)


def untrusted(one: Observation) -> Observation:
    return replace(one, trusted=False)


@pytest.mark.parametrize("fault", [jumped, untrusted])
def test_a_clock_that_jumped_is_told_and_costs_the_charts_alone(
    tmp_path: Path, fault: Callable[[Observation], Observation]
) -> None:
    write(tmp_path, [images(500), images(200, first=500, day=10)], reference())
    write(tmp_path, [[fault(one) for one in images(50, first=1000, day=14)]], reference())
    found = examine(tmp_path)
    assert found["light"]["code"] == "clock" and found["light"]["colour"] == "grey"
    assert found["charts"] == [] and "CLOCK_JUMPED" in found["notes"] and found["window"]["images"] == 200
    write(tmp_path, [[fault(one) for one in images(200, first=2000, day=15, change=brighter)]], reference())
    assert examine(tmp_path)["light"]["code"] == "pictures"  # a change is seen all the same


def test_sampling_alone_gives_no_alarm(tmp_path: Path) -> None:
    alarms = 0
    for seed in range(8):
        out = tmp_path / str(seed)
        made = reference(seed=100 + seed)
        write(out, [images(500, first=100_000 * seed)], made)
        write(out, [images(200, first=100_000 * seed + 5000, day=20)], made)
        alarms += examine(out)["light"]["colour"] in ("yellow", "red")
    assert alarms == 0


def read_blind(out: Path, hits: int, missed: int, right: int, wrong: int) -> None:
    answers = Answers(out / ANSWERS)
    pairs = [("pneumonia", "pneumonia")] * hits + [("pneumonia", "normal")] * missed
    pairs += [("normal", "normal")] * right + [("normal", "pneumonia")] * wrong
    for number, (label, shown) in enumerate(pairs):
        answers.give(
            key=f"{number:064x}", sha256="a" * 64, bundle="b" * 64, person="p", label=label, shown=shown, blind=True
        )
    answers.give(key="f" * 64, sha256="a" * 64, bundle="b" * 64, person="p", label="pneumonia", shown="normal")
    answers.give(key="e" * 64, sha256="a" * 64, bundle="c" * 64, person="p", label="normal", shown="normal", blind=True)
    answers.give(key="d" * 64, sha256="a" * 64, bundle="b" * 64, person="p", label=None, shown="normal", blind=True)
    answers.close()


def test_blind_reads_give_accuracy_with_intervals(tmp_path: Path) -> None:
    write(tmp_path, [images(300)], reference())
    read_blind(tmp_path, 18, 2, 27, 3)
    answers = Answers(tmp_path / ANSWERS)  # one who had missed a blind one follows the model after a look
    answers.give(key=f"{18:064x}", sha256="a" * 64, bundle="b" * 64, person="p", label="normal", shown="normal")
    answers.close()
    found = examine(tmp_path)
    told = found["blind"]["pneumonia"]
    assert told["images"] == 50 and (told["sensitivity"]["hits"], told["sensitivity"]["of"]) == (18, 20)
    assert told["specificity"]["value"] == 0.9 and told["specificity"]["low"] == pytest.approx(0.7438, abs=1e-4)
    assert found["light"]["colour"] == "green"


def test_readers_who_contradict_the_model_are_an_alarm(tmp_path: Path) -> None:
    write(tmp_path, [images(300)], reference())
    read_blind(tmp_path, 10, 30, 30, 2)
    found = examine(tmp_path)
    assert (found["light"]["colour"], found["light"]["code"]) == ("red", "readers")
    assert found["light"]["values"]["names"] == "pneumonia"


def test_the_light_of_a_folder_is_the_last_look_and_grey_without_one(tmp_path: Path) -> None:
    assert light(tmp_path) == Light("grey", "none")
    (tmp_path / "monitor.json").write_text("{")
    assert light(tmp_path) == Light("grey", "none")
    (tmp_path / "monitor.json").write_text(
        json.dumps({"light": {"colour": "yellow", "code": "header", "values": {"count": 9, "since": "2026-11-24"}}})
    )
    shown = light(tmp_path)
    assert shown.alarm and shown.sentences("fr")[1] == "Vu pour la première fois vers le 2026-11-24."


@pytest.mark.parametrize("language", sorted(LANGUAGES))
@pytest.mark.parametrize(
    "code",
    ["usual", "few", "none", "reference", "clock", "pictures", "answers", "header", "refusals", "repeats", "foreign",
     "unlike", "readers"],
)  # fmt: skip
def test_every_light_has_its_sentences(code: str, language: str) -> None:
    values = {"count": 200, "needed": 3, "share": 12, "names": "pneumonia"}
    told = Light("yellow", code, values).sentences(language)
    assert len(told) == 2 and not any("{" in one for one in told)
