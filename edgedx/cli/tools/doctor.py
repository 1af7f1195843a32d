"""``edgedx doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.common import remark
from edgedx.cli.options import AsJson

from . import show


def doctor(
    folder: Annotated[
        Path, typer.Option(help="Where bundles and results will be kept; its free space is looked at.")
    ] = Path("."),
    json: AsJson = False,
) -> None:
    """Examine this machine: the profile that fits, what is missing, and how to get it.

    Exit code 3 if something that edgedx cannot run without is missing.

    Example: edgedx doctor --json
    """
    from edgedx.device.machine.doctor import examine_here

    examination = examine_here(folder)
    show.examined(examination, json=json)
    if missing := examination.missing_required:
        remark(f"edgedx cannot run here: {', '.join(item.name for item in missing)}")
        raise typer.Exit(3)
