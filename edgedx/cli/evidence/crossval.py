"""``edgedx crossval``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.common import RUNS, int8_for, profile_for
from edgedx.cli.options import AsJson, Cores, Device, Int8, Jobs, OnCluster, Set
from edgedx.cli.stopping import run_at_work

from . import show


def crossval(
    recipe: Annotated[
        str, typer.Argument(help="Name of a recipe of edgedx's (`edgedx recipes list`) or a .yaml file.")
    ],
    folds: Annotated[int, typer.Option(min=2, max=100, help="How many.")] = 5,
    compress: Annotated[bool, typer.Option("--compress", help="Compress each fold's teacher, too.")] = False,
    device: Device = "this",
    int8: Int8 = None,
    jobs: Jobs = 0,
    on: OnCluster = "local",
    cores: Cores = 4,
    set_: Set = None,
    out: Annotated[Path | None, typer.Option(help="Folder; runs/RECIPE-crossval unless given.")] = None,
    json: AsJson = False,
) -> None:
    """Cross-validate a recipe: patients are drawn into folds, stratified by class, and each fold is test once.

    Example: edgedx crossval chest-xray3 --folds 5 --compress

    Example: edgedx crossval chest-xray3 --on ray (folds on the nodes of a Ray cluster, which share the folder OUT)

    Example: edgedx crossval chest-xray3 --set data.patient_column=null (folds by image, which leak; to compare with
    papers that did so)

    Each fold is a run of its own in OUT/folds; repeat the command to continue after an interruption. Predictions for
    every image, by the model that had not seen its patient, are kept in OUT/out-of-fold-MODEL.csv. --int8 and --no-int8
    imply --compress.
    """
    from edgedx.core.errors import UsageError
    from edgedx.core.settings.recipe import load_recipe

    chosen = load_recipe(recipe, set_ or [])
    if chosen.data.folds:
        raise UsageError("the recipe sets data.folds, which is crossval's to set", next_step="remove it")
    from edgedx.lab.evidence.compare.crossval import CrossValidation
    from edgedx.lab.evidence.compare.crossval import crossval as work

    folder = out or RUNS / f"{chosen.name}-crossval"
    compress = compress or int8 is not None
    quantize = compress and int8_for(profile_for(device), int8)
    plan = CrossValidation(
        chosen, folder, folds, compress=compress, int8=quantize, device=device, jobs=jobs, on=on, cores=cores
    )
    with run_at_work(folder):
        report = work(plan)
        show.crossvalidated(report, folder, chosen, json=json)
