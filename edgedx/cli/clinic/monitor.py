"""``edgedx monitor``: is the model still where it was made for?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.options import AsJson

from . import show


def monitor(
    out: Annotated[Path, typer.Argument(help="The --out of the scanner.")],
    as_usual: Annotated[
        bool,
        typer.Option("--as-usual", help="Take the last images for what is usual here, after a person has looked."),
    ] = False,
    json: AsJson = False,
) -> None:
    """Say whether images or answers have changed, how many patients have the finding, and how good the answers are.

    Example: edgedx monitor results

    The last week, or at least 200 images, is compared with what the model saw where it was made and with the site's own
    first 500 images. Disturbs no scanner, and takes less than a second.

    Exits with 1 on an alarm (yellow or red), with 0 while all is as usual or nothing can be said yet.
    """
    if as_usual:
        from edgedx.device.operation.watch import accept_as_usual as look
    else:
        from edgedx.device.monitor.examine import examine as look
    found = look(out)
    show.examination(found, out, json=json)
    if found["light"]["colour"] in ("yellow", "red"):
        raise typer.Exit(1)
