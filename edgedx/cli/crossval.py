"""edgedx crossval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgedx.core.errors import UsageError

from .common import RUNS, interval, print_json, synthetic_note


def crossval(
    recipe: Annotated[str, typer.Argument(help="Name of a shipped recipe (`edgedx recipes list`) or a .yaml file.")],
    folds: Annotated[int, typer.Option(min=2, max=100, help="How many.")] = 5,
    compress: Annotated[bool, typer.Option("--compress", help="Make the student of each fold, too.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="And its INT8 form; implies --compress.")] = False,
    device: Annotated[
        str, typer.Option(help="Device profile (`edgedx devices list`) to compress for; this for this machine.")
    ] = "this",
    jobs: Annotated[
        int, typer.Option(min=0, help="Folds at the same time; 0: one for each GPU, without one for two cores.")
    ] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder; runs/RECIPE-crossval unless given.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override, e.g. train.epochs=3; repeatable.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Cross-validate a recipe: patients are drawn into folds, stratified by class, and each fold is test once.

    Example: edgedx crossval chest-xray3 --folds 5 --int8

    Example: edgedx crossval chest-xray3 --set data.patient_column=null (folds by image, which leak; to compare with
    papers that did so)

    Each fold is a run of its own in OUT/folds; repeat the command to continue after an interruption. The answers of
    every image by the model that had not seen its patient are kept in OUT/out-of-fold-MODEL.csv.
    """
    from edgedx.core.settings.recipe import load_recipe

    chosen = load_recipe(recipe, set_ or [])
    if chosen.data.folds:
        raise UsageError("the recipe sets data.folds, which is crossval's to set", next_step="remove it")
    from edgedx.lab.evidence.compare.crossval import REPORT, CrossValidation
    from edgedx.lab.evidence.compare.crossval import crossval as work

    folder = out or RUNS / f"{chosen.name}-crossval"
    report = work(
        CrossValidation(chosen, folder, folds, compress=compress or int8, int8=int8, device=device, jobs=jobs)
    )
    if json:
        print_json(report)
        return
    _print(report)
    synthetic_note(chosen.synthetic)
    typer.echo(f"written   {folder} ({REPORT}, out-of-fold-*.csv, folds/)")


def _print(report: dict[str, Any]) -> None:
    typer.echo(f"folds     {report['folds']}, by {report['grouped_by']}; mean, standard deviation and each fold")
    for name, found in report["subjects"].items():
        pooled = found["pooled"]
        typer.echo(f"{name}: {pooled['images']} images of {pooled['patients']} patients")
        for figure, mean in found["mean"].items():
            each = " ".join(f"{value:.3f}" for value in found["by_fold"][figure])
            typer.echo(f"  {figure.replace('_', ' '):<28} {mean:.3f} sd {found['sd'][figure]:.3f}   {each}")
        accuracy = interval(pooled["overall"]["accuracy"])
        typer.echo(f"  {'accuracy, all folds together':<28} {accuracy}")
    for name, found in report["against_teacher"].items():
        told = "; ".join(f"{key.replace('_', ' ')} {one['mean']:+.3f} sd {one['sd']:.3f}" for key, one in found.items())
        typer.echo(f"{name} less its teacher, by fold: {told}")
