"""``edgedx fleet report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.options import AsJson

from . import show


def report(
    folder: Annotated[Path, typer.Argument(help="Folder with the status files (*.status.json) of all devices.")],
    out: Annotated[Path, typer.Option(help="Page to write (.html); a twin for programs (.json) is put beside it.")],
    boxes: Annotated[
        Path | None, typer.Option(help="Folder with the .pub of every device: who is missing, and who may speak.")
    ] = None,
    repo: Annotated[
        Path | None, typer.Option(help="The repository, to know what each device should have; else what most have.")
    ] = None,
    silent_days: Annotated[float, typer.Option(min=0.01, help="Days without news that make a device silent.")] = 7.0,
    json: AsJson = False,
) -> None:
    """Write one page about all devices: which ten to call first, and why.

    Example: edgedx fleet report statuses --boxes boxes --repo repo --out fleet.html

    Exits with 1 when a device needs a call.
    """
    from edgedx.lab.fleet.report import write_report

    done = write_report(folder, out, boxes=boxes, repo=repo, silent_days=silent_days)
    show.reported(done, json=json)
