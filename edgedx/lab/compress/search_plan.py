"""What a budget search will do and about how long it takes, before it does anything."""

from __future__ import annotations

from pathlib import Path

from edgedx.core.errors import UsageError
from edgedx.core.settings.profile import DeviceProfile
from edgedx.core.settings.recipe import Recipe
from edgedx.lab.data.prepare import open_data
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import machine

from .budget import Budget


def plan(recipe: Recipe, run: Path | Run, profile: DeviceProfile, budget: Budget, *, int8: bool) -> list[str]:
    """What `search` would do and about how long it would take, in lines; trains and measures nothing."""
    check_measurable(profile, budget)
    run = Run.of(run)
    teacher = run.teacher.record
    images = len(open_data(recipe, run).subset("train"))
    backbones = backbones_of(recipe)
    name = run.teacher.card.backbone
    shown = [name if one == "same" else one for one in backbones]
    lines = [f"{place}. {one}, {_how(recipe, budget)}" for place, one in enumerate(shown, start=1)]
    student = recipe.student
    epochs = student.epochs + (student.steps - 1) * student.recovery_epochs
    # A step is the teacher's forward pass (a third of a training step of its own) and the student's training step.
    seconds = images * epochs / teacher["metrics"]["images_per_s"] * (student.macs + 0.35) + (60 if int8 else 20)
    most = len(backbones) * (2 if budget.max_latency_ms else 1 if budget.max_macs else recipe.search.tries)
    elsewhere = "" if teacher["machine"] == machine() else f", measured on {teacher['machine']} as it is"
    lines.append(f"each candidate: prune, distil {epochs:g} epochs, {'quantize, ' if int8 else ''}gate, time")
    lines.append(
        f"time: about {max(1, round(seconds / 60))} min a candidate by the teacher's training speed{elsewhere}; "
        f"at most {most} of them"
    )
    return lines


def _how(recipe: Recipe, budget: Budget) -> str:
    if budget.max_latency_ms is not None:
        return f"pruned until it takes {budget.max_latency_ms:g} ms (bisection of untrained structures)"
    if budget.max_macs is not None:
        return f"pruned to {budget.max_macs:.0%} of the teacher's multiply-accumulates"
    return (
        f"pruned as far as the accuracy holds (bisection from {recipe.student.macs:.0%}, {recipe.search.tries} tries)"
    )


def backbones_of(recipe: Recipe) -> list[str]:
    """Backbones to try, in order, each once."""
    names = [recipe.student.backbone, *recipe.search.backbones]
    return list(dict.fromkeys(names))


def check_measurable(profile: DeviceProfile, budget: Budget) -> None:
    """Refuse a latency budget for a runtime that this machine has not."""
    if budget.max_latency_ms is not None and profile.target != "cpu":
        raise UsageError(
            f"--max-latency: this machine cannot tell the latency of {profile.title}",
            next_step="give --max-macs, and measure there: edgedx bench BUNDLE --device-record FILE",
        )
