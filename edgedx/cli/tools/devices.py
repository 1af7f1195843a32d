"""``edgedx devices``: list, show and match device profiles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.options import AsJson

from . import show

app = typer.Typer(
    help="Device profiles: what edgedx knows of a device.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@app.command("list")
def list_devices(json: AsJson = False) -> None:
    """List the device profiles that edgedx knows.

    Example: edgedx devices list
    """
    from edgedx.core.settings.profile import load_profiles

    show.profiles(load_profiles(), json=json)


@app.command("show")
def show_device(
    name: Annotated[str, typer.Argument(help="Name of a profile (`edgedx devices list`), or path of a .yaml file.")],
    json: AsJson = False,
) -> None:
    """Show one profile with meaning and source of each field.

    Example: edgedx devices show orin-nano-8gb
    """
    from edgedx.core.settings.profile import load_profile

    show.profile(load_profile(name), json=json)


@app.command("match", short_help="Say which profile fits this machine, and why.")
def match_device(
    file_system: Annotated[
        Path, typer.Option(help="Root of the machine's file system; another is a mounted disk or a recording.")
    ] = Path("/"),
    json: AsJson = False,
) -> None:
    """Say which profile fits this machine, and why; on a Jetson also how edgedx runs on its JetPack.

    Example: edgedx devices match
    """
    from edgedx.core.settings.profile import load_profiles
    from edgedx.device.machine.hardware import read_hardware
    from edgedx.device.machine.match import match_profile

    hardware = read_hardware(file_system)
    profile, reason = match_profile(hardware, load_profiles())
    show.matched(profile, reason, hardware, json=json)
