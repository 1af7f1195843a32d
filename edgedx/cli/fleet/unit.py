"""``edgedx fleet unit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.options import Root


def unit(
    root: Root,
    source: Annotated[
        str, typer.Option("--from", help="Repository to take the newest release from: https://, http:// or a folder.")
    ],
    out: Annotated[Path | None, typer.Option(help="Output folder of this device's scanner.")] = None,
    to: Annotated[
        str | None, typer.Option(help="Where it goes: a folder such as a stick, or an https:// address that takes PUT.")
    ] = None,
    token: Annotated[
        Path | None, typer.Option(help="File with the word that the server asks for (Authorization: Bearer).")
    ] = None,
    timer: Annotated[bool, typer.Option("--timer", help="Print the timer; without it, the service.")] = False,
) -> None:
    """Print a hardened systemd service that updates this device and tells its status, or its timer.

    Example: edgedx fleet unit --root /srv/edgedx --from https://fleet.example.org > edgedx-update.service

    Nothing is installed by it. How to enable it stands in its first lines.
    """
    from edgedx.core.errors import UsageError
    from edgedx.device.fleet.unit import service_text, timer_text

    if (out is None) != (to is None):
        raise UsageError(
            "--out and --to go together", next_step="name the scanner's output folder and where its status goes"
        )
    typer.echo(timer_text() if timer else service_text(source, root, out=out, to=to, token=token), nl=False)
