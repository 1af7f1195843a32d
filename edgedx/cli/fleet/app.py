"""``edgedx fleet``: its commands, those of the workstation first."""

from __future__ import annotations

import typer

from .init import init
from .list import list_
from .publish import publish
from .refresh import refresh
from .report import report
from .ring import ring
from .rotate import rotate
from .sign import sign
from .status import status
from .trust import trust
from .unit import unit

app = typer.Typer(
    help="Update many devices from one signed repository, and see how they do.", no_args_is_help=True,
    rich_markup_mode=None, add_completion=False,
)  # fmt: skip
app.command("init", short_help="Make a repository and its keys.")(init)
app.command("publish", short_help="Put a bundle into the repository.")(publish)
app.command("ring", short_help="Offer a release to more devices, or withdraw it.")(ring)
app.command("refresh", short_help="Say anew that this is the newest state.")(refresh)
app.command("rotate", short_help="Change the keys of a role.")(rotate)
app.command("sign", short_help="Sign a change of keys that waits.")(sign)
app.command("list", short_help="Releases, rings, keys and when they expire.")(list_)
app.command("report", short_help="One page about all devices: whom to call.")(report)
app.command("trust", short_help="On a device: take updates from this repository.")(trust)
app.command("unit", short_help="On a device: systemd service and timer.")(unit)
app.command("status", short_help="On a device: a signed summary, without patients.")(status)
