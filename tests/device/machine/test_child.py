"""One way to start, read, limit and end a child process; the three supervisors stand on it."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from edgedx.device.machine.child import Child, child_environment, describe_exit, module_command


def _python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def _soon(seconds: float = 20.0) -> float:
    return time.monotonic() + seconds


def test_it_hears_what_it_is_sent_and_is_read_to_the_byte() -> None:
    child = Child(_python("import sys; sys.stdout.write(sys.stdin.read(4)[::-1])"))
    child.send(b"abcd")
    assert child.receive_exactly(3, _soon()) == b"dcb" and child.receive(_soon()) == b"a"
    assert child.receive(_soon()) == b""
    assert child.end() == (0, False)


def test_the_secrets_of_the_parent_stay_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEDX_SECRET", "s3cret")
    monkeypatch.setenv("TZ", "UTC")
    child = Child(_python("import json, os; print(json.dumps(dict(os.environ)), os.getcwd())"), inherited={"TZ"})
    output = b""
    while block := child.receive(_soon()):
        output += block
    child.end()
    variables, _, folder = output.decode().strip().rpartition(" ")
    seen = json.loads(variables)
    assert "EDGEDX_SECRET" not in seen and seen["TZ"] == "UTC" and folder == "/"
    assert seen["PYTHONPATH"].split(os.pathsep)[0] == str(Path(__file__).parents[3])
    assert "TZ" not in child_environment()


def test_silence_ends_at_the_deadline_and_a_death_is_no_silence() -> None:
    child = Child(_python("import sys; sys.stdin.read()"))
    with pytest.raises(TimeoutError):
        child.receive(time.monotonic() + 0.1)
    child.stdin.close()
    with pytest.raises(EOFError):
        child.receive_exactly(1, _soon())
    child.end()


def test_one_that_does_not_end_is_killed_and_it_is_said_by_whom() -> None:
    code = (
        "import signal, sys, time; signal.signal(signal.SIGPIPE, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    )
    child = Child(_python(code))
    child.receive(_soon())
    assert child.end(0.1) == (-9, True) and not child.is_running()
    child = Child(_python("import os; os.kill(os.getpid(), 9)"))
    assert child.end(20.0) == (-9, False)


def test_a_program_that_is_not_there_is_an_error_of_the_system() -> None:
    with pytest.raises(OSError, match="absent"):
        Child(["/bin/absent"])


def test_an_exit_is_described() -> None:
    assert (describe_exit(-11), describe_exit(3)) == ("signal 11", "exit 3")
    assert module_command("edgedx.x", "a")[1:] == ["-m", "edgedx.x", "a"]
