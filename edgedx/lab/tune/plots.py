"""Pictures of a study: AUC by trial, what mattered, and AUC by value of each key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from edgedx.core.settings.recipe import Recipe
from edgedx.core.settings.recipe_tune import Parameter
from edgedx.lab.run.plots import COLOURS, INK, new_figure, save_figure

from .tickets import ticket_of

_BESIDE = 3


def draw_study(trials: Sequence[FrozenTrial], importance: Mapping[str, float], path: Path) -> None:
    """AUC of each trial with the best so far; beside it the importance of each key where that is known."""
    figure, axes = new_figure(9 if importance else 5.2, 3.4, 2 if importance else 1)
    ended, pruned = _by_state(trials, TrialState.COMPLETE), _by_state(trials, TrialState.PRUNED)
    left = axes[0]
    left.scatter([ticket_of(one) for one in ended], [one.value for one in ended], s=18, color=COLOURS[0], label="ended")
    if pruned:
        values = [_last(one) for one in pruned]
        left.scatter([ticket_of(one) for one in pruned], values, s=22, color=COLOURS[1], marker="x", label="pruned")
    best = [max(float(one.value or 0) for one in ended[: position + 1]) for position in range(len(ended))]
    left.step([ticket_of(one) for one in ended], best, where="post", color=INK, linewidth=1, label="best so far")
    left.set(xlabel="trial", ylabel="AUC on val")
    left.xaxis.get_major_locator().set_params(integer=True)
    left.legend(frameon=False, fontsize=8)
    if importance:
        keys = list(importance)[::-1]
        axes[1].barh([_short(key) for key in keys], [importance[key] for key in keys], color=COLOURS[2])
        axes[1].set(xlabel="share of the variance of AUC (fANOVA)", xlim=(0, 1))
    save_figure(figure, path)


def draw_slices(trials: Sequence[FrozenTrial], recipe: Recipe, path: Path) -> None:
    """AUC by value, a panel for each key; later trials darker, pruned ones as crosses at the last AUC they had."""
    keys = list(recipe.tune.space)
    rows = -(-len(keys) // _BESIDE)
    figure, axes = new_figure(3.2 * min(len(keys), _BESIDE), 2.7 * rows, 0)
    for position, key in enumerate(keys):
        axis: Any = figure.add_subplot(rows, min(len(keys), _BESIDE), position + 1)
        axis.spines[["top", "right"]].set_visible(False)
        parameter = recipe.tune.space[key]
        if parameter.choices:
            axis.set_xticks(range(len(parameter.choices)), [str(choice) for choice in parameter.choices])
            axis.set_xlim(-0.5, len(parameter.choices) - 0.5)
        elif parameter.log:
            axis.set_xscale("log")
        ended, pruned = _by_state(trials, TrialState.COMPLETE), _by_state(trials, TrialState.PRUNED)
        axis.scatter(_values(parameter, key, ended), [one.value for one in ended], c=[ticket_of(one) for one in ended],
                     cmap="Blues", vmin=-5, edgecolors=INK, linewidths=0.4, s=20)  # fmt: skip
        axis.scatter(
            _values(parameter, key, pruned), [_last(one) for one in pruned], color=COLOURS[1], marker="x", s=16
        )
        axis.set_xlabel(_short(key), fontsize=8)
        axis.tick_params(colors=INK, labelsize=7)
        if position % _BESIDE == 0:
            axis.set_ylabel("AUC on val", fontsize=8)
    save_figure(figure, path)


def _by_state(trials: Sequence[FrozenTrial], state: TrialState) -> list[FrozenTrial]:
    return [one for one in trials if one.state == state and one.intermediate_values]


def _last(trial: FrozenTrial) -> float:
    return trial.intermediate_values[max(trial.intermediate_values)]


def _values(parameter: Parameter, key: str, trials: Sequence[FrozenTrial]) -> list[Any]:
    """Places on the axis: of a choice its number."""
    values = [one.params[key] for one in trials]
    return [parameter.choices.index(value) for value in values] if parameter.choices else values


def _short(key: str) -> str:
    return key.partition(".")[2].replace("_", " ")
