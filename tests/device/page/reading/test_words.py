"""Every reason code has a sentence and something to do; the light says the gravest thing first."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from edgedx.core.codes import Code
from edgedx.core.files import write_json
from edgedx.core.messages import LANGUAGES, keys, knows
from edgedx.device.page.reading.box import health, installed, read_box, streams
from edgedx.device.page.reading.results import ResultFile
from edgedx.device.page.reading.words import group_of, what_to_do, why


def test_each_code_has_its_words() -> None:
    assert {group_of(code.value) for code in Code} <= {key.removeprefix("why.") for key in keys("why.")} - {"other"}
    assert group_of("OF_A_LATER_RELEASE") == group_of(None) == "other"
    for language in LANGUAGES:
        for code in Code:
            assert why(language, code.value) and what_to_do(language, code.value).strip()


_WELL = {"state": "finished", "disk_free": 10, "disk_floor": 1, "pid": os.getpid()}


@pytest.mark.parametrize(
    ("changes", "colour", "code"),
    [
        ({}, "grey", "finished"),
        ({"state": "stopped"}, "red", "stopped"),
        ({"state": "scanning", "boot": "another"}, "red", "dead"),
        ({"disk_free": 0}, "red", "disk"),
        ({"troubles": ["x"], "oldest_pending_seconds": 9999}, "yellow", "trouble"),
        ({"oldest_pending_seconds": 1800}, "yellow", "stuck"),
        ({"sink_failures": {"heatmap": 2}}, "yellow", "outputs"),
    ],
)
def test_the_light_by_the_heartbeat(changes: dict[str, object], colour: str, code: str) -> None:
    found = health({**_WELL, **changes})
    assert (found.colour, found.code) == (colour, code)
    for language in LANGUAGES:
        assert found.sentence(language) and found.do(language)


def test_what_the_monitor_says_comes_before_what_is_less_grave(tmp_path: Path) -> None:
    assert read_box(tmp_path)[0][0].code == "never"
    write_json(tmp_path / "status.json", _WELL)
    assert [one.code for one in read_box(tmp_path)[0]] == ["finished"]
    told = {
        "light": {"colour": "red", "code": "unlike", "values": {"share": 30, "since": "2026-11-01"}},
        "streams": [{"stream": "brightness", "against": "bundle", "effect": 0.5, "alarm": True}],
    }
    write_json(tmp_path / "monitor.json", told)
    first, second = read_box(tmp_path)[0]
    assert (first.colour, first.code, second.code) == ("red", "unlike", "finished")
    assert "30 %" in first.sentence("en") and "2026-11-01" in first.sentence("en")
    assert streams(tmp_path)[0].alarm
    (tmp_path / "monitor.json").write_text("{")
    assert streams(tmp_path) == [] and [one.code for one in read_box(tmp_path)[0]] == ["finished"]


def test_when_a_model_was_installed(tmp_path: Path) -> None:
    assert installed(None) == installed(tmp_path) == ""
    event = {"at": "2026-11-27T10:00:00Z", "action": "install", "name": "chest", "version": "2"}
    write_json(tmp_path / "state.json", {"history": [event, {"action": "confirm"}]})
    assert installed(tmp_path) == "2026-11-27: chest 2"


def _result(out: Path, **prediction: object) -> ResultFile:
    (out / "results").mkdir(exist_ok=True)
    facts = {"key": "a" * 64, "status": "done", "runtime": {}, "source": {}, "prediction": prediction}
    (out / "results" / f"{'a' * 32}.json").write_text(json.dumps(facts))
    return ResultFile(out, "a" * 64)


def test_several_findings_are_told_from_one_of_several_classes(tmp_path: Path) -> None:
    limit = {"pneumonia": 0.4}
    two = _result(tmp_path, label="normal", probabilities={"normal": 0.7, "pneumonia": 0.3}, threshold=limit)
    assert not two.is_multilabel and [bar.threshold for bar in two.bars] == [None, 0.4]
    assert [(bar.name, bar.percent, bar.said) for bar in two.bars] == [
        ("normal", "70%", True),
        ("pneumonia", "30%", False),
    ]
    limits = {"mass": 0.5, "nodule": 0.5}
    assert _result(tmp_path, label="", probabilities={"mass": 0.1, "nodule": 0.2}, threshold=limits).is_multilabel
    assert _result(tmp_path, label="mass", probabilities={"mass": 0.8, "nodule": 0.2}, threshold=limits).is_multilabel
    assert knows("list.look")
