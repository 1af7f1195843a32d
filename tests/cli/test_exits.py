"""How a command ends: one sentence and the documented exit code, whatever goes wrong; a traceback only on request."""

from __future__ import annotations

import errno
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from inprocess import edgedx

from edgedx.cli.exits import exit_code_of
from edgedx.core.errors import EdgedxError, GateRefused, MissingError, StorageError, UsageError

PATIENT = "DOE^JANE"


class Panic(BaseException):
    """As PyO3's PanicException, which cryptography and safetensors raise: no Exception."""


def _raise(error: BaseException) -> Callable[[], object]:
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    "error",
    [
        ValueError(f"embedded null byte in {PATIENT}.png"), KeyError(PATIENT), AssertionError(PATIENT),
        RecursionError(PATIENT), MemoryError(PATIENT), sqlite3.DatabaseError(PATIENT), FileNotFoundError(2, PATIENT),
        UnicodeDecodeError("utf-8", PATIENT.encode(), 0, 1, PATIENT), ModuleNotFoundError(PATIENT, name="yaml"),
        Panic(PATIENT), EdgedxError("an invariant does not hold"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_what_nobody_foresaw_is_a_bug_and_never_a_gate_that_said_no(
    error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    """fabkho/the-i18n-kit#369, ing-bank/INGenious#319: a crash and a 'no' had one exit code."""
    assert exit_code_of(_raise(error)) == 70
    said = capsys.readouterr()
    assert said.out == "" and "Traceback" not in said.err and PATIENT not in said.err
    if not isinstance(error, EdgedxError):
        assert type(error).__name__ in said.err and "next:  report that line" in said.err
        assert len(said.err.splitlines()) == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [(GateRefused("no"), 1), (UsageError("no"), 2), (MissingError("no"), 3), (StorageError("no"), 5),
     (OSError(errno.ENOSPC, "full"), 5), (OSError(errno.EDQUOT, "full"), 5),
     (ModuleNotFoundError("torch", name="torch.nn"), 3), (KeyboardInterrupt(), 130), (BrokenPipeError(), 141)],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_was_foreseen_has_its_own_code(error: BaseException, code: int) -> None:
    assert exit_code_of(_raise(error)) == code


def test_a_traceback_is_printed_on_request(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("EDGEDX_TRACEBACK", "0")
    assert exit_code_of(_raise(ValueError("detail"))) == 70 and "detail" not in capsys.readouterr().err
    monkeypatch.setenv("EDGEDX_TRACEBACK", "1")
    assert exit_code_of(_raise(ValueError("detail"))) == 70
    said = capsys.readouterr().err
    assert "Traceback" in said and "detail" in said and said.splitlines()[-2].startswith("error: ")


def test_a_question_that_nobody_answers_is_no_gate() -> None:
    app = typer.Typer()

    @app.command()
    def ask() -> None:
        raise typer.Abort

    assert exit_code_of(lambda: app([])) == 2


CRASH = """
import sys
import edgedx.core.settings.profile as profile
def broken(*a, **k): raise ValueError('DOE^JANE')
profile.load_profiles = profile.load_profile = profile.list_profiles = broken
from edgedx.cli.app import main
sys.argv = ['edgedx', 'devices', 'show', 'orin-nano-8gb']
main()
"""


def test_the_message_names_the_file_and_line_and_no_path_of_this_machine() -> None:
    done = subprocess.run([sys.executable, "-c", CRASH], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 70 and done.stdout == ""
    assert "ValueError in edgedx/cli/tools/devices.py:" in done.stderr and "DOE" not in done.stderr
    assert str(Path(__file__).parents[2]) not in done.stderr


@pytest.mark.parametrize(
    "arguments", [["devices", "list"], ["recipes", "list"], ["--help"], ["devices", "show", "orin-nano-8gb"]]
)
def test_a_reader_that_goes_away_ends_a_command_quietly(arguments: list[str]) -> None:
    """``edgedx devices list | head -1``: 141, as a program has that dies of SIGPIPE; 1 would be a gate that said no."""
    command = subprocess.Popen(
        [sys.executable, "-m", "edgedx", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert command.stdout is not None and command.stderr is not None
    command.stdout.close()  # long before Python has started
    said = command.stderr.read()
    command.stderr.close()
    assert (command.wait(120), said) == (141, b"")


def test_output_to_a_full_disk_is_an_error_of_files() -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "edgedx", "devices", "list"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=120, check=False)
    assert done.returncode == 5 and b"no space left" in done.stderr and b"Traceback" not in done.stderr


INTERRUPT = """
import os, signal, sys
import edgedx.core.settings.profile as profile
def interrupted(*a, **k): os.kill(os.getpid(), signal.SIGINT); signal.pause()
profile.load_profiles = profile.load_profile = profile.list_profiles = interrupted
from edgedx.cli.app import main
sys.argv = ['edgedx', 'devices', 'show', 'orin-nano-8gb']
main()
"""


def test_ctrl_c_ends_with_130_and_one_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPT], capture_output=True, text=True, timeout=120, check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert done.returncode == 130 and "Traceback" not in done.stderr
    assert done.stderr == "error: stopped; nothing is half-written\nnext:  edgedx devices show orin-nano-8gb\n"


def test_a_wrong_option_is_still_a_wrong_call(tmp_path: Path) -> None:
    assert edgedx(tmp_path, "devices", "--no-such-option").returncode == 2
    assert edgedx(tmp_path, "no-such-command").returncode == 2
    assert edgedx(tmp_path, "--version").returncode == 0
