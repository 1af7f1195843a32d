"""edgedx wheelhouse."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import print_json


def wheelhouse(
    device: Annotated[str, typer.Option(help="Name of a device profile, or `this` for this machine.")],
    python: Annotated[
        str | None, typer.Option(help="Python of the device, e.g. 3.10; that of its usual system unless given.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write; wheelhouse/DEVICE-pyVERSION unless given.")] = None,
    glibc: Annotated[
        str | None, typer.Option(help="C library of the device, e.g. 2.35, where it runs another system.")
    ] = None,
    extra: Annotated[list[str] | None, typer.Option(help="Extra of edgedx that the device needs, e.g. net.")] = None,
    constraint: Annotated[Path | None, typer.Option(help="Constraints file of pip, to choose versions.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Collect all wheels that a device needs, with hashes, to install edgedx there without internet.

    Example: edgedx wheelhouse --device orin-nano-8gb

    Nothing is built from source and nothing is half-written; a package without a wheel for the device is named.
    """
    from edgedx.lab.remote.wheel_target import wheel_target
    from edgedx.lab.remote.wheelhouse import make_wheelhouse

    from .common import profile_for

    profile = profile_for(device)
    target = wheel_target(profile, python, glibc)
    folder = out or Path("wheelhouse") / f"{profile.name}-py{target.python.replace('.', '')}"
    typer.echo(f"collecting wheels for {target}", err=True)
    house = make_wheelhouse(
        profile, folder, python=python, glibc=glibc, extras=extra or [], constraint=constraint, overwrite=overwrite
    )
    if json:
        print_json({**house.record, "folder": str(house.folder), "bytes": house.bytes})
        return
    typer.echo(f"wheelhouse {house.folder}: {len(house.files)} wheels, {house.bytes / 1e6:.1f} MB, for {house.target}")
    typer.echo(f"next       edgedx deploy RUN --to USER@HOST --wheelhouse {house.folder}")
    typer.echo("           or by hand, as docs/offline-install.md says")
