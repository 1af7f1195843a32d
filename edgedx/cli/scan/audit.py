"""``edgedx scan audit``: prove that the audit log of a scanner was not changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import show


def audit(
    out: Annotated[Path, typer.Argument(help="The --out of the scanner.")],
    head: Annotated[
        str | None, typer.Option(help="Hash of the last line, as an earlier call printed it: it must still be there.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Prove that a scanner's audit log is whole: a line that was changed, removed or added is named.

    Example: edgedx scan audit results --head 4b1f...

    Each line holds the hash of the line before it. Lines removed from the end, or a log written anew from its first
    line, are found only with a --head that was noted elsewhere: note the one that is printed now. A log whose end was
    not ours was put aside, and is named here. Exits with 1 where the chain is broken, or such a log still lies in OUT:
    keep it elsewhere as evidence.
    """
    from edgedx.device.operation.audit import verify
    from edgedx.device.operation.audit_file import AUDIT

    chain = verify(out / AUDIT, head)
    show.audit(chain, out / AUDIT, noted=head is not None, json=json)
    if not chain.intact:
        raise typer.Exit(1)
