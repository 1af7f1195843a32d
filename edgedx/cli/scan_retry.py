"""``edgedx scan retry``: give quarantined files another chance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import print_json


def retry(
    out: Annotated[Path, typer.Argument(help="The --out of the scanner.")],
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY]...", help="As a quarantined file's name begins.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All that is quarantined.")] = False,
    inbox: Annotated[
        Path | None, typer.Option(help="The scanner's inbox; the one that it scanned last unless given.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what is quarantined, or put it back into the inbox with fresh attempts; the scanner may run meanwhile.

    Example: edgedx scan retry results 4f1c09aa3b52

    For when the reason is gone: a decoder was installed, a share came back, a new bundle takes such files. Each file
    comes back under its key and name, to the sub-folder that it was in.
    """
    from dataclasses import asdict

    from edgedx.core.errors import UsageError
    from edgedx.core.text import printable
    from edgedx.device.operation.pulse import scanned_inbox
    from edgedx.device.operation.retry import chosen, put_back, quarantined

    if every and keys:
        raise UsageError("--all and KEYs were given", next_step="leave one of them out")
    found = quarantined(out)
    files = found if every else chosen(found, keys or [])
    moved = list(put_back(out, (inbox or scanned_inbox(out)).absolute(), files)) if files else []
    if json:
        left = [{**asdict(one), "path": str(one.path)} for one in found if one not in files]
        print_json({"schema_version": 1, "moved": [str(path) for path in moved], "quarantined": left})
        return
    if moved:
        typer.echo(f"moved     {len(moved)} back into the inbox")
    left_over = len(found) - len(files)
    typer.echo(f"left      {left_over} in quarantine" if left_over else "nothing is in quarantine")
    if not files:
        for one in found:
            typer.echo(f"  {one.key}  {printable(one.code or '-')}  {printable(one.name or one.path.name)}")
