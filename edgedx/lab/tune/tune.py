"""Hyper-parameter search: teachers trained over the recipe's declared space, judged by AUC on val, never on test."""

from __future__ import annotations

import fcntl
import itertools
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.trial import FrozenTrial, Trial

from edgedx.core.errors import UsageError
from edgedx.core.files import canonical_json, sha256_bytes
from edgedx.core.settings.recipe import Recipe
from edgedx.core.settings.recipe_tune import Value
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.data.prepare import data_stage, open_data
from edgedx.lab.run.stage import stage_settings
from edgedx.lab.train.finetune import fit_teacher
from edgedx.lab.train.loop import Diverged

from .files import write_study, write_table
from .space import check_space, defaults, with_values
from .study import grid_of, open_study, place_of, suggest, translated
from .tickets import GRACE, TICKET, work
from .workers import Workers, run_workers

SQLITE, ON_A_SHARE = "study.sqlite", "study.log"


@dataclass(frozen=True)
class Tuning:
    """What is searched, and where it is kept.

    Attributes
    ----------
    out : Path
        Folder for the data set, the study unless `storage` names another place, and what is found.
    storage : str, optional
        See `study.open_study`.
    minutes : float, optional
        No trial is begun after so long; 0 only writes what is known.
    grace : float
        Seconds without a sign of life of its process after which a trial is taken again.
    workers : Workers
        Processes that train; as a rule this one.
    """

    recipe: Recipe
    out: Path
    storage: str | None = None
    study: str | None = None
    minutes: float | None = None
    grace: float = GRACE
    workers: Workers = Workers()

    @property
    def url(self) -> str:
        """Of the storage: without another one, a file of `out`; of a cluster one that stands a share.

        Raises
        ------
        UsageError
            The study was begun in a file that stands none.
        """
        on_a_share, sqlite = ((self.out / name).absolute() for name in (ON_A_SHARE, SQLITE))
        if self.storage:
            return self.storage
        if on_a_share.exists():
            return f"journal:{on_a_share}"
        if self.workers.on == "local":
            return f"sqlite:///{sqlite}"
        if sqlite.exists():
            raise UsageError(
                f"{sqlite} was begun on one machine, and SQLite does not belong on a share",
                next_step="name another --out for the cluster, or give --storage",
            )
        return f"journal:{on_a_share}"


def tune(plan: Tuning, on_end: Callable[[FrozenTrial, FrozenTrial | None], object] = lambda *_: None) -> dict[str, Any]:
    """Run trials until the study has as many as the recipe asks for, and return what ``tune.json`` holds.

    Parameters
    ----------
    on_end : callable
        Is given each trial of this process as it ends, and the best so far.

    Raises
    ------
    UsageError
        Nothing to tune, under torchrun, or the study is of another recipe or other data.
    EdgedxError
        Nothing can be trained here: no weights, a full disk, or a failure before any trial has ended.
    """
    recipe = plan.recipe
    check_space(recipe)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            "each trial is trained by one process, so torchrun has nothing to spread",
            next_step="start the command itself several times, each with its GPU in CUDA_VISIBLE_DEVICES",
        )
    with _alone(plan.out):  # several processes may share a folder
        data_stage(recipe, plan.out)
    data = open_data(recipe, plan.out)
    # Trials may be added later on, and pruned otherwise; where the data lies may differ from machine to machine.
    kept = stage_settings(recipe, "task", "preprocess", "augment", "model", "train")
    kept["tune"] = recipe.tune.model_dump(mode="json", include={"space", "sampler"})
    about = {"recipe": sha256_bytes(canonical_json(kept)), "data": data.digest}
    url = plan.url
    study = open_study(url, plan.study or recipe.name, recipe.tune, recipe.train.seed, about)

    def objective(trial: Trial) -> float:
        values = {key: suggest(trial, key, parameter) for key, parameter in recipe.tune.space.items()}
        try:
            return _train(trial, with_values(recipe, values), data)
        except torch.OutOfMemoryError as error:
            raise UsageError("out of memory", next_step="tune smaller train.batch_size") from error

    def after(trial: FrozenTrial) -> None:
        write_table(study, recipe, plan.out)
        on_end(trial, best_of(study))

    begun, seconds = time.monotonic(), 60 * plan.minutes if plan.minutes is not None else None
    count, prescribed = tickets(recipe)
    with translated(url):
        if not plan.workers.alone and seconds != 0:
            run_workers(
                plan.workers, recipe, plan.out, trials=count, url=url, study=study.study_name, minutes=plan.minutes
            )
        work(study, count, objective, prescribed, seconds=seconds, on_end=after, grace=plan.grace)
    facts = {"storage": place_of(url), "wall_seconds": round(time.monotonic() - begun, 1)}
    return write_study(study, recipe, plan.out, facts)


def tickets(recipe: Recipe) -> tuple[int, Callable[[int], Mapping[str, Value]]]:
    """How many trials there are to be, and the values that each is given beforehand.

    Of a grid every one has its point. Else the first is the recipe as it stands, where that lies in its own space, so
    that what tuning wins is known; the others are drawn.
    """
    space = recipe.tune.space
    if recipe.tune.sampler == "grid":
        grid = grid_of(recipe.tune)
        points = list(itertools.product(*grid.values()))
        return len(points), lambda ticket: dict(zip(grid, points[ticket], strict=True))
    unchanged = defaults(recipe)
    inside = all(parameter.holds(unchanged[key]) for key, parameter in space.items())
    return recipe.tune.trials, lambda ticket: unchanged if ticket == 0 and inside else {}


def best_of(study: optuna.Study) -> FrozenTrial | None:
    """The trial with the greatest value; None before the first has ended."""
    try:
        return study.best_trial
    except ValueError:
        return None


def _train(trial: Trial, recipe: Recipe, data: Dataset) -> float:
    """AUC on val of a teacher: of the weights that `finetune` would keep."""
    seen: list[float] = []
    begun = time.monotonic()

    def watch(line: dict[str, Any]) -> None:
        seen.append(float(line["val_auc"]))
        if math.isnan(seen[-1]):
            raise UsageError("AUC on val is not a number", next_step="is there an image of every class in val?")
        trial.report(seen[-1], len(seen))
        # What was trained to its end is an answer, however bad.
        if len(seen) < recipe.train.frozen_epochs + recipe.train.epochs and trial.should_prune():
            trial.set_user_attr("seconds", round(time.monotonic() - begun, 1))
            raise optuna.TrialPruned

    try:
        fit_teacher(recipe, data, title=f"trial {trial.user_attrs[TICKET]}", watch=watch)
    except Diverged as error:
        raise optuna.TrialPruned from error  # a bad trial, but an answer
    trial.set_user_attr("seconds", round(time.monotonic() - begun, 1))
    return max(seen) if recipe.train.patience else seen[-1]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
