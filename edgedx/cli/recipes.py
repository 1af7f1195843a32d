"""edgedx recipes."""

from __future__ import annotations

from typing import Annotated

import typer

from .common import print_json, print_recipe

app = typer.Typer(help="List and show recipes.", no_args_is_help=True, rich_markup_mode=None, add_completion=False)


@app.command("list")
def list_(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the shipped recipes: what each is for, where its data is to be had, under which licence, and at what cost.

    Example: edgedx recipes list
    """
    from edgedx.core.settings.cost import GPU, SOURCE, estimate
    from edgedx.core.settings.recipe import list_recipes, load_recipe

    found = [(one, estimate(one)) for one in map(load_recipe, list_recipes())]
    if json:
        rows = [
            {
                "name": one.name,
                "title": one.title,
                "task": one.task.kind,
                "licences": one.licences,
                "origin": one.origin.model_dump(mode="json"),
                "gpu_hours_estimated": None if cost is None else round(cost.gpu_hours, 2),
                "gpu_hours_arithmetic": None if cost is None else f"{cost.arithmetic}; one {GPU}, {SOURCE}",
            }
            for one, cost in found
        ]
        print_json({"schema_version": 1, "recipes": rows})
        return
    width = max(len(one.name) for one, _ in found)
    for one, cost in found:
        typer.echo(f"{one.name:<{width}} {one.title}")
        page = one.origin.page or one.data.download
        facts = [f"from {page}"] if page else []
        facts += [f"about {one.origin.disk_gb:g} GB"] if one.origin.disk_gb else []
        facts += [f"{cost.gpu_hours:.2g} h to train on one {GPU} (estimated)"] if cost else []
        for line in filter(None, (f"data: {one.licences['data']}", ", ".join(facts))):
            typer.echo(f"{'':<{width}} {line}")


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
    from edgedx.core.settings.cost import GPU, SOURCE, estimate
    from edgedx.core.settings.recipe import fields_table, load_recipe

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
        if (cost := estimate(recipe)) is not None:
            typer.echo(f"# about {cost.gpu_hours:.2g} GPU hours to train, estimated: {cost.arithmetic};")
            typer.echo(f"# one {GPU}, {SOURCE}")
        print_recipe(recipe)
