"""What a command told, with times, in a file of its folder: nothing of a patient, no folder for its own sake."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgedx.core.errors import DataError, UsageError
from edgedx.core.log import LOG, log_into, note

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ")


def test_each_line_has_its_time_and_nothing_of_a_terminal(tmp_path: Path) -> None:
    note("before")
    with log_into(tmp_path / LOG):
        note("one\ntwo \x1b[2J")
    note("after")
    lines = (tmp_path / LOG).read_text().splitlines()
    assert all(STAMP.match(line) for line in lines)
    assert [STAMP.sub("", line) for line in lines] == ["one", r"two \x1b[2J"]


def test_logs_in_one_another_each_get_the_line_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "candidate").mkdir()
    monkeypatch.chdir(tmp_path)
    with log_into(tmp_path / LOG), log_into(Path(LOG)):
        with log_into(tmp_path / "candidate" / LOG):
            note("both")
        note("outer")
    assert [line[21:] for line in (tmp_path / LOG).read_text().splitlines()] == ["both", "outer"]
    assert [line[21:] for line in (tmp_path / "candidate" / LOG).read_text().splitlines()] == ["both"]


def test_a_folder_is_waited_for_and_not_made(tmp_path: Path) -> None:
    with log_into(tmp_path / "run" / LOG):
        note("first")
        assert not (tmp_path / "run").exists()
        (tmp_path / "run").mkdir()
        note("second")
    assert [line[21:] for line in (tmp_path / "run" / LOG).read_text().splitlines()] == ["first", "second"]
    with pytest.raises(UsageError), log_into(tmp_path / "typo" / LOG):
        raise UsageError("no such run")
    assert not (tmp_path / "typo").exists()


def test_an_error_is_noted_but_not_what_may_name_a_patient(tmp_path: Path) -> None:
    for error in (
        UsageError("wrong option", next_step="another"), DataError("Doe^Jane.dcm is broken"), ValueError("Doe^Jane"),
        KeyboardInterrupt(),
    ):  # fmt: skip
        with pytest.raises(type(error)), log_into(tmp_path / LOG):
            raise error
    text = (tmp_path / LOG).read_text()
    assert "error: wrong option" in text and "next:  another" in text and "stopped by Ctrl-C" in text
    assert "DataError" in text and "ValueError" in text and "Doe" not in text


def test_a_log_that_cannot_be_written_stops_no_work(tmp_path: Path) -> None:
    (tmp_path / LOG).mkdir()
    with log_into(tmp_path / LOG):
        note("work goes on")
