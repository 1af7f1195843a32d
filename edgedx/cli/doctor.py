"""``edgedx doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def doctor(
    folder: Annotated[
        Path, typer.Option(help="Where bundles and results will be kept; its free space is looked at.")
    ] = Path("."),
    as_json: Annotated[bool, typer.Option("--json", help="Print only JSON.")] = False,
) -> None:
    """Examine this machine: the profile that fits, what is missing, and how to get it.

    Exit code 3 if something that edgedx cannot run without is missing.

    Example: edgedx doctor --json
    """
    from edgedx.device.machine.doctor import examine_here

    examination = examine_here(folder)
    missing = examination.missing_required
    if as_json:
        import json
        from dataclasses import asdict

        document = {"schema_version": 1, "fit": not missing, **asdict(examination)}
        typer.echo(json.dumps(document, indent=2))
    else:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table("", "found", "status", "what to do", box=None, pad_edge=False)
        colour = {"ok": "green", "warning": "yellow", "missing": "red"}
        for item in examination.findings:
            shade = colour[item.status] if item.required or item.status != "missing" else "yellow"
            status = item.status if item.required or item.status != "missing" else "not there"
            table.add_row(Text(item.name), Text(item.value), Text(status, style=shade), Text(item.how))
        Console().print(table)
    if missing:
        names = ", ".join(item.name for item in missing)
        typer.echo(f"edgedx cannot run here: {names}", err=True)
        raise typer.Exit(3)
