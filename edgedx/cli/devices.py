"""``edgedx devices``: list, show and match device profiles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

AsJson = Annotated[bool, typer.Option("--json", help="Print only JSON.")]

_VERDICTS = {
    "native": "edgedx runs on it as it is",
    "update": "update to 6.1 or newer first: sudo apt full-upgrade",
    "container": "its Python is too old: edgedx runs there in a container with Python 3.10 or newer",
    "unsupported": "edgedx does not run on it",
}

app = typer.Typer(
    help="Device profiles: what edgedx knows of a device.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@app.command("list")
def list_devices(as_json: AsJson = False) -> None:
    """List the shipped device profiles.

    Example: edgedx devices list
    """
    from edgedx.core.settings.profile import load_profiles

    profiles = load_profiles()
    if as_json:
        _print_json({"profiles": [profile.model_dump(mode="json") for profile in profiles]})
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("name", "device", "target", "INT8", "memory GB", "supported", box=None, pad_edge=False)
    for profile in profiles:
        memory = f"{profile.memory_gb:g}" if profile.memory_gb else ""
        scheme, supported = profile.quantization.scheme, "yes" if profile.supported else "no"
        cells = (profile.name, profile.title, profile.target, scheme, memory, supported)
        table.add_row(*(Text(cell) for cell in cells))
    Console().print(table)


@app.command("show")
def show_device(
    name: Annotated[str, typer.Argument(help="Name of a shipped profile, or path of a .yaml file.")],
    as_json: AsJson = False,
) -> None:
    """Show one profile with meaning and source of each field.

    Example: edgedx devices show orin-nano-8gb
    """
    from edgedx.core.settings.jetpack import jetpack_support
    from edgedx.core.settings.profile import load_profile

    profile = load_profile(name)
    verdicts = {release: jetpack_support(release) for release in profile.jetpack}
    if as_json:
        _print_json({"profile": profile.model_dump(mode="json"), "jetpack_support": verdicts})
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("field", "value", "meaning", "source", box=None, pad_edge=False)
    for key, value, meaning in _rows(profile):
        if key != "sources":
            table.add_row(Text(key), Text(value), Text(meaning), Text(profile.source_of(key)))
    Console().print(table)
    for release, verdict in verdicts.items():
        typer.echo(f"JetPack {release}: {_VERDICTS[verdict]}")


@app.command("match")
def match_device(
    root: Annotated[
        Path, typer.Option(help="Root of the machine's file system; another is a mounted disk or a recording.")
    ] = Path("/"),
    as_json: AsJson = False,
) -> None:
    """Say which profile fits this machine, and why; on a Jetson also how edgedx runs on its JetPack.

    Example: edgedx devices match
    """
    from dataclasses import asdict

    from edgedx.core.settings.jetpack import jetpack_support
    from edgedx.core.settings.profile import load_profiles
    from edgedx.device.machine.hardware import read_hardware
    from edgedx.device.machine.match import match_profile

    hardware = read_hardware(root)
    profile, reason = match_profile(hardware, load_profiles())
    release = hardware.jetson.jetpack if hardware.jetson else None
    support = jetpack_support(release) if release else None
    if as_json:
        _print_json(
            {
                "profile": profile.name,
                "reason": reason,
                "supported": profile.supported,
                "unsupported_reason": profile.unsupported_reason,
                "jetpack": release,
                "jetpack_support": support,
                "hardware": asdict(hardware),
            }
        )
        return
    typer.echo(f"{profile.name}: {reason}")
    if release and support:
        typer.echo(f"JetPack {release}: {_VERDICTS[support]}")
    if not profile.supported:
        typer.echo(f"warning: {profile.unsupported_reason}", err=True)


def _rows(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    from pydantic import BaseModel as Model

    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, Model):
            yield from _rows(value, f"{prefix}{name}.")
        elif value is not None and value != []:
            yield prefix + name, _shown(value), info.description or ""


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _print_json(content: dict[str, Any]) -> None:
    import json

    typer.echo(json.dumps({"schema_version": 1, **content}, indent=2))
