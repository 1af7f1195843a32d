"""``edgedx push``: onto a device over ssh."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.common import remark
from edgedx.cli.options import OfDevice

from . import show


def push(
    bundle: Annotated[Path, typer.Argument(help="A .edgedx file, or the run folder that `edgedx deploy` made one in.")],
    host: Annotated[str, typer.Argument(help="The device: user@host, or a name of your ssh configuration.")],
    device: OfDevice = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Labelled images to judge the device with: a folder per class, or a CSV (image,label)."),
    ] = None,
    pin: Annotated[
        list[Path] | None, typer.Option(help="Public key (.pub) that the device is to trust from now on; repeatable.")
    ] = None,
    folder: Annotated[
        str, typer.Option(help="Folder there for all of edgedx, absolute or below the home folder.")
    ] = "edgedx",
    wheelhouse: Annotated[
        Path | None, typer.Option(help="What `edgedx wheelhouse` wrote; made now unless given or made before.")
    ] = None,
    python: Annotated[str | None, typer.Option(help="Python there, e.g. 3.10, where it has several.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port of ssh there.")] = None,
    identity: Annotated[Path | None, typer.Option(help="Private key for ssh.")] = None,
    ssh_config: Annotated[Path | None, typer.Option(help="Configuration of ssh, instead of your own.")] = None,
    allow_unsigned: Annotated[
        bool, typer.Option("--allow-unsigned", help="Install although that device trusts no key yet; recorded there.")
    ] = False,
    allow_older: Annotated[
        bool, typer.Option("--allow-older", help="Install although a higher version was active; recorded there.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Install a bundle on a device over ssh, without internet there, and test it there.

    Example: edgedx push runs/pneumonia-mnist clinic@jetson --pin release-2026.pub

    Copies edgedx with all it needs (a wheelhouse) and the bundle, installs them, runs `edgedx doctor` and the
    bundle's golden samples there (images with the outputs that the model must give), measures latency and, with
    --data, judges the model on the device. Exits with 1 when the device says no; the version before is active again
    then. A second call sends only what is new.
    """
    from edgedx.lab.remote.push import Destination, push_bundle

    there = Destination(host, folder=folder, port=port, identity=identity, ssh_config=ssh_config, python=python)
    install_options = ["--allow-unsigned"] * allow_unsigned + ["--allow-older"] * allow_older
    done = push_bundle(
        bundle, there, device=device, wheelhouse=wheelhouse, samples=data, pins=pin or [],
        install_options=install_options, tell=remark,
    )  # fmt: skip
    show.pushed(done, json=json)
