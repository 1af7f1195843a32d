"""Progress with time left, on stderr, so that stdout stays for results: a bar on a terminal, else a line now and then.

A line is told at every note (a training notes each epoch), and where there are none every 30 seconds: nobody who reads
a log or a queue's output waits longer for a sign of life. The same lines go to the log of the run (`core.log`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol, TypeVar

from .log import note as keep
from .text import printable

SILENCE_S = 30.0
"""Longest that steps without a note pass in silence."""
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

    Without a terminal there is no bar but lines (see the module); `quiet` tells nothing at all. With `ahead`, steps of
    work that comes after this bar, the time left until all of it is done is shown too, at the pace of this bar.
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
        lines = _Lines(description, total, done, ahead, aloud=hidden)

        class _Bar:
            def advance(self, steps: float = 1, note: str = "") -> None:
                display.update(task, advance=steps)
                if note:
                    display.update(task, note=escape(printable(note)))
                if not quiet:
                    lines.advance(steps, note)

        yield _Bar()
        if not quiet:
            lines.end()


class _Lines:
    """Progress as lines: what a bar shows, for who reads a file."""

    def __init__(self, description: str, total: float, done: float, ahead: float, *, aloud: bool) -> None:
        self.description, self.total, self.ahead, self.aloud = printable(description), total, ahead, aloud
        self.first = self.at = done
        self.begun = self.told = time.monotonic()
        self.noted = False

    def advance(self, steps: float, note: str) -> None:
        self.at += steps
        now = time.monotonic()
        if not note and now - self.told < SILENCE_S:
            return
        self.told, self.noted = now, self.noted or bool(note)
        pace = (self.at - self.first) / max(now - self.begun, 1e-9)
        left = timedelta(seconds=round((self.total - self.at) / pace)) if pace > 0 else "-"
        parts = [f"{self.description}: {self.at:g} of {self.total:g}", printable(note), f"{left} left"]
        parts += [time_left(self.total - self.at + self.ahead, pace)] if self.ahead else []
        self._tell("  ".join(filter(None, parts)), self.aloud)

    def end(self) -> None:
        """How long it took, for the log; aloud only where it was told of before."""
        now = time.monotonic()
        if not self.noted:
            took = timedelta(seconds=round(now - self.begun))
            self._tell(
                f"{self.description}: {self.at:g} of {self.total:g} in {took}",
                self.aloud and now - self.begun > SILENCE_S,
            )

    def _tell(self, line: str, aloud: bool) -> None:
        keep(line)
        if aloud:
            print(line, file=sys.stderr, flush=True)


def tell(sentence: str) -> None:
    """Tell the person who waits, on stderr and so above a bar, and the log of the run."""
    print(printable(sentence), file=sys.stderr)
    keep(sentence)


def time_left(steps: float, pace: float | None) -> str:
    """``in all 0:12:05``: time for `steps` at `pace` steps a second; ``in all -`` while there is no pace."""
    return f"in all {timedelta(seconds=round(steps / pace))}" if pace else "in all -"


def track(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    """Iterate with a bar."""
    with progress(description, total) as bar:
        for item in items:
            yield item
            bar.advance()
