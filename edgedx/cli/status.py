"""edgedx status."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import print_json

if TYPE_CHECKING:
    from edgedx.device.install.status import DeviceStatus, SlotStatus


def status(
    root: Annotated[Path, typer.Option(help="Folder of the device that holds slots, trusted keys and state.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what is installed, who signed it, whether it is on trial, and what happened last.

    Example: edgedx status --root /srv/edgedx

    Exits with 5 when the active slot is damaged or not trusted.
    """
    from edgedx.device.install.status import device_status

    if not root.is_dir():
        from edgedx.core.errors import InputOutputError

        raise InputOutputError(f"no folder {root}", next_step="name the --root that `edgedx install` was given")
    found = device_status(root)
    if json:
        print_json(as_document(found))
    else:
        _print(found)
    for problem in found.problems:
        typer.echo(f"warning: {problem}", err=True)
    if found.active is not None and found.active.problem:
        raise typer.Exit(5)


def as_document(found: DeviceStatus) -> dict[str, Any]:
    """The status as JSON."""
    from dataclasses import asdict

    return {
        "schema_version": 1,
        **asdict(found),
        "keys": [{"id": key.id, "name": key.name} for key in found.keys],
        "history": [event.model_dump(mode="json") for event in found.history],
    }


def _print(found: DeviceStatus) -> None:
    if found.active is None:
        typer.echo("active    nothing")
    else:
        _slot("active", found.active)
    if found.trial_starts is not None:
        typer.echo(
            f"trial     no image answered yet; {found.trial_starts} of {found.trial_limit} starts did not end in order"
        )
    if found.other is not None:
        _slot("other", found.other)
    for name, version in found.ratchet.items():
        typer.echo(f"ratchet   {name} below {version} is refused")
    typer.echo(f"trusts    {', '.join(str(key) for key in found.keys) or 'no key: unsigned bundles on request'}")
    for engine in found.engines:
        typer.echo(f"engine    {engine}")
    for event in found.history[-5:]:
        tail = f": {event.why}" if event.why else ", UNSIGNED" if event.unsigned else ""
        typer.echo(f"{event.at}  {event.action} {event.name} {event.version} in slot {event.slot}{tail}")


def _slot(title: str, one: SlotStatus) -> None:
    if one.name is None:
        typer.echo(f"{title:<9} slot {one.slot}: DAMAGED: {one.problem}")
        return
    age = "" if one.age_days is None else f", installed {one.age_days:.1f} days ago"
    typer.echo(f"{title:<9} {one.name} {one.version}, {one.variant}, slot {one.slot}, digest {(one.digest or '')[:16]}")
    typer.echo(f"{'':<9} made for {one.profile}, signed by {one.signed_by or 'NOBODY that is trusted'}{age}")
    if one.problem:
        typer.echo(f"{'':<9} CANNOT SERVE: {one.problem}")
