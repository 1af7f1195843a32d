"""``edgedx scan``: its commands. What is none of their names is a folder to scan."""

from __future__ import annotations

import typer

from edgedx.cli.lazy import group_with_default

from .audit import audit
from .export import export
from .outbox import outbox
from .pacs import pacs
from .retry import retry
from .run import run
from .status import status
from .unit import ANY_OPTION, unit

app = typer.Typer(
    help="Read every new image of a folder.", cls=group_with_default("run"), rich_markup_mode=None, add_completion=False
)
app.command("run")(run)
app.command("status")(status)
app.command("retry")(retry)
app.command("outbox")(outbox)
app.command("audit")(audit)
app.command("export")(export)
app.command("pacs")(pacs)
app.command("unit", context_settings=ANY_OPTION, options_metavar="INBOX --bundle BUNDLE --out OUT [OPTIONS]")(unit)
