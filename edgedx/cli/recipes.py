"""edgedx recipes."""

from __future__ import annotations

from typing import Annotated

import typer

from .common import print_json, print_recipe

app = typer.Typer(help="List and show recipes.", no_args_is_help=True, rich_markup_mode=None, add_completion=False)


@app.command("list")
def list_(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the shipped recipes.

    Example: edgedx recipes list
    """
    from ..core.recipe import list_recipes, load_recipe

    found = [load_recipe(name) for name in list_recipes()]
    if json:
        rows = [{"name": one.name, "title": one.title, "task": one.task.kind} for one in found]
        print_json({"schema_version": 1, "recipes": rows})
        return
    for one in found:
        typer.echo(f"{one.name:<18} {one.title}")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A shipped recipe or a .yaml file.")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override, e.g. train.epochs=3; repeatable.")] = None,
    fields: Annotated[bool, typer.Option("--fields", help="Document every field: type, default, unit.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a recipe with all its defaults filled in.

    Example: edgedx recipes show pneumonia-mnist
    """
    from ..core.recipe import fields_table, load_recipe

    if fields:
        rows = fields_table()
        if json:
            names = ("key", "type", "default", "description")
            print_json({"schema_version": 1, "fields": [dict(zip(names, row, strict=True)) for row in rows]})
            return
        for key, kind, default, description in rows:
            typer.echo(f"{key} ({kind}, default {default})\n    {description}")
        return
    recipe = load_recipe(name, set_ or [])
    if json:
        print_json(recipe.model_dump(mode="json"))
    else:
        print_recipe(recipe)
