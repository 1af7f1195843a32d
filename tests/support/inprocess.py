"""Run the command line inside the test process: the real `main`, its output and its exit code, without the start-up."""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from edgedx.cli.app import main


@dataclass(frozen=True)
class Done:
    """What a finished command left."""

    returncode: int
    stdout: str
    stderr: str


def edgedx(folder: Path, *arguments: str) -> Done:
    """Run ``edgedx ARGUMENTS`` in `folder`, whose data sets it finds by EDGEDX_DATA."""
    environment = {"EDGEDX_DATA": str(folder), "EDGEDX_CACHE": str(folder / "cache"), "COLUMNS": "140"}
    out, err, before = io.StringIO(), io.StringIO(), Path.cwd()
    os.chdir(folder)
    try:
        with (
            mock.patch.dict(os.environ, environment),
            mock.patch.object(sys, "argv", ["edgedx", *arguments]),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            main()
        code: object = 0
    except SystemExit as end:
        code = end.code
    finally:
        os.chdir(before)
    return Done(code if isinstance(code, int) else int(bool(code)), out.getvalue(), err.getvalue())
