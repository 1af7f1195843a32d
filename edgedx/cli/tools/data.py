"""``edgedx data``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.options import AsJson, Set

from . import show

app = typer.Typer(help="Look at a data set before training.", no_args_is_help=True, rich_markup_mode=None,
                  add_completion=False)  # fmt: skip


@app.callback()
def data() -> None:
    """Look at a data set before training."""


@app.command()
def check(
    recipe: Annotated[
        str, typer.Argument(help="Name of a recipe of edgedx's (`edgedx recipes list`) or a .yaml file.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for tables and contact sheets; data-check/RECIPE unless given.")
    ] = None,
    set_: Set = None,
    json: AsJson = False,
) -> None:
    """Everything that training would complain about, at once: labels, patients, duplicates, leaks, sizes, confounders.

    Example: edgedx data check lungs.yaml

    Example: edgedx data check lungs.yaml --set data.near_duplicates=list --json

    Exits with 5 where training would not begin. The folder holds pictures of patients: keep it as you keep them.
    """
    from edgedx.core.settings.recipe import load_recipe
    from edgedx.lab.data.start.check import check_data

    chosen = load_recipe(recipe, set_ or [])
    report = check_data(chosen, out or Path("data-check") / chosen.name)
    show.data_check(report, recipe, json=json)
    if not report.good:
        raise typer.Exit(5)
