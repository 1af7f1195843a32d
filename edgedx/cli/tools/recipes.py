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


@app.command("list", short_help="List the recipes that come with edgedx.")
def list_(json: AsJson = False) -> None:
    """List edgedx's recipes: what each is for, whether its data is here, where to get it, licence, and cost.

    Example: edgedx recipes list

    Data is looked for below EDGEDX_DATA, in the working folder and in the cache.
    """
    from edgedx.core.settings.cost import estimate
    from edgedx.core.settings.recipe import list_recipes, load_recipe
    from edgedx.lab.data.reading.rows import found

    recipes = [load_recipe(name) for name in list_recipes()]
    places = [found(str(recipe.data.path)) if recipe.data.path else None for recipe in recipes]
    print_.recipes([(one, estimate(one), place) for one, place in zip(recipes, places, strict=True)], json=json)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A recipe of edgedx's, or a .yaml file.")],
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
