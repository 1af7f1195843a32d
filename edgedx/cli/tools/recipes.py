"""``edgedx recipes``."""

from __future__ import annotations

from typing import Annotated

import typer

from edgedx.cli.options import AsJson, Set

from . import show as print_

app = typer.Typer(
    help="Recipes: what is trained, on which data, and how.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@app.command("list", short_help="List the shipped recipes.")
def list_(json: AsJson = False) -> None:
    """List the shipped recipes: what each is for, where its data is to be had, under which licence, and at what cost.

    Example: edgedx recipes list
    """
    from edgedx.core.settings.cost import estimate
    from edgedx.core.settings.recipe import list_recipes, load_recipe

    print_.recipes([(recipe, estimate(recipe)) for recipe in map(load_recipe, list_recipes())], json=json)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A shipped recipe or a .yaml file.")],
    set_: Set = None,
    fields: Annotated[bool, typer.Option("--fields", help="Document every field: type, default, unit.")] = False,
    json: AsJson = False,
) -> None:
    """Show a recipe with all its defaults filled in.

    Example: edgedx recipes show pneumonia-mnist
    """
    from edgedx.core.settings.cost import estimate
    from edgedx.core.settings.recipe import fields_table, load_recipe

    if fields:
        print_.recipe_fields(fields_table(), json=json)
        return
    recipe = load_recipe(name, set_ or [])
    print_.recipe(recipe, estimate(recipe), json=json)
