"""edgedx install."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import print_json


def install(
    bundle: Annotated[Path, typer.Argument(help="The .edgedx file.")],
    root: Annotated[Path, typer.Option(help="Folder of the device that holds installed versions.")],
    variant: Annotated[
        str | None, typer.Option(help="Model that will serve here; the bundle's default unless given.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Verify a bundle, prove it on this machine with its golden samples, and make it the active one.

    Example: edgedx install chest.edgedx --root /srv/edgedx

    Whatever fails, the version that was active stays active.
    """
    from dataclasses import asdict

    from ..device.install import install_bundle

    done = install_bundle(bundle, root, variant=variant)
    if json:
        print_json({"schema_version": 1, **asdict(done), "current": str(done.current)})
        return
    typer.echo(f"installed {done.name}, {done.variant}, digest {done.digest[:16]}")
    typer.echo(f"golden    logits differ by {done.golden_difference:.2g} at most on this machine")
    typer.echo(f"next      edgedx scan INBOX --bundle {done.current} --out OUT")
