"""Child processes of edgedx: started alike, talked to with a time limit, and surely ended.

What opens a stranger's file, talks to a network or compiles beside a driver runs in a process of its own, which may
crash, hang or be killed for want of memory. Three supervisors stand on this module, each with its own rule for what
happens next: `decode.decoder` (one answer for each request), `pacs.companion` (kept running), `runtime.build_trt` (one
build, then the end).
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path

PACKAGE_ROOT = str(Path(__file__).resolve().parents[3])
"""The folder that `import edgedx` finds the package in."""
INHERITED = frozenset({"PATH", "LANG", "LC_ALL", "HOME"})
"""Environment variables that every child gets; secrets of the service stay with the parent."""
DEATH_SECONDS = 5.0
"""How long a child that has closed its pipe, or was asked to end, is given before it is killed."""
_BLOCK = 1 << 16


def module_command(module: str, *arguments: str) -> list[str]:
    """The command line that runs ``python -m module`` with this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def child_environment(inherited: Collection[str] = ()) -> dict[str, str]:
    """Few variables, one thread for each child, and the import path of this process.

    Parameters
    ----------
    inherited : collection of str
        Names to hand on besides `INHERITED`.
    """
    kept = INHERITED.union(inherited)
    environment = {key: value for key, value in os.environ.items() if key in kept}
    # Threads of BLAS and OpenCV would count against the child's memory limit and slow inference beside it.
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    paths = (os.path.abspath(entry) for entry in (PACKAGE_ROOT, *sys.path) if entry)
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment


class Child:
    """A running child process with a pipe to its stdin and one from its stdout.

    Parameters
    ----------
    command : sequence of str
    inherited : collection of str
        See `child_environment`.

    Raises
    ------
    OSError
        It cannot be started.
    """

    def __init__(self, command: Sequence[str], *, inherited: Collection[str] = ()) -> None:
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # libraries print parts of headers there
            env=child_environment(inherited),
            cwd="/",  # `python -m` imports from the working folder first, and that may be the inbox
            start_new_session=True,  # Ctrl-C is for the parent, which decides what its children finish
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self.stdin, self.stdout = self._process.stdin, self._process.stdout

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def send(self, data: bytes) -> None:
        """Write to its stdin; raises BrokenPipeError where it is gone."""
        self.stdin.write(data)
        self.stdin.flush()

    def receive(self, deadline: float) -> bytes:
        """What it wrote since it was last read, at least one byte; nothing at its end.

        Parameters
        ----------
        deadline : float
            Of `time.monotonic`.

        Raises
        ------
        TimeoutError
            It wrote nothing until then.
        """
        return self._read(_BLOCK, deadline)

    def receive_exactly(self, count: int, deadline: float) -> bytes:
        """Exactly `count` bytes of what it wrote.

        Raises
        ------
        TimeoutError, EOFError
            Time, or the child, ended before they came.
        """
        data = bytearray()
        while len(data) < count:
            block = self._read(count - len(data), deadline)
            if not block:
                raise EOFError
            data += block
        return bytes(data)

    def _read(self, count: int, deadline: float) -> bytes:
        handle, poll = self.stdout.fileno(), select.poll()
        poll.register(handle, select.POLLIN)
        if not poll.poll(1e3 * max(0.0, deadline - time.monotonic())):
            raise TimeoutError
        return os.read(handle, count)

    def kill(self) -> None:
        """SIGKILL; call `end` to collect it."""
        self._process.kill()

    def wait(self, seconds: float | None = None) -> int:
        """Its exit code, negative for a signal; raises `subprocess.TimeoutExpired`."""
        return self._process.wait(seconds)

    def end(self, seconds: float = DEATH_SECONDS) -> tuple[int, bool]:
        """Close the pipes, give it `seconds` to end, and kill it then.

        Returns
        -------
        (int, bool)
            Exit code, negative for a signal; and whether it had to be killed by this call.
        """
        for stream in (self.stdin, self.stdout):
            with contextlib.suppress(OSError):
                stream.close()
        try:
            # It closed its pipe, but need not have died of it; how it dies is reported, so it is not killed at once.
            return self._process.wait(seconds), False
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait(), True


def describe_exit(code: int) -> str:
    """``signal 9`` or ``exit 3``."""
    return f"signal {-code}" if code < 0 else f"exit {code}"
