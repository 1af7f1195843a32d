"""ONNX to a TensorRT engine, in a child process: one code for TensorRT 8.5 to 11 and TensorRT for RTX.

The builder is a compiler of a million lines beside a driver: it may crash, hang or be ended for want of memory. The
child (`build_worker`) is what dies of that; the parent keeps its time limit and says what to do. Precision is in the
graph: the network is strongly typed wherever TensorRT can (10 on); on 8.x the same graph gets the FP16 and INT8 flags.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from edgedx.core.errors import EdgedxError, MissingError, ProviderMissing, UnsupportedModel
from edgedx.core.files import storage_error
from edgedx.core.progress import progress
from edgedx.device.machine.child import Child, describe_exit, module_command

from .engine_settings import MIB, BuildReport, BuildSettings, Built, easier

SECONDS = 1800.0
"""Longest build unless told otherwise: boards of 4 GB that swap have been seen to take many minutes."""
_GPU_VARIABLES = ("LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_MODULE_LOADING")
_MAX_LINE = 1 << 20
_SIGKILL = -9


class _OutOfMemory(Exception):
    """The child ran out of memory, or was ended because of it."""


def build_engine(
    model: bytes,
    settings: BuildSettings,
    *,
    seconds: float = SECONDS,
    folder: Path | None = None,
    quiet: bool = False,
    command: Sequence[str] | None = None,
) -> Built:
    """Build an engine in a child process.

    Parameters
    ----------
    model : bytes
        ONNX with a dynamic or fixed batch.
    seconds : float
        The child is ended after this long.
    folder : Path, optional
        Where the child writes; on a disk with room for the engine.
    quiet : bool
        Draw no progress bar.
    command : sequence of str, optional
        The child; given by tests.

    Raises
    ------
    UnsupportedModel
        TensorRT refuses the graph; names the node and the reason.
    MissingError
        Time or memory ran out, twice; says what frees some.
    ProviderMissing
        The library is missing, finds no GPU, or the builder died.
    StorageError
        The folder cannot be written.
    """
    command = command or module_command("edgedx.device.runtime.build_worker")
    deadline = time.monotonic() + seconds
    try:
        with tempfile.TemporaryDirectory(prefix=".building-", dir=folder) as work:
            Path(work, "model.onnx").write_bytes(model)
            try:
                return _build(settings, Path(work), command, deadline, seconds, quiet, 1)
            except _OutOfMemory:
                pass
            try:
                return _build(easier(settings), Path(work), command, deadline, seconds, quiet, 2)
            except _OutOfMemory as error:
                raise MissingError(
                    f"memory ran short while TensorRT built the engine, with a workspace of "
                    f"{easier(settings).workspace_bytes // MIB} MiB too ({error})",
                    next_step="close the desktop (sudo systemctl isolate multi-user.target), add swap, then repeat; "
                    "or run on the CPU with --variant fp32",
                ) from error
    except OSError as error:
        raise storage_error(folder or Path(tempfile.gettempdir()), error) from error


def _build(
    settings: BuildSettings,
    work: Path,
    command: Sequence[str],
    deadline: float,
    seconds: float,
    quiet: bool,
    attempt: int,
) -> Built:
    with progress(f"building {settings.precision} engine", 100, quiet=quiet) as bar:
        child = _start(command)
        shown, phase = 0.0, ""

        def advance(message: dict[str, Any]) -> None:
            nonlocal shown, phase
            done = 100 * float(message["done"])
            if done > shown:
                # A note is a line where there is no terminal: one for each phase, not for each step.
                bar.advance(done - shown, str(message["phase"]) if message["phase"] != phase else "")
                shown, phase = done, message["phase"]

        try:
            answer = _converse(child, {**asdict(settings), "folder": str(work)}, deadline, advance)
        except TimeoutError:
            child.kill()
            raise MissingError(
                f"TensorRT took longer than {seconds:.0f} s to build the engine, and was ended",
                next_step="give it longer with --timeout, close other programs, or build with --level 1",
            ) from None
        except ValueError:  # no JSON: not our child's words
            answer = None
        except BaseException:  # Ctrl-C
            child.kill()
            raise
        finally:
            code, killed = child.end()
    if answer is None:
        _died(0 if killed else code)
    if "error" in answer:
        _refused(str(answer["error"]), str(answer.get("message", "")))
    report = BuildReport(
        library=str(answer["library"]),
        layers=int(answer["layers"]),
        types={str(key): int(value) for key, value in answer["types"].items()},
        weighted={str(key): int(value) for key, value in answer["weighted"].items()},
        seconds=float(answer["seconds"]),
        peak_mb=float(answer["peak_mb"]),
        attempts=attempt,
        warnings=tuple(str(text) for text in answer["warnings"]),
    )
    return Built((work / "engine.plan").read_bytes(), report)


def _start(command: Sequence[str]) -> Child:
    try:
        return Child(command, inherited=_GPU_VARIABLES)
    except OSError as error:
        raise MissingError(f"the builder process does not start: {error.strerror}") from error


def _converse(
    child: Child, request: dict[str, Any], deadline: float, advance: Callable[[dict[str, Any]], None]
) -> dict[str, Any] | None:
    """Send the request, pass progress on, and return the last message; None where the child died without one."""
    with contextlib.suppress(BrokenPipeError):
        child.send(json.dumps(request).encode())
        child.stdin.close()
    pending = b""
    while True:
        block = child.receive(deadline)
        if not block or len(pending) > _MAX_LINE:
            return None
        *lines, pending = (pending + block).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "phase" not in message:
                return dict(message)
            advance(message)


def _died(code: int) -> NoReturn:
    if code == _SIGKILL:  # nobody but the kernel's out-of-memory killer, to which the child offers itself
        raise _OutOfMemory("the kernel ended it")
    raise ProviderMissing(
        f"TensorRT's builder died ({describe_exit(code)})",
        next_step="repeat; if it dies again, run on the CPU with --variant fp32 and report it",
    )


def _refused(kind: str, message: str) -> NoReturn:
    if kind == "memory":
        raise _OutOfMemory(message)
    errors: dict[str, EdgedxError] = {
        "parse": UnsupportedModel(
            f"TensorRT's parser refuses the model: {message}",
            next_step="update JetPack (`edgedx deploy` says which takes it), or run on the CPU with --variant fp32",
        ),
        "library": ProviderMissing(message, next_step="run `edgedx doctor`"),
    }
    raise errors.get(kind) or UnsupportedModel(
        f"TensorRT cannot build the model: {message}",
        next_step="choose another variant, or run --variant fp32 on the CPU",
    )
