"""``edgedx fleet init``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.common import PASSWORD
from edgedx.cli.options import AsJson

from . import show
from .options import Repo


def init(
    repo: Repo,
    keys: Annotated[Path, typer.Option(help="Folder for its keys: offline/, release/ and online/.")],
    root_keys: Annotated[int, typer.Option(min=1, help="How many root keys there are.")] = 3,
    threshold: Annotated[int, typer.Option(min=1, help="How many of them must sign.")] = 2,
    password: Annotated[
        bool, typer.Option("--password", help=f"Encrypt it; asked for, or taken from {PASSWORD}.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Make a repository, and the keys that say what is in it.

    Example: edgedx fleet init repo --keys keys

    Keys that are there are used. Afterwards carry keys/offline/ to different safes: it is needed only to change keys.
    keys/release/ belongs to whoever publishes, keys/online/ to the machine that refreshes.
    """
    from edgedx.device.fleet.terms import require_tuf

    require_tuf()
    from edgedx.cli.common import signing_keys
    from edgedx.lab.fleet.start import create

    chosen: str | None = None
    if password:
        chosen = os.environ.get(PASSWORD) or str(typer.prompt("password", hide_input=True, confirmation_prompt=True))
    done = create(
        repo,
        keys,
        root_keys=root_keys,
        threshold=threshold,
        password=chosen,
        load=lambda path: signing_keys([path])[0],
    )
    show.created(done, repo, json=json)
