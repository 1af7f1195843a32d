"""The time left until all is done, at the pace of what is done now."""

from __future__ import annotations

import pytest

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
