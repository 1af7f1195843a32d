"""Kills a process before or after any step that changes a disk."""

from __future__ import annotations

import errno
import os
import signal
import traceback
from collections.abc import Callable
from typing import Any

from edgedx.device.pacs.outbox import Outbox
from edgedx.device.pacs.receipts import Receipts
from edgedx.device.scanner.journal import Journal
from edgedx.device.scanner.publish import Publisher


class Death:
    """Counts the steps that change a disk, and kills the process at one of them."""

    def __init__(self, at: int | None, *, other_disk: bool) -> None:
        self.at, self.step, self.other_disk = at, 0, other_disk
        self._rename = os.replace
        for owner, names in (
            (os, ("fsync", "replace", "unlink", "mkdir", "rmdir", "ftruncate", "symlink")),
            (Journal, ("receive", "claim", "release", "acquit", "finish")),
            (Publisher, ("extend_table",)),
            (Outbox, ("add", "settle")),
            (Receipts, ("add",)),
        ):
            for name in names:
                self._surround(owner, name)

    def _surround(self, owner: Any, name: str) -> None:
        inner = getattr(owner, name)

        def around(*arguments: Any, **named: Any) -> Any:
            self._tick()
            if name == "replace" and self.other_disk and "inbox" in os.fspath(arguments[0]):
                raise OSError(errno.EXDEV, "another file system")
            # A kill does not lose what was written and not synced: no need to wait for the disk.
            result = None if name == "fsync" else inner(*arguments, **named)
            self._tick()
            return result

        setattr(owner, name, around)

    def _tick(self) -> None:
        self.step += 1
        if self.step == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


def run_until_killed(
    work: Callable[[], object], die_at: int | None = None, *, other_disk: bool = False
) -> tuple[bool, int]:
    """Do `work` in a forked process that is killed at a step; returns whether it was, and its steps if it was not."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            death = Death(die_at, other_disk=other_disk)
            work()
            os.write(writer, str(death.step).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as stream:
        steps = int(stream.read() or 0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return code != 0, steps
