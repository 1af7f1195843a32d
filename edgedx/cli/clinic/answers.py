"""``edgedx answers``: what people said of the model's answers, here and to take away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.options import AsJson

from . import show_answers as show

app = typer.Typer(
    help="What people said of the model's answers.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)
Out = Annotated[Path, typer.Argument(help="The --out of the scanner and the page.")]


@app.command("show", short_help="How many, how often they agree, what blind answers say.")
def show_(out: Out, json: AsJson = False) -> None:
    """Count the answers, and say what the blind ones tell of the model.

    Example: edgedx answers show results

    Answers that were given after the model's answer was seen follow it: they are counted, and no figure of the model is
    made of them.
    """
    from edgedx.device.clinic.agreement import agreement

    show.agreed(agreement(out), json=json)


@app.command("export", short_help="One signed file to take away.")
def export(
    out: Out,
    to: Annotated[Path, typer.Option(help="The file to write, e.g. north.answers.")],
    bundle: Annotated[
        Path, typer.Option(help="The model: a .edgedx file, or the --root that `edgedx install` was given.")
    ],
    site: Annotated[str, typer.Option(help="What the clinic calls itself: letters, digits, '.', '_' and '-'.")],
    images: Annotated[
        bool, typer.Option("--images", help="With the images as the model saw them, without their headers.")
    ] = False,
    pixels_checked: Annotated[
        bool, typer.Option("--pixels-checked", help="Somebody has looked: no name is burned into any image.")
    ] = False,
    key: Annotated[list[Path] | None, typer.Option(help="Private key (.key) to sign with; repeatable.")] = None,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Without a signature; few will take it.")] = False,
    since: Annotated[str, typer.Option(metavar="DAY", help="Only answers of this day and later, as 2026-11-27.")] = "",
    until: Annotated[str, typer.Option(metavar="DAY", help="Only answers of this day and earlier.")] = "",
    inbox: Annotated[
        Path | None, typer.Option(help="The scanner's inbox; the one that it scanned last unless given.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Write the answers to one bundle into one signed file for `edgedx update`: no names, no free text.

    Example: edgedx answers export results --bundle /srv/edgedx --to north.answers --site north --key north.key --images

    An image is left out where nothing says that no name is in its pixels (BurnedInAnnotation NO); --pixels-checked
    says that somebody has looked. Exits with 1 where images were left out; it says how many and why.
    """
    from edgedx.cli.common import signing_keys
    from edgedx.core.errors import UsageError
    from edgedx.device.export.export_answers import Asked, export_answers
    from edgedx.device.install.active import open_any
    from edgedx.device.operation.heartbeat import scanned_inbox

    if unsigned == bool(key):
        raise UsageError(
            "--key and --unsigned exclude each other" if key else "an export is signed",
            next_step="--key FILE.key; `edgedx keys new NAME` makes one",
        )
    for option, day in (("--since", since), ("--until", until)):
        _check_day(option, day)
    place = inbox or (scanned_inbox(out) if images else None)
    asked = Asked(site, images, pixels_checked, since, until, place)
    written = export_answers(open_any(bundle), out, to, asked, signing_keys(key or []))
    show.exported(written, to, signed=bool(key), json=json)


def _check_day(option: str, day: str) -> None:
    from datetime import date

    from edgedx.core.errors import UsageError

    try:
        good = not day or date.fromisoformat(day).isoformat() == day
    except ValueError:
        good = False
    if not good:
        raise UsageError(f"{option} {day}: no such day", next_step="write it as 2026-11-27")
