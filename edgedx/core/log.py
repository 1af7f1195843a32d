"""What a command told its reader, kept with times: ``log.txt`` of the folder that it works on.

Whoever tells something calls `note`; whoever begins work on a folder holds `log_into`. Logs may lie in one another (a
search and its candidates): each gets the line. No line holds data of a patient: what may quote a file of a data set is
not noted (see `noted_error`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import DataError, EdgedxError, ImageError
from .text import printable

LOG = "log.txt"


class _Log:
    """Lines wait in memory until the folder is there: a call that is refused at once makes no folder."""

    def __init__(self, path: Path) -> None:
        self.path, self.waiting = path, ""

    def write(self, text: str) -> None:
        self.waiting += text
        if not self.path.parent.is_dir():
            return
        try:
            with self.path.open("a", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(self.waiting)
        except OSError:  # a copy on a read-only disk is judged all the same, and a full one ends the work elsewhere
            pass
        self.waiting = ""


_open: list[_Log] = []


def note(text: object) -> None:
    """Append a text, each of its lines with the time (UTC), to every log that is open; none is, nothing happens."""
    if not _open:
        return
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    lines = "".join(f"{now} {printable(one)}".rstrip() + "\n" for one in str(text).splitlines())
    for log in _open:
        log.write(lines)


@contextmanager
def log_into(path: Path) -> Iterator[None]:
    """Keep what is noted meanwhile in `path` too; an error that ends the work is noted.

    A path that is open already is not opened again.
    """
    path = path.absolute()
    if any(log.path == path for log in _open):
        yield
        return
    log = _Log(path)
    _open.append(log)
    try:
        yield
    except BaseException as error:
        note(noted_error(error))
        raise
    finally:
        _open.remove(log)


def noted_error(error: BaseException) -> str:
    """An error as a log may keep it.

    What is wrong with a data set or an image is told with the names of its files, and these may be names of patients:
    of such an error the log keeps the kind alone.
    """
    if isinstance(error, KeyboardInterrupt):
        return "stopped by Ctrl-C"
    if not isinstance(error, EdgedxError) or isinstance(error, (DataError, ImageError)):
        return f"error: {type(error).__name__} (its text may name files of the data set, so it is not kept here)"
    return f"error: {error.message}" + (f"\nnext:  {error.next_step}" if error.next_step else "")
