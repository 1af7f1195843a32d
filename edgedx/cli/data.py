"""edgedx data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgedx.cli.common import print_json

if TYPE_CHECKING:
    from edgedx.lab.data.start.check import DataCheck

app = typer.Typer(help="Look at a data set before training.", no_args_is_help=True, rich_markup_mode=None,
                  add_completion=False)  # fmt: skip
_SHOWN = 8


@app.callback()
def data() -> None:
    """Look at a data set before training."""


@app.command()
def check(
    recipe: Annotated[str, typer.Argument(help="Name of a shipped recipe or a .yaml file.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for tables and contact sheets; data-check/RECIPE unless given.")
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override, e.g. data.seed=1; repeatable.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Everything that training would complain about, at once: labels, patients, duplicates, leaks, sizes, confounders.

    Example: edgedx data check lungs.yaml

    With an override: edgedx data check lungs.yaml --set data.near_duplicates=list --json

    Exits with 5 where training would not begin. The folder holds pictures of patients: keep it as you keep them.
    """
    from edgedx.core.settings.recipe import load_recipe
    from edgedx.lab.data.start.check import check_data

    chosen = load_recipe(recipe, set_ or [])
    found = check_data(chosen, out or Path("data-check") / chosen.name)
    if json:
        print_json(found.to_dict())
    else:
        _print(found, recipe)
    if not found.good:
        raise typer.Exit(5)


def _print(found: DataCheck, recipe: str) -> None:
    for problem in found.problems:
        typer.echo(f"problem   {problem.message}")
        typer.echo(f"          {problem.next_step}" if problem.next_step else "", nl=bool(problem.next_step))
    if found.images:
        typer.echo(f"data      {found.patients}; {found.listed - found.images} of {found.listed} left out")
        width = max(map(len, found.classes))
        for name, counts in found.classes.items():
            typer.echo(f"          {name:<{width}} {sum(counts.values()):>6}  "
                       + ", ".join(f"{split} {count}" for split, count in counts.items()))  # fmt: skip
        sizes = list(found.sizes.items())
        more = f" and {len(sizes) - 3} other sizes" if len(sizes) > 3 else ""
        typer.echo("sizes     " + ", ".join(f"{size}: {count}" for size, count in sizes[:3]) + more)
    for number, (reason, count) in enumerate(found.excluded.items()):
        typer.echo(f"{'left out' if not number else '':<9} {count:>6}  {reason}")
        if number == _SHOWN and len(found.excluded) > _SHOWN + 1:
            typer.echo(f"          and {len(found.excluded) - number - 1} further reasons: excluded.csv")
            break
    if found.near_duplicates.get("groups"):
        near = found.near_duplicates
        typer.echo(f"alike     {near['images']} images in {near['groups']} groups of near-duplicates, kept on one side")
    for warning in found.warnings:
        typer.echo(f"warning   {warning}")
    sheets = sum(path.suffix == ".png" for path in found.files)
    names = [path.name for path in found.files if path.suffix != ".png"]
    folder = found.files[0].parent if found.files else None
    typer.echo(f"written   {folder}: {', '.join(names)}, {sheets} contact sheets" if folder else "written   nothing")
    typer.echo(f"{'good' if found.good else 'not good':<9} in {found.seconds:.0f} s"
               + (f"; next: edgedx finetune {recipe}" if found.good else ""))  # fmt: skip
