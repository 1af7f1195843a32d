"""``edgedx devices``: list, show and match device profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

AsJson = Annotated[bool, typer.Option("--json", help="Print only JSON.")]

app = typer.Typer(help="Device profiles: what edgedx knows of a device.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_devices(as_json: AsJson = False) -> None:
    """List the shipped device profiles.

    Example: edgedx devices list
    """
    from ..core.profile import load_profiles

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
    from ..core.profile import load_profile

    profile = load_profile(name)
    if as_json:
        _print_json({"profile": profile.model_dump(mode="json")})
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("field", "value", "meaning", "source", box=None, pad_edge=False)
    for key, value, meaning in _rows(profile):
        if key != "sources":
            # A source may stand for a whole section, such as quantization.
            source = profile.sources.get(key) or profile.sources.get(key.partition(".")[0], "")
            table.add_row(Text(key), Text(value), Text(meaning), Text(source))
    Console().print(table)


@app.command("match")
def match_device(as_json: AsJson = False) -> None:
    """Say which profile fits this machine, and why.

    Example: edgedx devices match
    """
    from dataclasses import asdict

    from ..core.profile import load_profiles
    from ..device.hardware import read_hardware
    from ..device.match import match_profile

    hardware = read_hardware()
    profile, reason = match_profile(hardware, load_profiles())
    if as_json:
        _print_json(
            {
                "profile": profile.name,
                "reason": reason,
                "supported": profile.supported,
                "unsupported_reason": profile.unsupported_reason,
                "hardware": asdict(hardware),
            }
        )
        return
    typer.echo(f"{profile.name}: {reason}")
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
