"""edgedx install."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import print_json


def install(
    bundle: Annotated[Path, typer.Argument(help="The .edgedx file; it may lie on a read-only stick.")],
    root: Annotated[Path, typer.Option(help="Folder of the device that holds slots, trusted keys and state.")],
    variant: Annotated[
        str | None, typer.Option(help="Model that will serve here; the bundle's default unless given.")
    ] = None,
    allow_unsigned: Annotated[
        bool, typer.Option("--allow-unsigned", help="Install although no key is pinned; recorded.")
    ] = False,
    allow_older: Annotated[
        bool, typer.Option("--allow-older", help="Install although a higher version was active; recorded.")
    ] = False,
    any_device: Annotated[
        bool, typer.Option("--any-device", help="Install although it was made for another kind of machine.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Verify a bundle, prove it on this machine with its golden samples, and make it the active one.

    Example: edgedx install chest.edgedx --root /srv/edgedx

    Whatever fails, the version that was active stays active. Exits with 1 when signature, version, golden samples
    or health say no, 2 when it was made for another machine, 3 when its runtime is missing, 5 when it is damaged.
    """
    from dataclasses import asdict

    from edgedx.device.install.install import install_bundle

    done = install_bundle(
        bundle, root, variant=variant, allow_unsigned=allow_unsigned, allow_older=allow_older, any_device=any_device
    )
    if done.signed_by is None:
        typer.echo("warning: UNSIGNED: nothing says who made this bundle, and no key is pinned", err=True)
    elif done.pinned_keys == 1:
        typer.echo(
            f"warning: this device trusts one key only, {done.signed_by}; if it is lost, the device must be visited. "
            "Pin a second one: edgedx keys pin FILE.pub --root DIR",
            err=True,
        )
    if json:
        print_json({"schema_version": 1, **asdict(done), "current": str(done.current)})
        return
    typer.echo(f"installed {done.name}, {done.variant}, digest {done.digest[:16]}{', as before' * done.already}")
    typer.echo(f"signed by {done.signed_by or 'nobody'}")
    typer.echo(f"golden    logits differ by {done.golden_difference:.2g} at most on this machine")
    typer.echo(f"slot      {done.slot}{'' if done.already else '; on trial until it has answered an image'}")
    typer.echo(f"next      edgedx scan INBOX --bundle {done.current} --out OUT")
