"""``edgedx fleet status``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.options import AsJson, Root

from . import show


def status(
    root: Root,
    out: Annotated[Path, typer.Option(help="Output folder of this device's scanner.")],
    to: Annotated[
        str | None, typer.Option(help="Where it goes: a folder such as a stick, or an https:// address that takes PUT.")
    ] = None,
    token: Annotated[
        Path | None, typer.Option(help="File with the word that the server asks for (Authorization: Bearer).")
    ] = None,
    json: AsJson = False,
) -> None:
    """Write how this device does, signed with its own key: counts, codes and versions, nothing of any patient.

    Example: edgedx fleet status --root /srv/edgedx --out results --to /media/stick

    What cannot be sent is kept until the next call, which tells more. Exits with 5 then.
    """
    from edgedx.device.fleet.status import tell

    show.told(tell(root, out, to, token=token), json=json)
