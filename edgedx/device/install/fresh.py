"""A question to a fresh process that may crash or never end: it is killed then, with all that it started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_PACKAGE_ROOT = str(Path(__file__).resolve().parents[3])


WATCHED = "--watched"
"""First argument of a process that is to call `end_with_caller`."""


class NoAnswer(Exception):
    """The process gave no answer; the message says why, in a few words."""


def ask_fresh(module: str, arguments: Sequence[str], seconds: float, *, show: bool = False) -> dict[str, Any]:
    """Run ``python -m MODULE ARGUMENTS`` and return the JSON object of the last line that it prints.

    Parameters
    ----------
    arguments : sequence of str
        Paths absolute: the process runs in ``/``, since Python would import from the working folder first.
    seconds : float
        Time limit.
    show : bool
        Let its progress be seen on stderr.

    Raises
    ------
    NoAnswer
        It did not start, did not end in time, crashed, or printed something else.
    """
    command = [sys.executable, "-m", module, WATCHED, *arguments]
    try:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None if show else subprocess.PIPE,
            text=True, errors="replace", cwd="/", env=_environment(), start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise NoAnswer(f"no process could be started: {error.strerror}") from error
    try:
        said, complained = _listen(child, seconds)
    except subprocess.TimeoutExpired:
        raise NoAnswer(f"the model did not answer within {seconds:g} s") from None
    finally:
        _kill(child)
    if child.returncode < 0:
        raise NoAnswer(f"the runtime crashed: {signal.strsignal(-child.returncode)}")
    try:
        answer = json.loads(said.splitlines()[-1])
    except (ValueError, IndexError):
        answer = None
    if not isinstance(answer, dict) or not answer:
        last = (complained.strip().splitlines() or ["no output"])[-1]
        raise NoAnswer(f"the examination ended with {child.returncode}: {last}")
    return answer


def _listen(child: subprocess.Popen[str], seconds: float) -> tuple[str, str]:
    """As `communicate`, but stdin stays open: its end tells the process that we are gone."""
    stdin, child.stdin = child.stdin, None
    try:
        said, complained = child.communicate(timeout=seconds)
        return said, complained or ""
    finally:
        if stdin is not None:
            with contextlib.suppress(OSError):
                stdin.close()


def _kill(child: subprocess.Popen[str]) -> None:
    """Kill what is left of it: of its session too, be it that it ended itself."""
    with contextlib.suppress(OSError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()


def _environment() -> dict[str, str]:
    """Ours, but nothing is imported from the working folder: a stick may hold a file called numpy.py."""
    given = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(entry)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*given, _PACKAGE_ROOT])}


def end_with_caller() -> None:
    """In the fresh process: end as soon as the one that asked is gone, whatever a runtime is doing."""

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1 << 10):
                pass
        os._exit(1)

    threading.Thread(target=wait, name="caller", daemon=True).start()
