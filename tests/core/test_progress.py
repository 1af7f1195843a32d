"""The time left until all is done, at the pace of what is done now."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedx.core.log import LOG, log_into
from edgedx.core.progress import progress, time_left


@pytest.mark.parametrize(
    ("steps", "pace", "shown"),
    [(7200, 2.0, "in all 1:00:00"), (90, 1.0, "in all 0:01:30"), (10, None, "in all -"), (10, 0.0, "in all -")],
)
def test_time_left_is_steps_by_pace(steps: float, pace: float | None, shown: str) -> None:
    assert time_left(steps, pace) == shown


def test_a_bar_with_work_ahead_shows_the_time_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    import rich.console

    out, plain = io.StringIO(), rich.console.Console
    monkeypatch.setattr(
        rich.console, "Console", lambda **more: plain(file=out, force_terminal=True, width=160, color_system=None)
    )
    with progress("one of three", 4, ahead=8) as bar:
        bar.advance(2, "half")
    assert "in all" in out.getvalue() and "half" in out.getvalue()
    out.truncate(0)
    with progress("alone", 4) as bar:
        bar.advance(2)
    assert "in all" not in out.getvalue()


def test_without_a_terminal_each_note_is_a_line_and_so_is_each_half_minute(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("edgedx.core.progress.time.monotonic", lambda: now[0])
    with log_into(tmp_path / LOG), progress("teacher: all layers", 40, done=10) as bar:
        for step in range(11, 41):
            now[0] += 4.0
            bar.advance(1, f"loss 0.{step}" if step % 15 == 0 else "")
    told = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0].split(": ")[-1] for line in told] == ["15 of 40", "23 of 40", "30 of 40", "38 of 40"]
    assert told[0] == "teacher: all layers: 15 of 40  loss 0.15  0:01:40 left", "the ten steps of before cost nothing"
    kept = [line[21:] for line in (tmp_path / LOG).read_text().splitlines()]
    assert kept == told


def test_a_short_bar_is_silent_but_for_the_log(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with log_into(tmp_path / LOG), progress("resampling", 3) as bar:
        bar.advance(3)
    assert capsys.readouterr().err == "" and "resampling: 3 of 3 in 0:00:00" in (tmp_path / LOG).read_text()


def test_a_quiet_process_tells_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with log_into(tmp_path / LOG), progress("teacher", 3, quiet=True) as bar:
        bar.advance(1, "loss 1")
    assert capsys.readouterr().err == "" and not (tmp_path / LOG).exists()
