"""``edgedx scan unit``: the systemd units of a scanner and of its page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .run import job_of, run

ANY_OPTION: dict[str, Any] = {"allow_extra_args": True, "ignore_unknown_options": True}


def unit(
    context: typer.Context,
    write: Annotated[
        Path | None, typer.Option(help="Write edgedx-scan.service and edgedx-page.service into this folder instead.")
    ] = None,
    page_host: Annotated[
        str, typer.Option(help="With --write, where the page is served; 0.0.0.0: the network, with TLS and PINs.")
    ] = "127.0.0.1",
    page_port: Annotated[int, typer.Option(min=1, max=65535, help="With --write, the port of the page.")] = 8443,
) -> None:
    """Print a hardened systemd unit that runs a scanner with these arguments; nothing is scanned.

    Example: edgedx scan unit inbox --bundle /srv/edgedx --out results > edgedx-scan.service

    It takes the arguments of `edgedx scan`, and gives the service no more rights than they need: its folders, and the
    network only with --pacs or --metrics-port. Paths become absolute. How to enable it stands in its first lines.
    With --write it writes the unit of the page on these results, too; `edgedx page unit` prints that one alone.
    """
    from edgedx.core.files import write_text
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
    text = scanner_unit(words, job, files=files, log=log)
    if write is None:
        typer.echo(text, nl=False)
        return
    for name, content in {"edgedx-scan": text, "edgedx-page": _page_unit(job, page_host, page_port)}.items():
        write_text(write / f"{name}.service", content)
        typer.echo(f"written   {write / name}.service")


def _page_unit(job: Any, host: str, port: int) -> str:
    from edgedx.device.install.active import installed_at
    from edgedx.device.page.serve import Address
    from edgedx.device.page.settings import PageSettings
    from edgedx.device.page.unit import page_unit

    installed = installed_at(job.bundle) if job.bundle.exists() else None
    root = installed[0] if installed is not None else None
    words = ["--out", str(job.out), "--inbox", str(job.inbox), *(["--root", str(root)] if root else [])]
    words += ["--host", host, "--port", str(port)]
    return page_unit(words, PageSettings(job.out, root, job.inbox), Address(host, port))


def _parsed(words: list[str]) -> dict[str, Any]:
    """Arguments of `edgedx scan`, by its own parser, so that a wrong one is refused as there."""
    scan = typer.Typer(add_completion=False, rich_markup_mode=None)
    scan.command("run")(run)
    return dict(typer.main.get_command(scan).make_context("edgedx scan", words.copy()).params)


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)
