"""``edgedx install``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.common import warn
from edgedx.cli.options import Root

from . import show


def install(
    bundle: Annotated[Path, typer.Argument(help="The .edgedx file; it may lie on a read-only stick.")],
    root: Root,
    variant: Annotated[
        str | None, typer.Option(help="Model of the bundle that will run here, e.g. fp32; its default unless given.")
    ] = None,
    allow_unsigned: Annotated[
        bool, typer.Option("--allow-unsigned", help="Install although this device trusts no key yet; recorded.")
    ] = False,
    allow_older: Annotated[
        bool, typer.Option("--allow-older", help="Install although a higher version was active; recorded.")
    ] = False,
    any_device: Annotated[
        bool, typer.Option("--any-device", help="Install although it was made for another kind of machine.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Verify a bundle, test it on this machine with images that it brings along, and make it active.

    Example: edgedx install chest.edgedx --root /srv/edgedx

    The images, its golden samples, have outputs with them that the model must give here too. Whatever fails, the
    version that was active stays active. Exits with 1 when signature, version, golden samples or health say no, 2 when
    it was made for another machine, 3 when its runtime is missing, 5 when it is damaged.
    """
    from edgedx.device.install.install import install_bundle

    done = install_bundle(
        bundle, root, variant=variant, allow_unsigned=allow_unsigned, allow_older=allow_older, any_device=any_device
    )
    if done.signed_by is None:
        warn("UNSIGNED: nothing says who made this bundle, and no key is pinned")
    elif done.pinned_keys == 1:
        warn(
            f"this device trusts one key only, {done.signed_by}; if it is lost, the device must be visited. "
            "Pin a second one: edgedx keys pin FILE.pub --root DIR"
        )
    show.installed(done, json=json)
