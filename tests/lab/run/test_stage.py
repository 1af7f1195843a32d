"""A finished stage is reused, another's output is not overwritten unasked, an interrupted one is resumed on request."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgedx.core.errors import AlreadyExists, InputOutputError, StorageError, UsageError
from edgedx.lab.run.stage import Stage, machine, read_record, versions

Work = Callable[[], dict[str, Any]]


def _stage(folder: Path, epochs: int = 3, data: str = "d1") -> Stage:
    return Stage(folder / "teacher", {"train": {"epochs": epochs, "rate": 0.1}}, {"data": data})


def _writes(folder: Path, text: str) -> Work:
    """Work that leaves a file and returns a figure."""

    def work() -> dict[str, Any]:
        (folder / "teacher/model.txt").write_text(text)
        return {"auc": 0.9}

    return work


def _killed(folder: Path, text: str = "half") -> Work:
    def work() -> dict[str, Any]:
        (folder / "teacher/model.txt").write_text(text)
        raise KeyboardInterrupt

    return work


def _fails() -> dict[str, Any]:
    raise ValueError("at once")


def _interrupt(stage: Stage, folder: Path, **options: bool) -> None:
    with pytest.raises(KeyboardInterrupt):
        stage.run(_killed(folder), **options)


def _text(folder: Path) -> str:
    return (folder / "teacher/model.txt").read_text()


def test_a_record_says_what_was_done_with_what(tmp_path: Path) -> None:
    record = _stage(tmp_path).run(_writes(tmp_path, "one"))
    assert record["stage"] == "teacher" and record["metrics"] == {"auc": 0.9} and record["reused"] is False
    assert record["settings"] == {"train": {"epochs": 3, "rate": 0.1}} and record["inputs"] == {"data": "d1"}
    assert {"edgedx", "python", "torch", "numpy"} <= record["versions"].keys() and record["wall_seconds"] >= 0
    assert {**read_record(tmp_path / "teacher"), "reused": False} == record
    assert sorted(path.name for path in (tmp_path / "teacher").iterdir()) == ["model.txt", "stage.json"]


def test_a_finished_stage_is_not_run_again(tmp_path: Path) -> None:
    first = _stage(tmp_path).run(_writes(tmp_path, "one"))
    for options in ({}, {"resume": True}):
        again = _stage(tmp_path).run(_writes(tmp_path, "two"), **options)
        assert again == {**first, "reused": True}
    assert _text(tmp_path) == "one"


def test_overwrite_runs_a_finished_stage_again(tmp_path: Path) -> None:
    _stage(tmp_path).run(_writes(tmp_path, "one"))
    assert _stage(tmp_path).run(_writes(tmp_path, "two"), overwrite=True)["reused"] is False
    assert _text(tmp_path) == "two"


@pytest.mark.parametrize("change", [{"epochs": 4}, {"data": "d2"}])
@pytest.mark.parametrize("resume", [False, True])
def test_the_output_of_other_settings_or_inputs_is_not_overwritten_unasked(
    tmp_path: Path, change: dict[str, Any], resume: bool
) -> None:
    _stage(tmp_path).run(_writes(tmp_path, "one"))
    with pytest.raises(AlreadyExists) as caught:
        _stage(tmp_path, **change).run(_writes(tmp_path, "two"), resume=resume)
    assert "--overwrite" in str(caught.value.next_step)
    assert _text(tmp_path) == "one"
    _stage(tmp_path, **change).run(_writes(tmp_path, "two"), overwrite=True)
    assert _text(tmp_path) == "two"
    assert _stage(tmp_path, **change).record() is not None and _stage(tmp_path).record() is None


def test_what_differs_is_named_with_its_old_and_its_new_value(tmp_path: Path) -> None:
    _stage(tmp_path, data="a" * 64).run(_writes(tmp_path, "one"))
    with pytest.raises(AlreadyExists, match=r": train\.epochs was 3 and is 4$"):
        _stage(tmp_path, 4, data="a" * 64).run(_fails)
    with pytest.raises(AlreadyExists, match=r"the input 'data' was a{12}\.\.\. and is b{12}\.\.\.$"):
        _stage(tmp_path, data="b" * 64).run(_fails)
    more = Stage(tmp_path / "teacher", {"a": 1, "b": None, "c": "x", "d": [], "train": {"rate": 0.1}}, {})
    with pytest.raises(AlreadyExists, match=r"train\.epochs was 3 and is absent; .*; and 2 more$"):
        more.run(_fails)


def test_what_differs_from_an_unfinished_run_is_named_too(tmp_path: Path) -> None:
    _interrupt(_stage(tmp_path), tmp_path)
    for resume in (True, False):
        with pytest.raises(UsageError, match=r"train\.epochs was 3 and is 4"):
            _stage(tmp_path, 4).run(_fails, resume=resume)
    (tmp_path / "teacher/.begun.json").write_text('{"fingerprint": "of an older edgedx, which kept no settings"}')
    with pytest.raises(UsageError, match=r"unfinished run of other settings$"):
        _stage(tmp_path, 4).run(_fails)


def test_the_run_has_a_log_of_its_stages_wherever_they_lie(tmp_path: Path) -> None:
    _stage(tmp_path).run(_writes(tmp_path, "one"))
    _stage(tmp_path).run(_writes(tmp_path, "one"))
    for place in ("devices/jetson/variants", "teacher/control"):
        Stage(tmp_path / place, {}, {}).run(lambda: {})
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("log.txt")] == [Path("log.txt")]
    told = [line[21:] for line in (tmp_path / "log.txt").read_text().splitlines()]
    assert [line.split(" in ")[0].split(" by ")[0] for line in told] == [
        *("teacher: begun", "teacher: finished", "teacher: nothing changed, the finished stage is used"),
        *("variants: begun", "variants: finished", "control: begun", "control: finished"),
    ]


def test_a_run_below_a_folder_called_devices_has_its_own_log(tmp_path: Path) -> None:
    Stage(tmp_path / "devices/run/teacher", {}, {}).run(lambda: {})
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("log.txt")] == [Path("devices/run/log.txt")]


def test_an_interrupted_stage_is_not_finished(tmp_path: Path) -> None:
    _interrupt(_stage(tmp_path), tmp_path)
    assert _stage(tmp_path).record() is None
    with pytest.raises(InputOutputError, match="not a finished stage"):
        read_record(tmp_path / "teacher")


def test_an_interrupted_stage_waits_for_resume_or_overwrite(tmp_path: Path) -> None:
    _interrupt(_stage(tmp_path), tmp_path)
    with pytest.raises(UsageError, match="unfinished run") as caught:
        _stage(tmp_path).run(_writes(tmp_path, "two"))
    assert "--resume" in str(caught.value.next_step) and _text(tmp_path) == "half"
    _interrupt(_stage(tmp_path), tmp_path, overwrite=True)
    assert _stage(tmp_path).run(_writes(tmp_path, "whole"), resume=True)["reused"] is False
    assert _stage(tmp_path).run(_fails)["reused"] is True


@pytest.mark.parametrize(("resume", "error"), [(True, UsageError), (False, AlreadyExists)])
def test_an_interrupted_stage_of_other_settings_is_not_continued(
    tmp_path: Path, resume: bool, error: type[Exception]
) -> None:
    _interrupt(_stage(tmp_path), tmp_path)
    with pytest.raises(error) as caught:
        _stage(tmp_path, epochs=4).run(_writes(tmp_path, "two"), resume=resume)
    assert "--overwrite" in str(caught.value.next_step)  # type: ignore[attr-defined]
    assert _text(tmp_path) == "half"


def test_resuming_what_was_never_begun_begins_it(tmp_path: Path) -> None:
    assert _stage(tmp_path).run(_writes(tmp_path, "one"), resume=True)["reused"] is False


@pytest.mark.parametrize("epochs", [3, 4])
def test_killed_while_overwriting_a_folder_does_not_look_finished(tmp_path: Path, epochs: int) -> None:
    _stage(tmp_path).run(_writes(tmp_path, "one"))
    _interrupt(_stage(tmp_path, epochs), tmp_path, overwrite=True)
    assert _stage(tmp_path).record() is None
    with pytest.raises(UsageError):
        _stage(tmp_path).run(_writes(tmp_path, "two"))


def test_a_stage_that_failed_at_once_may_be_run_with_other_settings(tmp_path: Path) -> None:
    """So that following the next step of a refused data set does not end in another refusal."""
    with pytest.raises(ValueError, match="at once"):
        _stage(tmp_path).run(_fails, resume=True)
    for resume in (True, False):
        with pytest.raises(ValueError, match="at once"):
            _stage(tmp_path, epochs=4).run(_fails, resume=resume)
    assert _stage(tmp_path, epochs=5).run(_writes(tmp_path, "one"), resume=True)["reused"] is False


def test_a_full_disk_amid_the_work_does_not_cost_what_was_done(tmp_path: Path) -> None:
    def work() -> dict[str, Any]:
        (tmp_path / "teacher/model.txt").write_text("hours of training")
        raise StorageError("no space left")

    with pytest.raises(StorageError):
        _stage(tmp_path).run(work)
    with pytest.raises(UsageError, match="unfinished run"):
        _stage(tmp_path).run(_writes(tmp_path, "from the start"))
    assert _text(tmp_path) == "hours of training"


@pytest.mark.parametrize("epochs", [3, 4])
def test_an_interrupted_stage_that_is_restartable_is_simply_done_again(tmp_path: Path, epochs: int) -> None:
    _interrupt(_stage(tmp_path), tmp_path)
    assert _stage(tmp_path, epochs).run(_writes(tmp_path, "two"), restartable=True)["reused"] is False
    assert _text(tmp_path) == "two"
    with pytest.raises(AlreadyExists):  # a finished one of other settings is still not overwritten unasked
        _stage(tmp_path, epochs=5).run(_writes(tmp_path, "three"), restartable=True)


def test_a_figure_that_is_not_a_number_leaves_no_record(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        _stage(tmp_path).run(lambda: {"auc": float("nan")})
    assert _stage(tmp_path).record() is None


def test_the_fingerprint_is_of_values_and_not_of_their_order(tmp_path: Path) -> None:
    one = Stage(tmp_path, {"a": 1, "b": {"c": 2, "d": 3}}, {"x": "1", "y": "2"})
    assert (
        one.fingerprint
        == Stage(tmp_path / "elsewhere", {"b": {"d": 3, "c": 2}, "a": 1}, {"y": "2", "x": "1"}).fingerprint
    )
    assert one.fingerprint != Stage(tmp_path, {"a": 1, "b": {"c": 2, "d": 3}, "x": "1"}, {"y": "2"}).fingerprint


def test_a_stage_that_is_not_there_names_the_order_of_the_stages(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError) as caught:
        read_record(tmp_path / "teacher")
    assert "finetune, then compress, then deploy" in str(caught.value.next_step)


def test_the_machine_is_told_without_its_name() -> None:
    assert "threads" in machine()
    assert socket.gethostname() not in machine() + json.dumps(versions())
