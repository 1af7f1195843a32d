"""``edgedx fleet refresh``."""

from __future__ import annotations

from typing import Annotated

import typer

from edgedx.cli.options import AsJson

from . import show
from .options import Keys, Repo, keyring


def refresh(
    repo: Repo,
    keys: Keys,
    days: Annotated[int, typer.Option(min=1, max=366, help="How old a copy may become before devices refuse it.")] = 90,
    json: AsJson = False,
) -> None:
    """Say anew that this is the newest state: do it before a stick is filled, and on a server once a week.

    Example: edgedx fleet refresh repo --keys keys/online --days 90
    """
    ring_of_keys = keyring(keys)
    from edgedx.lab.fleet.publish import refresh as work

    show.refreshed(work(repo, ring_of_keys, days=days), json=json)
