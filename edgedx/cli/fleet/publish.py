"""``edgedx fleet publish``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.common import warn
from edgedx.cli.options import AsJson

from . import show
from .options import Keys, Repo, keyring


def publish(
    repo: Repo,
    bundle: Annotated[Path, typer.Argument(help="The .edgedx file that `edgedx deploy` wrote.")],
    keys: Keys,
    ring: Annotated[int, typer.Option(min=0, max=100, help="Percent of the devices that may take it at first.")] = 1,
    json: AsJson = False,
) -> None:
    """Put a bundle into the repository, for a few devices at first.

    Example: edgedx fleet publish repo chest.edgedx --keys keys/release --keys keys/online

    Which devices are first depends on their names alone. When they do well (`edgedx fleet report`), offer it to more:
    `edgedx fleet ring`.
    """
    ring_of_keys = keyring(keys)
    from edgedx.lab.fleet.publish import publish as work

    done = work(repo, bundle, ring_of_keys, ring=ring)
    if not done.signers:
        warn("nobody has signed the bundle itself: devices with a pinned key refuse it (`edgedx keys sign`)")
    show.published(done, repo, json=json)
