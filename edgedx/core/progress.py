"""Progress bars with time left, on stderr, so that stdout stays for results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol, TypeVar

from .text import printable

T = TypeVar("T")


class Bar(Protocol):
    """What the body of `progress` moves."""

    def advance(self, steps: float = 1, note: str = "") -> None:
        """Move on by `steps`; `note` is shown beside the bar."""


@contextmanager
def progress(
    description: str, total: float, *, done: float = 0, quiet: bool = False, ahead: float = 0
) -> Iterator[Bar]:
    """A bar over `total` steps, of which `done` are behind us already.

    Nothing is drawn where stderr is not a terminal or `quiet` is set. With `ahead`, steps of work that comes after
    this bar, the time left until all of it is done is shown too, at the pace of this bar.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Task as RichTask
    from rich.text import Text

    class _InAll(ProgressColumn):
        def render(self, task: RichTask) -> Text:
            pace = task.finished_speed or task.speed
            return Text(time_left((task.remaining or 0) + ahead, pace) if ahead else "")

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        _InAll(),
        TextColumn("{task.fields[note]}"),
    )
    hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as display:
        task = display.add_task(description, total=total, completed=int(done), note="")

        class _Bar:
            def advance(self, steps: float = 1, note: str = "") -> None:
                display.update(task, advance=steps)
                if note:
                    display.update(task, note=escape(printable(note)))

        yield _Bar()


def time_left(steps: float, pace: float | None) -> str:
    """``in all 0:12:05``: time for `steps` at `pace` steps a second; ``in all -`` while there is no pace."""
    return f"in all {timedelta(seconds=round(steps / pace))}" if pace else "in all -"


def track(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    """Iterate with a bar."""
    with progress(description, total) as bar:
        for item in items:
            yield item
            bar.advance()
