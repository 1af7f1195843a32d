"""``edgedx tune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.common import RUNS, print_recipe
from edgedx.cli.options import AsJson, Cores, Jobs, OnCluster, Set
from edgedx.cli.stopping import at_work

from . import show


def tune(
    recipe: Annotated[
        str, typer.Argument(help="Name of a recipe of edgedx's (`edgedx recipes list`) or a .yaml file.")
    ],
    out: Annotated[Path | None, typer.Option(help="Folder; runs/RECIPE-tune unless given.")] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="In all; the recipe's tune.trials unless given.")] = None,
    sampler: Annotated[
        str | None, typer.Option(help="tpe, or grid: every combination; the recipe's unless given.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            envvar="EDGEDX_TUNE_STORAGE",
            help="Optuna storage that others join too: postgresql://..., or journal:FILE on a share.",
        ),
    ] = None,
    study: Annotated[str | None, typer.Option(help="Name of the study there; the recipe's unless given.")] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Begin no trial after so long; 0 only writes what is known.")
    ] = None,
    jobs: Jobs = 1,
    on: OnCluster = "local",
    cores: Cores = 4,
    set_: Set = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the space, print the recipe and stop.")] = False,
    json: AsJson = False,
) -> None:
    """Search the hyper-parameters that the recipe declares in tune.space.

    Example: edgedx tune pneumonia-mnist --trials 30

    Example: edgedx tune pneumonia-mnist --trials 64 --on ray --jobs 8 (eight processes on the nodes of a Ray cluster,
    which share the folder OUT)

    Judged by AUC on val; test is never looked at. Run it again to go on; run it beside, or on other machines with the
    same --storage, to join in. What is found is OUT/best.yaml, a recipe for `edgedx finetune`.
    """
    from edgedx.core.errors import UsageError
    from edgedx.core.settings.recipe import load_recipe

    overrides = list(set_ or [])
    overrides += [f"tune.trials={trials}"] if trials else []
    overrides += [f"tune.sampler={sampler}"] if sampler else []
    chosen = load_recipe(recipe, overrides)
    if trials and chosen.tune.sampler == "grid":
        raise UsageError("--trials: a grid takes every combination once", next_step="leave it out, or --sampler tpe")
    from edgedx.lab.tune.space import check_space
    from edgedx.lab.tune.tune import Tuning
    from edgedx.lab.tune.tune import tune as work
    from edgedx.lab.tune.workers import Workers

    if dry_run:
        check_space(chosen)
        print_recipe(chosen)
        return
    folder = out or RUNS / f"{chosen.name}-tune"
    with at_work(folder, f"trials that ended are in {folder}; the one at work is tried again"):
        workers = Workers(jobs, on, cores)
        report = work(Tuning(chosen, folder, storage, study, minutes, workers=workers), show.trial)
        show.tuned(report, folder, json=json)
