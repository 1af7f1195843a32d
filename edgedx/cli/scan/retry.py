"""``edgedx scan retry``: read quarantined files again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import show


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
    """List what is quarantined, or put it back into the inbox to be read again; the scanner may run meanwhile.

    Example: edgedx scan retry results 4f1c09aa3b52

    For when the reason is gone: a decoder was installed, a share came back, a new bundle takes such files. Each file
    comes back under its key and name, to the sub-folder that it was in.
    """
    from edgedx.core.errors import UsageError
    from edgedx.device.operation.heartbeat import scanned_inbox
    from edgedx.device.operation.retry import chosen, put_back, quarantined

    if every and keys:
        raise UsageError("--all and KEYs were given", next_step="leave one of them out")
    items = quarantined(out)
    files = items if every else chosen(items, keys or [])
    moved = list(put_back(out, (inbox or scanned_inbox(out)).absolute(), files)) if files else []
    show.quarantine([one for one in items if one not in files], moved, json=json)
