"""The part of ``edgedx compress`` that takes a budget instead of a recipe's numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgedx.cli.common import keep_recipe
from edgedx.cli.stopping import at_work

from . import show

if TYPE_CHECKING:
    from edgedx.core.settings.profile import DeviceProfile
    from edgedx.core.settings.recipe import Recipe


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
    from edgedx.lab.compress.search import FOLDER, search
    from edgedx.lab.compress.search_plan import plan
    from edgedx.lab.quantize.choice import is_this_machine
    from edgedx.lab.run.kept import kept
    from edgedx.lab.run.run import Run

    if max_auc_drop is not None:  # the recipe keeps it, so that deploy's gate asks for the same
        recipe = recipe.model_copy(update={"gate": recipe.gate.model_copy(update={"max_auc_drop": max_auc_drop})})
    budget = Budget(recipe.gate.max_auc_drop, parse_latency(max_latency) if max_latency else None, max_macs)
    here = is_this_machine(profile, read_hardware())
    show.budget(budget, recipe, profile, here=here, json=json)
    if dry_run:
        show.plan(plan(recipe, run, profile, budget, int8=int8), budget, profile, here=here, json=json)
        return
    build = Run(run).build_for(profile.name)
    with at_work(run, lambda: kept(run), resume=True, begun=(build.path / FOLDER).is_dir):
        report = search(recipe, run, profile, budget, int8=int8, here=here, resume=resume, overwrite=overwrite)
        keep_recipe(run, report.pop("recipe"))
        show.searched(report, run, recipe, profile, here=here, json=json)
