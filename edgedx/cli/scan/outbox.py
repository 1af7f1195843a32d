"""``edgedx scan outbox``: what waits for the PACS."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import show


def outbox(
    out: Annotated[Path, typer.Argument(help="The --out of the scanner.")],
    retry: Annotated[bool, typer.Option("--retry", help="Try what failed for good once more.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what waits for the PACS, what it got, and what it refused for good.

    Example: edgedx scan outbox results --retry
    """
    from edgedx.core.errors import InputOutputError
    from edgedx.device.pacs.outbox import Outbox, folder_of

    path = folder_of(out) / "outbox.sqlite"
    if not path.is_file():
        raise InputOutputError(f"nothing was ever queued in {out}", next_step="scan with --sr --pacs FILE.yaml")
    box = Outbox(path, read_only=not retry)
    try:
        again = box.retry() if retry else 0
        counts, failed = box.counts(), box.failed()
    finally:
        box.close()
    show.outbox(counts, failed, again, out, json=json)
