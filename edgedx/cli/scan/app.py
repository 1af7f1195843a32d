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
app.command("run", short_help="Read every new image of a folder; 'run' need not be typed.")(run)
app.command("status", short_help="Say whether a scanner runs and how it does.")(status)
app.command("retry", short_help="Read quarantined files again.")(retry)
app.command("outbox", short_help="What waits for the PACS.")(outbox)
app.command("audit", short_help="Prove that the audit log is whole.")(audit)
app.command("export", short_help="De-identified copies of images with results.")(export)
app.command("pacs", short_help="Example and check of the file of --pacs.")(pacs)
app.command(
    "unit",
    short_help="A systemd unit for a scanner.",
    context_settings=ANY_OPTION,
    options_metavar="INBOX --bundle BUNDLE --out OUT [OPTIONS]",
)(unit)
