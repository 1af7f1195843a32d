"""``edgedx rollback``."""

from __future__ import annotations

from edgedx.cli.options import AsJson, Root

from . import show


def rollback(root: Root, json: AsJson = False) -> None:
    """Make the version before the active one again, once it is verified and tested on this machine.

    Example: edgedx rollback --root /srv/edgedx

    A device keeps two versions. Later installs are still refused when they are older than the highest version that was
    ever active.
    """
    from edgedx.device.install.rollback import rollback as work

    show.rolled_back(work(root), json=json)
