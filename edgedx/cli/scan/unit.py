"""``edgedx scan unit``: the systemd unit of a scanner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from .run import job_of, run

ANY_OPTION: dict[str, Any] = {"allow_extra_args": True, "ignore_unknown_options": True}


def unit(context: typer.Context) -> None:
    """Print a hardened systemd unit that runs a scanner with these arguments; nothing is scanned.

    Example: edgedx scan unit inbox --bundle /srv/edgedx --out results > edgedx-scan.service

    It takes the arguments of `edgedx scan`, and gives the service no more rights than they need: its folders, and the
    network only with --pacs or --metrics-port. Paths become absolute. How to enable it stands in its first lines.
    """
    from edgedx.device.operation.unit import scanner_unit

    words = list(context.args)
    given = _parsed(words)
    log, pacs = _path(given.pop("log")), _path(given.pop("pacs"))
    for name in ("verbose", "json"):
        given.pop(name)
    for name in ("inbox", "bundle", "out"):
        given[name] = Path(given[name])
    job = job_of(pacs=pacs, **given)
    files = [pacs, *job.pacs.files()] if pacs else []
    typer.echo(scanner_unit(words, job, files=files, log=log), nl=False)


def _parsed(words: list[str]) -> dict[str, Any]:
    """Arguments of `edgedx scan`, by its own parser, so that a wrong one is refused as there."""
    scan = typer.Typer(add_completion=False, rich_markup_mode=None)
    scan.command("run")(run)
    return dict(typer.main.get_command(scan).make_context("edgedx scan", words.copy()).params)


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)
