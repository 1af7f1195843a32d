"""``edgedx scan status``: how a scanner does, for a person at the door and for a monitoring script."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from .common import print_json


def status(
    out: Annotated[Path, typer.Argument(help="The --out of the scanner.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say whether a scanner runs and how it does; it is not disturbed by being asked.

    Example: edgedx scan status results

    Exits with 0 when all is well, with 1 when it does not run, the disk is full, or an output fails.
    """
    from edgedx.core.text import printable
    from edgedx.device.operation.pulse import complaints, read_pulse

    found = read_pulse(out)
    said = complaints(found)
    if json:
        print_json({**found, "complaints": said})
    else:
        _print(found, out)
    for one in said:
        typer.echo(f"warning: {printable(one)}", err=True)
    if said:
        raise typer.Exit(1)


def _print(found: dict[str, Any], out: Path) -> None:
    from edgedx.core.text import printable

    age = "" if found["age_seconds"] is None else f", heartbeat {_ago(found['age_seconds'])} ago"
    typer.echo(f"scanner   {found['state'] if found['running'] else 'not running'}{age}")
    what = f"{found['model']}, {found['variant']} on {found['provider']}; bundle {found['bundle'][:12]}"
    typer.echo(f"model     {printable(what)}")
    by_status: dict[str, int] = {}
    for key, count in found["results"].items():
        by_status[key.partition(" ")[0]] = by_status.get(key.partition(" ")[0], 0) + count
    typer.echo(f"results   {', '.join(f'{count} {name}' for name, count in by_status.items()) or 'none yet'}")
    for name in ("refused", "quarantined"):
        codes = {key.partition(" ")[2]: count for key, count in found["results"].items() if key.startswith(name)}
        if codes:
            typer.echo(f"{name:<11} {', '.join(f'{count} {code}' for code, count in codes.items())}")
    if found["pending"]:
        waited = found["oldest_pending_seconds"]
        typer.echo(f"pending   {found['pending']}, the first for {_ago(waited or 0)} at the last beat")
    if found["absent"]:
        typer.echo(f"absent    {found['absent']} received files are not in the inbox now")
    if last := found["last_result"]:
        ago = found["age_seconds"]
        when = "" if ago is None else f", {_ago(ago + found['at'] - last['at'])} ago"
        typer.echo(f"last      number {last['sequence']}, {last['status']} {last['code'] or ''}".rstrip() + when)
    if counts := found["outbox"]:
        typer.echo(f"PACS      sent {counts['sent']}, queued {counts['queued']}, failed {counts['failed']}")
    floor = found["disk_floor"] >> 20
    typer.echo(f"disk      {found['disk_free'] >> 20} MiB free, floor {floor} MiB")
    if any(key.startswith("quarantined") for key in found["results"]):
        typer.echo(f"next      look at {out / 'quarantine'}: each file has its reason beside it")


def _ago(seconds: float) -> str:
    return str(timedelta(seconds=max(0, round(seconds))))
