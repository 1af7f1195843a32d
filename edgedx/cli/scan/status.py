"""``edgedx scan status``: how a scanner does, for a person at the door and for a monitoring script."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.common import warn

from . import show


def status(
    out: Annotated[Path, typer.Argument(help="The --out of the scanner.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say whether a scanner runs and how it does, without disturbing it.

    Example: edgedx scan status results

    Exits with 0 when all is well, with 1 when it does not run, the disk is full, or an output fails. A scan of what was
    there (`--once`) that came to its end is well.
    """
    from edgedx.device.operation.heartbeat import complaints, read_heartbeat

    state = read_heartbeat(out)
    problems = complaints(state)
    show.status(state, problems, out, json=json)
    for problem in problems:
        warn(problem)
    if problems:
        raise typer.Exit(1)
