"""``edgedx status``."""

from __future__ import annotations

import typer

from edgedx.cli.common import warn
from edgedx.cli.options import AsJson, Root

from . import show


def status(root: Root, json: AsJson = False) -> None:
    """Say what is installed, who signed it, whether it is on trial, and what happened last.

    Example: edgedx status --root /srv/edgedx

    A new version is on trial until it has answered an image. Exits with 5 when the active version is damaged or not
    trusted.
    """
    from edgedx.core.errors import InputOutputError
    from edgedx.device.install.status import device_status

    if not root.is_dir():
        raise InputOutputError(f"no folder {root}", next_step="name the --root that `edgedx install` was given")
    state = device_status(root)
    show.status(state, json=json)
    for problem in state.problems:
        warn(problem)
    if state.active is not None and state.active.problem:
        raise typer.Exit(5)
