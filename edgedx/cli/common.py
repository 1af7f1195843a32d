"""What several commands print or parse."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from edgedx.core.settings.profile import DeviceProfile
    from edgedx.core.settings.recipe import Recipe

RUNS = Path("runs")


def print_json(value: Any) -> None:
    """One JSON document on stdout; NaN is refused, as it is not JSON, and no string can move the cursor."""
    from edgedx.core.text import printable_json

    typer.echo(printable_json(value))


def print_recipe(recipe: Recipe) -> None:
    """The effective recipe as YAML, for --dry-run."""
    import yaml

    typer.echo(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True), nl=False)


def run_recipe(run: Path, overrides: list[str]) -> Recipe:
    """The recipe a run was begun with, with overrides."""
    from edgedx.core.errors import UsageError
    from edgedx.core.settings.recipe import load_recipe

    path = run / "recipe.yaml"
    if not path.is_file():
        raise UsageError(f"{run} is not a run: no recipe.yaml", next_step="begin one with `edgedx finetune RECIPE`")
    return load_recipe(str(path), overrides)


def keep_recipe(run: Path, recipe: Recipe) -> None:
    """Write the effective recipe beside the stages, for the commands that follow."""
    import yaml

    from edgedx.core.files import write_text

    write_text(run / "recipe.yaml", yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def run_of(path: Path) -> Path:
    """The run folder, given itself or one of its stages (runs/x or runs/x/teacher)."""
    return path.parent if (path.parent / "recipe.yaml").is_file() and not (path / "recipe.yaml").is_file() else path


def interval(value: dict[str, Any] | None) -> str:
    """A figure with its interval, or a dash where it was not measured."""
    if not value or value.get("value") is None:
        return "-"
    if value.get("low") is None:
        return f"{value['value']:.3f}"
    return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


def synthetic_note(synthetic: bool) -> None:
    """Say on stderr that figures are of generated images."""
    if synthetic:
        typer.echo("SYNTHETIC data: these figures say nothing about patients.", err=True)


def profile_for(device: str) -> DeviceProfile:
    """The profile called `device`, or the one that fits this machine for ``this``."""
    from edgedx.core.settings.profile import load_profile, load_profiles

    if device != "this":
        return load_profile(device)
    from edgedx.device.machine.hardware import read_hardware
    from edgedx.device.machine.match import match_profile

    return match_profile(read_hardware(), load_profiles())[0]
