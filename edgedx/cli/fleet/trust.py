"""``edgedx fleet trust``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.options import AsJson, Root

from . import show


def trust(
    file: Annotated[Path, typer.Argument(help="metadata/1.root.json of the repository, carried here by hand.")],
    root: Root,
    box: Annotated[str | None, typer.Option(help="Name of this device in its fleet; needed the first time.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Trust it in the place of another: that one's keys are lost.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Take updates from this repository from now on, and give this device its name and its own key.

    Example: edgedx fleet trust 1.root.json --root /srv/edgedx --box clinic-017

    Compare the ids of the root keys with those of whoever made the repository. Later roots are followed by themselves.
    """
    from edgedx.device.fleet.trust import trust as work

    show.trusted(work(root, file, name=box, replace=replace), root, json=json)
