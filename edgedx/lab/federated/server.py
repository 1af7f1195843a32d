"""A federation's server: it holds no image, gives weights to listed sites and combines what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedx.core.errors import AlreadyExists, InputOutputError, UsageError
from edgedx.core.settings.recipe import Recipe
from edgedx.lab.data.prepare import data_stage, open_data
from edgedx.lab.network.checkpoint import save_checkpoint
from edgedx.lab.run.card import ModelCard
from edgedx.lab.run.renew import FEDERATED as REPORT
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import Stage, stage_settings
from edgedx.lab.train.finish import finish
from edgedx.lab.train.phase import Outcome

from .keys import listed_sites
from .link import serve
from .report import history_of, write_report
from .rounds import STATE, Federation, federate
from .start import AGREED, agreement, first_model

GLOBAL = "global"
"""Folder of a run for the model of a server without images: a checkpoint without thresholds."""


@dataclass(frozen=True)
class Listening:
    """Where a server listens, and for whom.

    Attributes
    ----------
    address : str
        HOST:PORT.
    certificate, key : Path
        PEM files of its TLS.
    sites : Path
        Folder with a ``NAME.pub`` for each site.
    """

    address: str
    certificate: Path
    key: Path
    sites: Path

    def parts(self) -> tuple[str, int]:
        """Host and port.

        Raises
        ------
        UsageError
            It is no HOST:PORT.
        """
        host, _, port = self.address.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise UsageError(f"--listen {self.address}: not HOST:PORT", next_step="for example 0.0.0.0:9092")
        return host.strip("[]"), int(port)


def lead(
    recipe: Recipe, run: Path | Run, listening: Listening, *, data: bool, resume: bool = False, overwrite: bool = False
) -> dict[str, Any]:
    """Run a federation to its end and return the report by site, which ``run/federated.json`` holds too.

    Parameters
    ----------
    data : bool
        Whether the recipe's data set is on this machine: then ``run/teacher`` becomes an ordinary teacher, judged and
        calibrated on it. Else the weights are in ``run/global``; each site has its own ordinary run.

    Raises
    ------
    InputOutputError
        Too few sites came, or nothing they sent could be used.
    """
    run = Run.of(run)
    address, sites = listening.parts(), listed_sites(listening.sites)
    for path in (listening.certificate, listening.key):
        if not path.is_file():
            raise InputOutputError(f"no such file: {path}", next_step="edgedx federated certificate HOST")
    if (run.path / REPORT).exists() and not overwrite:
        raise AlreadyExists(f"{run.path / REPORT} is there already", next_step="another --out, or --overwrite")
    state = run.path / STATE
    if not resume and state.exists():
        if not overwrite:
            raise UsageError(f"{run.path} holds an unfinished federation", next_step="--resume, or --overwrite")
        state.unlink()
    run.keep_recipe(recipe)

    def work() -> tuple[Federation, str, Any]:
        model, origin = first_model(recipe)
        settings = recipe.federated
        least = len(sites) if settings.noise_multiplier else min(settings.min_sites, len(sites))
        with serve(address, listening.certificate, listening.key, sites, least, 60 * settings.wait_minutes) as grid:
            grid.wait_for_sites()
            given = federate(recipe, model, grid, grid.names, state, resume=resume)
            grid.let_go()
        return given, f"{origin}; trained at {len(sites)} sites", model

    if data:
        report = _with_data(recipe, run, work, overwrite=overwrite, resume=resume)
    else:
        given, origin, model = work()
        card = ModelCard(
            backbone=recipe.model.backbone, task=recipe.task, preprocess=recipe.preprocess, role="teacher",
            weights_from=origin, synthetic=recipe.synthetic,
        )  # fmt: skip
        save_checkpoint(run.path / GLOBAL, model, card)
        report = write_report(run.path, recipe, given)
    state.unlink(missing_ok=True)
    return report


def _with_data(recipe: Recipe, run: Run, work: Any, *, overwrite: bool, resume: bool) -> dict[str, Any]:
    data_stage(recipe, run, overwrite=overwrite)
    data = open_data(recipe, run)
    stage = Stage(run.teacher.path, stage_settings(recipe, *AGREED), {"data": data.digest, "agreed": agreement(recipe)})

    def train() -> dict[str, Any]:
        given, origin, model = work()
        outcome = Outcome(history=history_of(given.rounds, recipe))
        metrics = finish(model, recipe, data, run.teacher.path, outcome, role="teacher", weights_from=origin)
        return {**metrics, "federated": write_report(run.path, recipe, given)}

    report: dict[str, Any] = stage.run(train, overwrite=overwrite, resume=resume)["metrics"]["federated"]
    return report
