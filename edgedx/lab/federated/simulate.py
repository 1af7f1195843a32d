"""A federation on one machine: a data set that is all here is divided into sites, which train one after another.

It answers what a federation would gain before one is agreed on; the sites' code is that of real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from edgedx.core.errors import UsageError
from edgedx.core.settings.recipe import Recipe
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.data.prepare import data_stage, open_data
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import Stage
from edgedx.lab.run.stage import stage_settings as settings_of
from edgedx.lab.train.finish import finish
from edgedx.lab.train.phase import Outcome

from .app import client_app
from .local_grid import LocalGrid
from .report import history_of, write_report
from .rounds import STATE, Federation, federate
from .site import Site
from .start import AGREED, first_model
from .weights import tensors_of


@dataclass(frozen=True)
class Division:
    """Into which sites a data set is divided.

    Attributes
    ----------
    sites : int
        So many, at random, each patient whole.
    by : str
        Or one for each value of this subgroup column.
    """

    sites: int = 0
    by: str = ""

    def of(self, data: Dataset, seed: int) -> dict[str, Dataset]:
        """Sites by name, in order.

        Raises
        ------
        UsageError
            Neither or both are given, or there is no such column.
        """
        if bool(self.sites) == bool(self.by):
            raise UsageError("give either --sites N or --by COLUMN", next_step="for example --sites 3")
        if self.by:
            return _by_column(data, self.by)
        return _at_random(data, self.sites, seed)


def _at_random(data: Dataset, sites: int, seed: int) -> dict[str, Dataset]:
    """Patients of each split dealt out like cards, so that every site has some of each."""
    splits = dict(zip(data.patients, data.splits, strict=True))
    draw = np.random.default_rng(seed)
    home: dict[str, int] = {}
    for split in ("train", "val", "test"):
        patients = sorted(patient for patient, its in splits.items() if its == split)
        home |= {patients[one]: place % sites for place, one in enumerate(draw.permutation(len(patients)))}
    places = np.array([home[patient] for patient in data.patients])
    return {f"site-{number + 1}": data.take(np.flatnonzero(places == number)) for number in range(sites)}


def _by_column(data: Dataset, column: str) -> dict[str, Dataset]:
    if not data.subgroups or column not in data.subgroups[0]:
        there = ", ".join(data.subgroups[0]) if data.subgroups else ""
        raise UsageError(
            f"--by {column}: no such column of subgroups",
            next_step=f"one of {there}" if there else "name it in data.subgroup_columns",
        )
    values = np.array([groups[column] or "unknown" for groups in data.subgroups])
    return {str(value): data.take(np.flatnonzero(values == value)) for value in sorted(set(values))}


def simulate(
    recipe: Recipe, run: Path | Run, division: Division, *, overwrite: bool = False, resume: bool = False
) -> dict[str, Any]:
    """Federate on one machine; ``run/teacher`` becomes an ordinary teacher, ``run/federated.json`` the report by site.

    Temperature and operating points are fitted on the val images of all sites together, as they are all here.
    """
    run = Run.of(run)
    data_stage(recipe, run, overwrite=overwrite)
    data = open_data(recipe, run)
    parts = division.of(data, recipe.train.seed)
    folder = run.teacher.path
    settings = {**settings_of(recipe, *AGREED), "sites": list(parts)}
    stage = Stage(folder, settings, {"data": data.digest})

    def work() -> dict[str, Any]:
        if not resume:
            (folder / STATE).unlink(missing_ok=True)
        given, origin, model = federate_here(recipe, parts, folder / STATE, resume=resume)
        outcome = Outcome(history=history_of(given.rounds, recipe))
        told = f"{origin}; trained at {len(parts)} simulated sites"
        metrics = finish(model, recipe, data, folder, outcome, role="teacher", weights_from=told)
        return {**metrics, "federated": write_report(run.path, recipe, given)}

    record = stage.run(work, overwrite=overwrite, resume=resume)
    (folder / STATE).unlink(missing_ok=True)
    return record


def federate_here(
    recipe: Recipe,
    parts: dict[str, Dataset],
    state: Path,
    *,
    resume: bool = False,
    each: Callable[[Site, nn.Module], None] | None = None,
) -> tuple[Federation, str, nn.Module]:
    """Federate over sites in this process; returns what it gave, where weights began, and the model.

    Parameters
    ----------
    each : callable
        Is given each site at the end, with the finished model of its own.
    """
    model, origin = first_model(recipe)
    sites = {
        number: Site(name, recipe, part, state.parent / f"site-{number}")
        for number, (name, part) in enumerate(parts.items(), 1)
    }
    names = {number: site.name for number, site in sites.items()}
    if not resume:
        for site in sites.values():
            site.forget()
    grid = LocalGrid({number: client_app(site) for number, site in sites.items()}, names)
    given = federate(recipe, model, grid, names, state, resume=resume)
    for site in sites.values():
        if each is not None:
            each(site, site.finished(tensors_of(model)))
        site.forget()
    return given, origin, model
