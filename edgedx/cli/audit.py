"""``edgedx audit``: prove that the audit log of a scanner was not changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import print_json

app = typer.Typer(help="The audit log of a scanner.", no_args_is_help=True, rich_markup_mode=None, add_completion=False)


@app.callback()
def group() -> None:
    """The audit log of a scanner."""


@app.command("verify")
def verify(
    out: Annotated[Path, typer.Argument(help="The --out of the scanner.")],
    head: Annotated[
        str | None, typer.Option(help="Hash of the last line, as an earlier verify printed it: it must still be there.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Walk the chain of hashes: a line that was changed, removed or put in breaks it, and is named.

    Example: edgedx audit verify results --head 4b1f...

    Lines removed from the end, or a log written anew from its first line, are found only with a --head that was noted
    elsewhere: note the one that is printed now. A log whose end was not ours was put aside, and is named here. Exits
    with 1 where the chain is broken, or a log was put aside.
    """
    from dataclasses import asdict

    from edgedx.device.operation.audit import verify as walk
    from edgedx.device.operation.audit_file import AUDIT

    found = walk(out / AUDIT, head)
    if json:
        print_json({"schema_version": 1, "intact": found.intact, **asdict(found)})
    elif found.broken_line is None:
        typer.echo(f"intact    {found.lines} events in {out / AUDIT}")
        typer.echo(f"head      {found.head}")
        if found.torn:
            typer.echo("note      the last line has no end, as a crash leaves it; the next scanner records that")
        if head is None:
            typer.echo("next      note the head elsewhere: only with it are lines missed that were cut off the end")
    else:
        typer.echo(f"broken    {out / AUDIT}, line {found.broken_line}: {found.problem}")
        typer.echo(f"          the {found.lines} lines before it are as they were written")
    if not json:
        for one in found.aside:
            typer.echo(f"aside     {out / one.file}: {one.problem or 'as it was when it was put aside'}")
    if not found.intact:
        raise typer.Exit(1)
