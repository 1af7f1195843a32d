"""edgedx tune."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import RUNS, print_json, print_recipe, synthetic_note

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def tune(
    recipe: Annotated[str, typer.Argument(help="Name of a shipped recipe (`edgedx recipes list`) or a .yaml file.")],
    out: Annotated[Path | None, typer.Option(help="Folder; runs/RECIPE-tune unless given.")] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="In all; the recipe's tune.trials unless given.")] = None,
    sampler: Annotated[
        str | None, typer.Option(help="tpe, or grid: every combination; the recipe's unless given.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(help="Optuna storage that others join too: postgresql://..., or journal:FILE on a share."),
    ] = None,
    study: Annotated[str | None, typer.Option(help="Name of the study there; the recipe's unless given.")] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Begin no trial after so long; 0 only writes what is known.")
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override, e.g. train.epochs=3; repeatable.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the space, print the recipe and stop.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Search the hyper-parameters that the recipe declares in tune.space.

    Example: edgedx tune pneumonia-mnist --trials 30

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

    if dry_run:
        check_space(chosen)
        print_recipe(chosen)
        return
    folder = out or RUNS / f"{chosen.name}-tune"
    report = work(Tuning(chosen, folder, storage, study, minutes), _tell)
    if json:
        print_json(report)
        return
    _print(report, folder)


def _tell(trial: FrozenTrial, best: FrozenTrial | None) -> None:
    state = trial.state.name.lower().replace("complete", "ended")
    value = "" if trial.value is None else f" AUC on val {trial.value:.4f}"
    why = f": {trial.user_attrs['why']}" if "why" in trial.user_attrs else ""
    found = f"; best {best.value:.4f} (trial {best.user_attrs['ticket']})" if best is not None else ""
    typer.echo(f"trial {trial.user_attrs['ticket']} {state}{value}{why}{found}", err=True)


def _print(report: dict[str, Any], folder: Path) -> None:
    counts = report["trials"]
    typer.echo(f"trials    {counts['ended']} ended, {counts['pruned']} pruned, {counts['failed']} failed")
    best, own = report["best"], report["as_it_stands"]
    if best is None:
        typer.echo("best      none: no trial has ended yet; run it again to go on")
        return
    typer.echo(f"best      AUC on val {best['val_auc']:.4f}, trial {best['trial']}", nl=False)
    typer.echo(f"; the recipe as it stands {own['val_auc']:.4f}" if own else "")
    for key, value in best["values"].items():
        share = report["importance"].get(key)
        shown = f"{value:.4g}" if isinstance(value, float) else value
        typer.echo(f"          {key} = {shown}" + (f"  (importance {share:.2f})" if share is not None else ""))
    typer.echo("note      the best of many trials is optimistic on val; judge it on test once, at the end")
    synthetic_note(report["synthetic"])
    typer.echo(f"written   {folder} (best.yaml, trials.csv, tune.json, tune.png, slices.png)")
    typer.echo(f"next      edgedx finetune {folder / 'best.yaml'}")
