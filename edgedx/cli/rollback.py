"""edgedx rollback."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import print_json


def rollback(
    root: Annotated[Path, typer.Option(help="Folder of the device that holds slots, trusted keys and state.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make the other slot the active one again, once it is verified and proven on this machine.

    Example: edgedx rollback --root /srv/edgedx

    Later bundles are still refused when they are older than the highest version that was ever active.
    """
    from dataclasses import asdict

    from edgedx.device.install.rollback import rollback as work

    done = work(root)
    if json:
        print_json({"schema_version": 1, **asdict(done), "current": str(done.current)})
        return
    typer.echo(f"active    {done.name}, slot {done.slot}, digest {done.digest[:16]}")
    typer.echo(f"left      {done.left or 'a slot that could not be read'}")
    typer.echo(f"golden    logits differ by {done.golden_difference:.2g} at most on this machine")
    typer.echo("next      restart the scanner: it keeps what it opened")
