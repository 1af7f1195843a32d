"""Options that several of these commands have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgedx.cli.common import signing_keys

if TYPE_CHECKING:
    from edgedx.lab.fleet.keys import Keyring

Repo = Annotated[Path, typer.Argument(help="Folder of the repository: what the web server, or the stick, holds.")]
Keys = Annotated[
    list[Path], typer.Option("--keys", help="Folder with the keys (.key and .pub) that are needed; repeatable.")
]


def keyring(folders: list[Path]) -> Keyring:
    """The keys in some folders; the password of an encrypted one is asked for when it is needed."""
    from edgedx.device.fleet.terms import require_tuf

    require_tuf()
    from edgedx.lab.fleet.keys import Keyring

    return Keyring(folders, lambda path: signing_keys([path])[0])
