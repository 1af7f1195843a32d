"""How a command ends: every exception becomes one message and one documented exit code.

::

    0    done                          5    a file cannot be read or written
    1    a gate said no               70    a bug of edgedx
    2    the call is wrong           130    stopped by Ctrl-C
    3    hardware or software        141    who read the output went away (edgedx ... | head)
         is missing
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .common import command_line, printable

if TYPE_CHECKING:
    from edgedx.core.errors import FileGone

BUG, INTERRUPTED, BROKEN_PIPE = 70, 130, 141
TRACEBACK = "EDGEDX_TRACEBACK"
"""Environment variable: set and not 0, the traceback of a bug is printed too."""

_PACKAGE = Path(__file__).resolve().parent.parent


def exit_code_of(command: Callable[[], object]) -> int:
    """Run a command line to its end; returns its exit code, its message is on stderr then.

    Parameters
    ----------
    command : callable
        A Typer application, which turns its own errors of usage into `SystemExit`.
    """
    from edgedx.core.errors import EdgedxError, FileGone

    try:
        command()
        sys.stdout.flush()
    except FileGone as error:
        return _gone(error)
    except FileNotFoundError as error:
        return _gone(FileGone(Path(error.filename))) if _in_a_run(error.filename) else _unexpected(error)
    except EdgedxError as error:
        _say(error.message, error.next_step)
        return error.exit_code
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        return _nobody_reads()
    except SystemExit as end:
        return _ended(end)
    except BaseException as error:
        return _unexpected(error)
    return 0


def _ended(end: SystemExit) -> int:
    """Typer ends a command by `SystemExit`; why stands in the exception that it was handling."""
    if isinstance(end.__context__, BrokenPipeError):
        return _nobody_reads()
    if isinstance(end.__context__, typer.Abort):  # a question, and nobody to answer it; Typer says 1, which is a gate's
        return 2
    if end.code == INTERRUPTED:
        return _interrupted()
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    _say(str(end.code), None)
    return BUG


def _gone(error: FileGone) -> int:
    """What is missing in a run has a command that makes it again."""
    from edgedx.lab.run.renew import renewal

    _say(error.message, renewal(error.path) or error.next_step)
    return error.exit_code


def _in_a_run(name: object) -> bool:
    from edgedx.lab.run.renew import renewal

    return isinstance(name, str) and renewal(Path(name)) is not None


def _interrupted() -> int:
    """A command that tells more than this raises `Stopped` (see `stopping`)."""
    _say("stopped; nothing is half-written", command_line(*sys.argv[1:]))
    return INTERRUPTED


def _nobody_reads() -> int:
    """Python writes what is left at its end, and would complain: it is written to nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is None:
            continue
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    return BROKEN_PIPE


def _unexpected(error: BaseException) -> int:
    if os.environ.get(TRACEBACK, "0") not in ("", "0"):
        import traceback

        traceback.print_exception(error)
    package = (error.name or "").split(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if extra := _extra_with(package):
        half = " (the workstation half; a device needs none of it)" if extra == "lab" else ""
        _say(f"this command needs {package}, which is not installed", f'pip install "edgedx[{extra}]"{half}')
        return 3
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        _say(f"no space left ({where(error)})", "free space, then repeat: edgedx leaves nothing half-written")
        return 5
    from edgedx._version import __version__

    # Its message stays out: it may quote a file's name or a value of a patient's header.
    _say(
        f"a bug of edgedx {__version__}, or of a library that it uses: {type(error).__name__} in {where(error)}",
        f"report that line to the maintainers (CONTRIBUTING.md, 'Reporting a bug'); {TRACEBACK}=1 prints the "
        "traceback, which may quote files and headers: read it before you pass it on",
    )
    return BUG


def _extra_with(module: str) -> str:
    from edgedx.device.machine.software import EXTRAS

    return next((key for key, extra in EXTRAS.items() if module in {name for _, name in extra.packages}), "")


def where(error: BaseException) -> str:
    """File and line of the innermost frame of edgedx that an exception came through; never a path of this machine."""
    place, trace = "the start of the program", error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if file.is_relative_to(_PACKAGE) and file != Path(__file__).resolve():
            place = f"{file.relative_to(_PACKAGE.parent)}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _say(message: str, next_step: str | None) -> None:
    """On stderr; without one, or with nobody who reads it, the exit code has to do."""
    try:
        print(f"error: {printable(message)}", file=sys.stderr)
        if next_step:
            print(f"next:  {printable(next_step)}", file=sys.stderr)
    except (OSError, ValueError):
        _nobody_reads()
