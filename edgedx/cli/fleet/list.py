"""``edgedx fleet list``."""

from __future__ import annotations

from edgedx.cli.common import warn
from edgedx.cli.options import AsJson

from . import show
from .options import Repo


def list_(repo: Repo, json: AsJson = False) -> None:
    """List releases with the share of devices that may take them, and roles with keys and days left.

    Example: edgedx fleet list repo
    """
    from edgedx.device.fleet.terms import require_tuf

    require_tuf()
    from edgedx.lab.fleet.publish import SOON_DAYS, contents

    releases, roles, waits = contents(repo)
    show.contents(releases, roles, waits, json=json)
    for one in roles:
        if one.days_left < SOON_DAYS:
            warn(f"{one.role} expires in {one.days_left} days: devices refuse this repository then")
