"""``edgedx scan pacs``: the file that --pacs of a scanner takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import show


def pacs(
    file: Annotated[Path | None, typer.Argument(help="File to check; without it an example is printed.")] = None,
    fields: Annotated[bool, typer.Option("--fields", help="List every field with its meaning.")] = False,
) -> None:
    """Print an example of the file that --pacs takes, or check one: which PACS to send to, who may send, TLS.

    Example: edgedx scan pacs > pacs.yaml

    Example: edgedx scan pacs pacs.yaml

    A check reads the file and its certificates and says what would happen; it connects to nobody. Needs `pip install
    'edgedx[net]'`.
    """
    from edgedx.core.settings.pacs import fields_of, load_pacs
    from edgedx.core.settings.shipped import shipped_folder

    if fields:
        show.pacs_fields(fields_of())
    elif file is None:
        typer.echo((shipped_folder("examples") / "pacs.yaml").read_text(encoding="utf-8"), nl=False)
    else:
        from edgedx.device.pacs.peer import peer_of
        from edgedx.device.pacs.receiver import listen_of

        settings = load_pacs(file)
        show.pacs(settings.send and peer_of(settings), settings.receive and listen_of(settings), settings, file)
