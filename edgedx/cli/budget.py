"""The part of edgedx compress that takes a budget instead of a recipe's numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from edgedx.core.settings.profile import DeviceProfile
from edgedx.core.settings.recipe import Recipe

from .common import keep_recipe, print_json, synthetic_note


def compress_by_budget(
    recipe: Recipe,
    run: Path,
    profile: DeviceProfile,
    *,
    max_auc_drop: float | None,
    max_latency: str | None,
    max_macs: float | None,
    int8: bool,
    resume: bool,
    overwrite: bool,
    dry_run: bool,
    json: bool,
) -> None:
    """Search the student that holds the budget, or show the plan, and print what was found."""
    from edgedx.device.machine.hardware import read_hardware
    from edgedx.lab.compress.budget import Budget, parse_latency
    from edgedx.lab.compress.search import PICTURE, SUMMARY, search
    from edgedx.lab.compress.search_plan import plan
    from edgedx.lab.quantize.choice import is_this_machine
    from edgedx.lab.run.run import Run

    if max_auc_drop is not None:  # the recipe keeps it, so that deploy's gate asks for the same
        recipe = recipe.model_copy(update={"gate": recipe.gate.model_copy(update={"max_auc_drop": max_auc_drop})})
    budget = Budget(recipe.gate.max_auc_drop, parse_latency(max_latency) if max_latency else None, max_macs)
    here = is_this_machine(profile, read_hardware())
    typer.echo(f"device    {profile.name}: {profile.title}", err=json)
    typer.echo(f"budget    {budget.sentence()} ({recipe.gate.rule} on {recipe.gate.split})", err=json)
    if budget.max_latency_ms and not here:
        typer.echo(
            f"warning   this machine is no {profile.name}: its own latency stands in, and must be measured there",
            err=True,
        )
    if dry_run:
        lines = plan(recipe, run, profile, budget, int8=int8)
        if json:
            print_json(
                {"schema_version": 1, "device": profile.name, "budget": vars(budget), "here": here, "plan": lines}
            )
            return
        for line in lines:
            typer.echo(f"plan      {line}")
        return
    report = search(recipe, run, profile, budget, int8=int8, here=here, resume=resume, overwrite=overwrite)
    keep_recipe(run, report.pop("recipe"))
    if json:
        print_json(report)
        return
    _print(report, here)
    folder = Run(run).build_for(profile.name).path
    typer.echo(f"pictured  {folder / PICTURE}, figures in {folder / SUMMARY}")
    synthetic_note(recipe.synthetic)
    typer.echo(f"next      edgedx deploy {run} --target {profile.target}")


def _print(report: dict[str, Any], here: bool) -> None:
    teacher, chosen = report["teacher"], report["chosen"]
    width = max(len(one["name"]) for one in report["candidates"])
    where = "ms" if here else "ms here"
    typer.echo(f"{'candidate':<{width}}  {'variant':<9}  {'MACs':>5}  {'MB':>6}  {where:>7}  {'AUC lost':>8}")
    typer.echo(
        f"{'teacher':<{width}}  {'fp32':<9}  {1:>5.0%}  {teacher['megabytes']:>6.2f}  {teacher['latency_ms']:>7.2f}"
    )
    for one in report["candidates"]:
        kept = (one["name"], one["variant"]) == (chosen["name"], chosen["variant"])
        verdict = "chosen" if kept else "over budget: " + ", ".join(one["over"]) if one["over"] else "fits"
        typer.echo(
            f"{one['name']:<{width}}  {one['variant']:<9}  {one['macs']:>5.0%}  {one['megabytes']:>6.2f}  "
            f"{one['latency_ms']:>7.2f}  {one['auc_drop']:>8.4f}  {verdict}"
        )
    for label, line in zip(("chosen", "why", "wins"), report["explanation"], strict=True):
        typer.echo(f"{label:<9} {line}")
