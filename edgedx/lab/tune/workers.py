"""Trials by several processes, on this machine or on a cluster: each is `edgedx tune` itself, and joins the study."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgedx.core.errors import UsageError
from edgedx.core.settings.recipe import Recipe
from edgedx.lab.launch.launch import launch, launcher_on
from edgedx.lab.launch.local import cores_and_gpus, gpus_here
from edgedx.lab.launch.unit import Unit
from edgedx.lab.run.run import Run

from .files import TABLE

STORAGE = "EDGEDX_TUNE_STORAGE"
"""Variable with the address of the study: there may be a password in it, which a command line would show."""
WORKERS = "workers"


@dataclass(frozen=True)
class Workers:
    """How many there are, and where.

    Attributes
    ----------
    jobs : int
        Processes; 0: as GPUs and cores of this machine allow.
    on : str
        See `launch.launcher_on`.
    cores : int
        That each takes on a cluster.
    """

    jobs: int = 1
    on: str = "local"
    cores: int = 4

    @property
    def alone(self) -> bool:
        """Whether this process trains, and no other."""
        return self.jobs == 1 and self.on == "local"

    def count(self) -> int:
        """How many are started.

        Raises
        ------
        UsageError
            A cluster's size is not known here.
        """
        if self.jobs == 0 and self.on != "local":
            raise UsageError("--jobs 0 is for this machine", next_step="say how many processes the cluster is given")
        return self.jobs or cores_and_gpus()


def run_workers(
    workers: Workers, recipe: Recipe, out: Path, *, trials: int, url: str, study: str, minutes: float | None
) -> None:
    """Have the trials of a study trained until it has as many as the recipe asks for.

    Raises
    ------
    InputOutputError
        A process failed; trials that ended are kept.
    """
    recipe_file = Run(out).keep_recipe(recipe)
    command = [sys.executable, "-m", "edgedx", "tune", str(recipe_file.absolute()), "--out", str(out.absolute())]
    command += ["--study", study]
    command += [] if minutes is None else ["--minutes", str(minutes)]
    count = min(workers.count(), trials)
    units = [
        Unit(f"worker {number}", out.absolute() / WORKERS / str(number), (tuple(command),)) for number in range(count)
    ]
    launcher = launcher_on(workers.on, jobs=count, gpus=gpus_here(), cores=workers.cores)
    with _told(url):
        launch(units, launcher, f"processes that train (trials: {out / TABLE})")


@contextmanager
def _told(url: str) -> Iterator[None]:
    before = os.environ.get(STORAGE)
    os.environ[STORAGE] = url
    try:
        yield
    finally:
        os.environ.pop(STORAGE)
        if before is not None:
            os.environ[STORAGE] = before
