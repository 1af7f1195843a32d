"""``edgedx wheelhouse``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.common import profile_for, remark
from edgedx.cli.options import AsJson, Device, Overwrite

from . import show


def wheelhouse(
    device: Device,
    python: Annotated[
        str | None, typer.Option(help="Python of the device, e.g. 3.10; that of its usual system unless given.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write; wheelhouse/DEVICE-pyVERSION unless given.")] = None,
    glibc: Annotated[
        str | None, typer.Option(help="C library of the device, e.g. 2.35, where it runs another system.")
    ] = None,
    extra: Annotated[
        list[str] | None, typer.Option(help="Extra of edgedx that the device needs, e.g. net for a PACS; repeatable.")
    ] = None,
    constraint: Annotated[Path | None, typer.Option(help="Constraints file of pip, to choose versions.")] = None,
    overwrite: Overwrite = False,
    json: AsJson = False,
) -> None:
    """Collect the packages (wheels) that a device needs, with hashes, to install edgedx there without internet.

    Example: edgedx wheelhouse --device orin-nano-8gb

    Nothing is built from source and nothing is half-written; a package without a wheel for the device is named.
    """
    from edgedx.lab.remote.wheel_target import wheel_target
    from edgedx.lab.remote.wheelhouse import make_wheelhouse

    profile = profile_for(device)
    target = wheel_target(profile, python, glibc)
    folder = out or Path("wheelhouse") / f"{profile.name}-py{target.python.replace('.', '')}"
    remark(f"collecting wheels for {target}")
    house = make_wheelhouse(
        profile, folder, python=python, glibc=glibc, extras=extra or [], constraint=constraint, overwrite=overwrite
    )
    show.collected(house, json=json)
