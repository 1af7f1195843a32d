"""``edgedx fleet rotate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.options import AsJson

from . import show
from .options import Keys, Repo, keyring


def rotate(
    repo: Repo,
    role: Annotated[str, typer.Argument(help="root, targets, releases, snapshot or timestamp.")],
    keys: Keys,
    add: Annotated[list[Path] | None, typer.Option(help="Public key (.pub) to add to it; repeatable.")] = None,
    revoke: Annotated[list[str] | None, typer.Option(help="Id of a key to take from it; repeatable.")] = None,
    threshold: Annotated[int | None, typer.Option(min=1, help="How many of its keys must sign from now on.")] = None,
    json: AsJson = False,
) -> None:
    """Give a role other keys: one was lost, was stolen, or somebody left. Devices follow by themselves.

    Example: edgedx fleet rotate repo releases --add new.pub --revoke 90fb2b1847fbc16f --keys keys

    Needed are the keys of who delegates (root, or targets for releases), the new key, and those online. Where root keys
    lie in different places, the change waits until enough have signed: `edgedx fleet sign`. Without changes, what the
    role says is signed anew, until it expires again.
    """
    ring_of_keys = keyring(keys)
    from edgedx.lab.fleet.rotate import rotate as work

    done = work(repo, role, ring_of_keys, add=add or (), remove=revoke or (), threshold=threshold)
    show.rotated(done, repo, json=json)
