"""``edgedx fleet ring``."""

from __future__ import annotations

from typing import Annotated

import typer

from edgedx.cli.options import AsJson

from . import show
from .options import Keys, Repo, keyring


def ring(
    repo: Repo,
    release: Annotated[str, typer.Argument(help="NAME-VERSION, for all profiles, or NAME-VERSION-PROFILE.")],
    percent: Annotated[int, typer.Argument(min=0, max=100, help="Of the devices: 1, 10, 100; 0 withdraws it.")],
    keys: Keys,
    json: AsJson = False,
) -> None:
    """Offer a release to more devices, or withdraw it from those that do not have it yet.

    Example: edgedx fleet ring repo chest-3 10 --keys keys/release --keys keys/online

    A device that has a release keeps it: what is bad is mended by a higher version, or there by `edgedx rollback`.
    """
    ring_of_keys = keyring(keys)
    from edgedx.lab.fleet.publish import set_ring

    show.rings(set_ring(repo, release, percent, ring_of_keys), json=json)
