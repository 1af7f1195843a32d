"""``edgedx keys``: make, pin and use the keys that say who made a bundle."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.common import PASSWORD, signing_keys, warn
from edgedx.cli.options import AsJson, Root

from . import show

app = typer.Typer(
    help="Ed25519 keys: who may make bundles for a device.", no_args_is_help=True, rich_markup_mode=None,
    add_completion=False,
)  # fmt: skip


@app.command("new", short_help="Make a key: NAME.key and NAME.pub.")
def new(
    name: Annotated[str, typer.Argument(help="Name of the key, for people.")],
    out: Annotated[Path, typer.Option(help="Folder for NAME.key and NAME.pub.")] = Path(),
    password: Annotated[
        bool, typer.Option("--password", help=f"Encrypt it; asked for, or taken from {PASSWORD}.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Make a key: NAME.key signs and stays secret (mode 0600), NAME.pub goes to the devices.

    Example: edgedx keys new release-2026 --out ~/edgedx-keys
    """
    from edgedx.core.bundle.signing import new_key, read_public

    chosen: str | None = None
    if password:
        chosen = os.environ.get(PASSWORD) or str(typer.prompt("password", hide_input=True, confirmation_prompt=True))
    secret, public = new_key(name, out, chosen)
    show.new_key(read_public(public), secret, public, json=json)


@app.command("sign", short_help="Add signatures to a bundle.")
def sign(
    bundle: Annotated[Path, typer.Argument(help="The .edgedx file; a signature is appended, nothing else changes.")],
    key: Annotated[list[Path], typer.Option(help="Private key (.key) to sign with; repeatable.")],
    json: AsJson = False,
) -> None:
    """Add signatures to a bundle, on a machine without network if you like.

    Example: edgedx keys sign chest.edgedx --key release-2026.key
    """
    from edgedx.core.bundle.manifest import sign_bundle

    signatures = sign_bundle(bundle, signing_keys(key))
    show.signed(bundle, [signature.key_id for signature in signatures], json=json)


@app.command("pin", short_help="Trust a key on this device.")
def pin(
    file: Annotated[Path, typer.Argument(help="A .pub file; compare its id with its owner first.")],
    root: Root,
    json: AsJson = False,
) -> None:
    """Trust a key on this device: from then on, only what a trusted key has signed is installed and run.

    Example: edgedx keys pin release-2026.pub --root /srv/edgedx
    """
    from edgedx.device.install.trust import pin as work
    from edgedx.device.install.trust import pinned

    key = work(root, file)
    count = len(pinned(root))
    _warn_of_active(root)
    if count == 1:
        warn("it is the only one; pin a second, or losing it means visiting this device")
    show.pinned("pinned", key, count, json=json)


@app.command("unpin")
def unpin(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key: 16 hex digits.")],
    root: Root,
    json: AsJson = False,
) -> None:
    """Trust a key no longer; the last one stays.

    Example: edgedx keys unpin 90fb2b1847fbc16f --root /srv/edgedx
    """
    from edgedx.device.install.trust import pinned
    from edgedx.device.install.trust import unpin as work

    key = work(root, key_id)
    _warn_of_active(root)
    show.pinned("unpinned", key, len(pinned(root)), json=json)


@app.command("list")
def list_keys(root: Root, json: AsJson = False) -> None:
    """List the keys that a device trusts.

    Example: edgedx keys list --root /srv/edgedx
    """
    from edgedx.device.install.trust import pinned

    show.keys(pinned(root), root, json=json)


def _warn_of_active(root: Path) -> None:
    """A scanner that starts will ask for a signature by what is trusted now."""
    from edgedx.device.install.status import device_status

    active = device_status(root).active
    if active is not None and active.problem:
        warn(f"the active bundle cannot be used any more: {active.problem}")
        typer.echo("next:    sign it with a trusted key and install it again, before the scanner restarts", err=True)
