"""One piece of work: commands as a user would give them, one after another, in a process of their own.

Each command goes on with what an earlier call of it left, so a unit whose machine died is simply given again.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

OUTPUT = "output.txt"
BLINK_S = 0.2
SAVING_S = 60.0
"""Longest that Ctrl-C waits for units at work to save what they have."""
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None)  # loaded here: after a fork nothing is


@dataclass(frozen=True)
class Unit:
    """Commands that depend on each other, and on no other unit.

    Attributes
    ----------
    name : str
        For messages.
    folder : Path
        Where it works and what it says is kept; on a cluster every node sees it at this place.
    commands : tuple of tuple of str
        Each is run when the one before it ended well.
    cwd : Path
        Where relative paths of the commands begin.
    """

    name: str
    folder: Path
    commands: tuple[tuple[str, ...], ...]
    cwd: Path = field(default_factory=Path.cwd)

    @property
    def log(self) -> Path:
        """What its commands print."""
        return self.folder / OUTPUT

    def said(self) -> str:
        """The last error that it printed, or its last line."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.is_file() else ""
        last = [line for line in text.splitlines() if line.strip()]
        message = next((line for line in reversed(last) if line.startswith("error:")), last[-1] if last else "nothing")
        return message.removeprefix("error: ")


def start(
    unit: Unit, command: Sequence[str], more: Mapping[str, str] | None = None, *, new: bool
) -> subprocess.Popen[bytes]:
    """Start one command of a unit; it ends when this process does.

    Parameters
    ----------
    more : mapping of str
        Variables beside those of this process.
    new : bool
        Whether what the unit said before is forgotten.
    """
    unit.folder.mkdir(parents=True, exist_ok=True)
    with unit.log.open("wb" if new else "ab") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **(more or {})}, cwd=unit.cwd,
            preexec_fn=_begin, start_new_session=True,
        )  # fmt: skip


def work(unit: Unit, more: Mapping[str, str] | None = None) -> int:
    """Run a unit here, and wait for it; returns the exit code of what failed, or 0."""
    for number, command in enumerate(unit.commands):
        process = start(unit, command, more, new=number == 0)
        try:
            while process.poll() is None:  # a wait in the system would not see Ray's cancelling
                time.sleep(BLINK_S)
        except BaseException:
            stop([process])
            raise
        if process.returncode:
            return process.returncode
    return 0


def stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ctrl-C for commands at work, once each, and the time to save their training; a terminal's own does not reach
    them, as they have sessions of their own: a second one would come amid the saving."""
    for one in processes:
        one.send_signal(signal.SIGINT)
    until = time.monotonic() + SAVING_S
    for one in processes:
        with suppress(subprocess.TimeoutExpired):
            one.wait(max(0.0, until - time.monotonic()))
    for one in processes:
        one.terminate()
    for one in processes:
        one.wait()


def _begin() -> None:
    """In the child: end when the parent is killed, as one that went on alone would write into the same folder as the
    one that the repeated command starts; and hear Ctrl-C, which a worker of Ray's blocks."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
