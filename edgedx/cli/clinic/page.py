"""``edgedx page``: the page of a clinic's box."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def page(
    out: Annotated[Path, typer.Option(help="The --out of the scanner.")],
    root: Annotated[Path | None, typer.Option(help="Device root that the bundle is installed in.")] = None,
    inbox: Annotated[Path | None, typer.Option(help="The scanner's inbox, for uploads.")] = None,
    host: Annotated[str, typer.Option(help="Address to serve at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8443,
) -> None:
    """Show what the scanner found, in a browser.

    Example: edgedx page --out results --inbox inbox
    """
    from edgedx.device.page.serve import serve_page
    from edgedx.device.page.settings import PageSettings

    serve_page(PageSettings(out=out, root=root, inbox=inbox), host, port)
