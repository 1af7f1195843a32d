"""What `edgedx tune` leaves: a table of its trials, a report, pictures, and the best recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState

from edgedx.core.files import write_json, write_text
from edgedx.core.settings.recipe import Recipe
from edgedx.core.table import csv_text
from edgedx.lab.run.stage import machine, versions

from .space import defaults, with_values
from .tickets import WHY, ticket_of

TABLE, REPORT, BEST, PICTURE, SLICES = "trials.csv", "tune.json", "best.yaml", "tune.png", "slices.png"
_FEW = 10
"""Ended trials below which no importance is told."""


def begun(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that were trained, or are, as often as they were begun; in the order of their tickets."""
    trials_begun = [one for one in study.get_trials(deepcopy=False) if one.state != TrialState.WAITING]
    return sorted(
        (one for one in trials_begun if ticket_of(one) is not None), key=lambda one: (ticket_of(one), one.number)
    )


def write_table(study: optuna.Study, recipe: Recipe, out: Path) -> None:
    """``trials.csv``: a row for each trial that has begun."""
    keys = list(recipe.tune.space)
    rows = [
        [
            ticket_of(one),
            _state(one),
            "" if one.value is None else f"{one.value:.6f}",
            len(one.intermediate_values),
            one.user_attrs.get("seconds", ""),
            *(one.params.get(key, "") for key in keys),
            one.user_attrs.get(WHY, ""),
        ]
        for one in begun(study)
    ]
    write_text(out / TABLE, csv_text(["trial", "state", "val_auc", "epochs", "seconds", *keys, "why"], rows))


def write_study(study: optuna.Study, recipe: Recipe, out: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Write everything; returns what ``tune.json`` holds.

    Keys: ``best`` (number, val_auc, values), ``as_it_stands`` (the recipe's own values, where they were tried),
    ``trials`` (count by state), ``importance`` (by key, adding up to 1; empty where too few trials ended).
    """
    from .plots import draw_slices, draw_study

    write_table(study, recipe, out)
    trials = begun(study)
    ended = [one for one in trials if one.state == TrialState.COMPLETE]
    best = max(ended, key=lambda one: (one.value or 0.0, -(ticket_of(one) or 0))) if ended else None
    unchanged = next((one for one in ended if one.params == defaults(recipe)), None)
    report = {
        "schema_version": 1,
        "recipe": recipe.name,
        "synthetic": recipe.synthetic,
        "study": study.study_name,
        "metric": "AUC on val",
        "sampler": recipe.tune.sampler,
        "pruner": recipe.tune.pruner,
        "trials": {state: sum(_state(one) == state for one in trials) for state in ("ended", "pruned", "failed")},
        "training_seconds": round(sum(float(one.user_attrs.get("seconds", 0)) for one in trials), 1),
        "best": _told(best),
        "as_it_stands": _told(unchanged),
        "importance": _importance(study, ended),
        "machine": machine(),
        "versions": {**versions(), "optuna": optuna.__version__},
        **facts,
    }
    if best is not None:
        draw_study(trials, report["importance"], out / PICTURE)
        draw_slices(trials, recipe, out / SLICES)
        tuned = with_values(recipe, best.params).model_dump(mode="json", exclude={"tune"})
        head = (
            f"# Trial {ticket_of(best)} of study {study.study_name}: AUC on val {best.value:.4f}, the best of "
            f"{len(ended)} that ended.\n# The best of many is optimistic; test was not looked at.\n"
        )
        write_text(out / BEST, head + yaml.safe_dump(tuned, sort_keys=False, allow_unicode=True))
    write_json(out / REPORT, report)
    return report


def _state(trial: FrozenTrial) -> str:
    words = {TrialState.COMPLETE: "ended", TrialState.PRUNED: "pruned", TrialState.RUNNING: "running"}
    if trial.state == TrialState.FAIL and WHY not in trial.user_attrs:
        return "interrupted"
    return words.get(trial.state, "failed")


def _told(trial: FrozenTrial | None) -> dict[str, Any] | None:
    return None if trial is None else {"trial": ticket_of(trial), "val_auc": trial.value, "values": trial.params}


def _importance(study: optuna.Study, ended: list[FrozenTrial]) -> dict[str, float]:
    if len(ended) < _FEW or len({one.value for one in ended}) == 1:
        return {}
    # Optuna's own choice, PED-ANOVA, looks at the best tenth alone: of a few dozen trials it named keys without effect.
    shares = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
    )
    return {key: round(float(share), 4) for key, share in shares.items()}
