"""``edgedx keys``: make, pin and use the keys that say who made a bundle."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgedx.core.bundle.signing import SigningKey

PASSWORD = "EDGEDX_KEY_PASSWORD"

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Root = Annotated[Path, typer.Option(help="Folder of the device that holds slots, trusted keys and state.")]

app = typer.Typer(
    help="Ed25519 keys: who may make bundles for a device.", no_args_is_help=True, rich_markup_mode=None,
    add_completion=False,
)  # fmt: skip


@app.command("new")
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
    key = read_public(public)
    if json:
        print_json({"schema_version": 1, "id": key.id, "name": key.name, "key": str(secret), "pub": str(public)})
        return
    typer.echo(f"key       {key}")
    typer.echo(f"secret    {secret}: keep it off devices, and a copy off this machine")
    typer.echo(f"next      edgedx deploy RUN --sign {secret}")
    typer.echo(f"          edgedx keys pin {public} --root DIR    (on each device)")


@app.command("sign")
def sign(
    bundle: Annotated[Path, typer.Argument(help="The .edgedx file; its trailer is rewritten, nothing else.")],
    key: Annotated[list[Path], typer.Option(help="Private key; may be given more than once.")],
    json: AsJson = False,
) -> None:
    """Add signatures to a bundle, on a machine without network if you like.

    Example: edgedx keys sign chest.edgedx --key release-2026.key
    """
    from edgedx.core.bundle.manifest import sign_bundle

    signatures = sign_bundle(bundle, signing_keys(key))
    ids = [signature.key_id for signature in signatures]
    if json:
        print_json({"schema_version": 1, "bundle": str(bundle), "signatures": ids})
        return
    typer.echo(f"signed    {bundle} by {', '.join(ids)}")


@app.command("pin")
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
        typer.echo("warning: it is the only one; pin a second, or losing it means visiting this device", err=True)
    if json:
        print_json({"schema_version": 1, "id": key.id, "name": key.name, "pinned": count})
        return
    typer.echo(f"pinned    {key}; {count} trusted now")


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
    if json:
        print_json({"schema_version": 1, "id": key.id, "name": key.name, "pinned": len(pinned(root))})
        return
    typer.echo(f"unpinned  {key}; {len(pinned(root))} trusted now")


@app.command("list")
def list_keys(root: Root, json: AsJson = False) -> None:
    """List the keys that a device trusts.

    Example: edgedx keys list --root /srv/edgedx
    """
    from edgedx.device.install.trust import pinned

    keys = pinned(root)
    if json:
        print_json({"schema_version": 1, "keys": [{"id": key.id, "name": key.name} for key in keys]})
        return
    for key in keys:
        typer.echo(f"{key.id}  {key.name}")
    if not keys:
        typer.echo(f"{root} trusts no key", err=True)


def signing_keys(paths: Sequence[Path]) -> list[SigningKey]:
    """Private keys in memory; a password is taken from the environment, or asked for."""
    from edgedx.core.bundle.signing import is_encrypted, load_signing_key

    keys = []
    for path in paths:
        password = None
        if is_encrypted(path):
            password = os.environ.get(PASSWORD)
            if password is None and os.isatty(0):
                password = str(typer.prompt(f"password of {path}", hide_input=True))
        keys.append(load_signing_key(path, password))
    return keys


def _warn_of_active(root: Path) -> None:
    """A scanner that starts will ask for a signature by what is trusted now."""
    from edgedx.device.install.status import device_status

    active = device_status(root).active
    if active is not None and active.problem:
        typer.echo(f"warning: the active bundle cannot serve any more: {active.problem}", err=True)
        typer.echo("next:    sign it with a trusted key and install it again, before the scanner restarts", err=True)
