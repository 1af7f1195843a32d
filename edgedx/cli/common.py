"""What several commands print or parse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from edgedx.core.settings.profile import DeviceProfile
    from edgedx.core.settings.recipe import Recipe

RUNS = Path("runs")


def print_json(value: Any) -> None:
    """One JSON document on stdout; NaN is refused, as it is not JSON."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False))


def print_recipe(recipe: Recipe) -> None:
    """The effective recipe as YAML, for --dry-run."""
    import yaml

    typer.echo(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True), nl=False)


def run_recipe(run: Path, overrides: list[str]) -> Recipe:
    """The recipe a run was begun with, with overrides."""
    from edgedx.lab.run.run import Run

    return Run.open(run).recipe(overrides)


def keep_recipe(run: Path, recipe: Recipe) -> None:
    """Write the effective recipe beside the stages, for the commands that follow."""
    from edgedx.lab.run.run import Run

    Run(run).keep_recipe(recipe)


def run_of(path: Path) -> Path:
    """The run folder, given itself or one of its stages (runs/x or runs/x/teacher)."""
    from edgedx.lab.run.run import Run

    return Run.of(path).path


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
    from edgedx.device.machine.match import profile_for as work

    return work(device)
