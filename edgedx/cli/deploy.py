"""edgedx deploy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import print_json, run_of, run_recipe, synthetic_note


def deploy(
    run: Annotated[Path, typer.Argument(help="Run folder with a compressed model.")],
    target: Annotated[
        str, typer.Option(help="cpu or jetson; must be that of the device it was compressed for.")
    ] = "cpu",
    force: Annotated[
        bool, typer.Option("--force", help="Ship although the gate said no; the bundle records it.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the stage's record as JSON.")] = False,
) -> None:
    """Gate the compressed model and write the bundle (.edgedx) that a device installs.

    Example: edgedx deploy runs/pneumonia-mnist --target cpu

    Exits with 1 when the model lost more than the recipe's budget.
    """
    from ..core.errors import ProfileError
    from ..core.profile import load_profile
    from ..lab.compress import compressed_folder
    from ..lab.deploy import deploy as work
    from ..lab.stage import read_record

    run = run_of(run)
    recipe = run_recipe(run, [])
    profile = load_profile(read_record(compressed_folder(run))["settings"]["profile"])
    if profile.target != target:
        raise ProfileError(
            f"{run} was compressed for {profile.name}, whose target is {profile.target}, not {target}",
            next_step=f"edgedx compress {run} --int8 --overwrite --device NAME, with a {target} device of "
            "`edgedx devices list`",
        )
    record = work(recipe, run, profile, force=force, overwrite=overwrite)
    if json:
        print_json(record)
        return
    metrics = record["metrics"]
    typer.echo(f"gate      {'passed' if metrics['gate']['passed'] else 'FORCED'}: {metrics['gate']['sentence']}")
    typer.echo(f"variant   {metrics['default']['variant']}: {metrics['default']['reason']}")
    typer.echo(f"bundle    {metrics['bundle']} ({metrics['bytes'] / 1e6:.2f} MB)")
    synthetic_note(recipe.synthetic)
    for step in metrics["on_the_device"]:
        typer.echo(f"next      {step}")
