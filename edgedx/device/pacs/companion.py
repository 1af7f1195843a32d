"""A process beside the scanner that may crash, hang or wait for a network: it is started again, and never waited for.

It is told that there is work by a byte on its stdin, and that the scanner ends by the end of it, be that by kill -9.
What it prints, lines without patient data, goes into the scanner's log.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edgedx.core.text import printable
from edgedx.device.machine.child import Child, module_command

log = logging.getLogger("edgedx.scan")

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_STAYED = 60.0  # seconds after which a start counts as good


class Companion:
    """Keeps ``python -m MODULE ARGUMENTS`` running.

    Parameters
    ----------
    patience : float
        Seconds that `end` waits for work that is due; what is left then is done at the next start.
    """

    def __init__(self, name: str, module: str, arguments: Sequence[str], *, patience: float = 120.0) -> None:
        self.name, self.patience = name, patience
        self._command = module_command(module, *arguments)
        self._child: Child | None = None
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._keep, name=f"companion-{name}", daemon=True)

    def start(self) -> None:
        """Start it, and start it again whenever it ends."""
        self._spawn()  # here, so that there is one to end
        self._thread.start()

    def wake(self) -> None:
        """Say that there is work. Never blocks: a full pipe says it already."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            if self._child is not None:
                os.write(self._child.stdin.fileno(), b"\n")

    def end(self) -> None:
        """Let it do what is due and end; it is killed after `patience`, which loses nothing."""
        self._ending.set()
        with self._lock:
            child = self._child
            if child is not None:
                child.stdin.close()
        if child is not None:
            try:
                child.wait(self.patience)
            except subprocess.TimeoutExpired:
                log.warning("%s: still at work after %.0f s; it goes on at the next start", self.name, self.patience)
                child.kill()
                child.wait()
        self._thread.join(5.0)

    @property
    def pid(self) -> int | None:
        """Process id, where it runs."""
        return None if self._child is None else self._child.pid

    def _keep(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            begun = time.monotonic()
            code = self._listen()
            if self._ending.is_set():
                return
            pause = _FIRST_PAUSE if time.monotonic() - begun > _STAYED else min(_LONGEST_PAUSE, 2 * pause)
            log.warning("%s: ended (%d), starts again in %.0f s", self.name, code, pause)
            self._ending.wait(pause)
            self._spawn()

    def _listen(self) -> int:
        """Log what the child says until it ends; returns how."""
        child = self._child
        if child is None:
            return -1
        with child.stdout:
            for line in child.stdout:
                log.warning("%s: %s", self.name, printable(line.decode("ascii", "replace").strip()[:300]))
        return child.wait()

    def _spawn(self) -> None:
        with self._lock:
            self._child = None
            if self._ending.is_set():
                return
            with contextlib.suppress(OSError):  # no memory for it now: tried again
                self._child = Child(self._command, inherited={"TZ"})
                os.set_blocking(self._child.stdin.fileno(), False)


class Caller:
    """The companion's side: waits for work, notices that the scanner is gone, and says a line to its log."""

    def __init__(self) -> None:
        # A library that prints must not reach the scanner's log.
        self._out = os.dup(1)
        os.dup2(2, 1)
        self.gone = False

    def say(self, text: str) -> None:
        """One line for the scanner's log; nobody may be there to read it."""
        with contextlib.suppress(OSError):
            os.write(self._out, f"{text}\n".encode("ascii", "replace"))

    def wait(self, seconds: float) -> None:
        """Until there is work, `seconds` have passed, or the scanner is gone."""
        if self.gone:
            time.sleep(seconds)
        elif select.select([0], [], [], seconds)[0]:
            self.gone = not os.read(0, 1 << 16)


@contextmanager
def alone(path: Path, caller: Caller) -> Iterator[None]:
    """Hold a lock file; waits for one of an earlier scanner that is ending."""
    with path.open("w") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if caller.gone:
                    sys.exit(0)
                caller.wait(1.0)
        yield
