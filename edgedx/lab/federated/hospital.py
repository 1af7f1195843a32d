"""A hospital in a federation, from its images to a run of its own that goes through compress, gate and deploy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from edgedx.core.errors import InputOutputError, UsageError
from edgedx.core.files import write_json
from edgedx.core.settings.recipe import Recipe
from edgedx.lab.data.prepare import data_stage, open_data
from edgedx.lab.run.renew import FEDERATED
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import Stage, stage_settings
from edgedx.lab.train.finish import finish
from edgedx.lab.train.phase import Outcome

from .app import client_app
from .dial import dial
from .keys import read_site_key
from .site import Site
from .start import AGREED


@dataclass(frozen=True)
class Calling:
    """Whom a site dials, and how it proves who it is.

    Attributes
    ----------
    server : str
        HOST:PORT.
    ca : Path
        PEM certificate of the server, or of the authority that signed it.
    key : Path
        The site's private key.
    name : str
        For messages here; the server knows the site by its key.
    """

    server: str
    ca: Path
    key: Path
    name: str = "this site"


def take_part(
    recipe: Recipe, run: Path | Run, calling: Calling, *, overwrite: bool = False, resume: bool = False
) -> dict[str, Any]:
    """Take part in a federation to its end and return the record of ``run/teacher``.

    The teacher is the global model, with the layers that stayed here where some did; temperature and operating points
    are fitted on the val images of here.
    """
    run = Run.of(run)
    if not calling.ca.is_file():
        raise InputOutputError(f"--ca {calling.ca}: no such file", next_step="ask who runs the server for it")
    host, _, port = calling.server.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(f"--server {calling.server}: not HOST:PORT", next_step="for example trial.example.org:9092")
    key = read_site_key(calling.key)
    run.keep_recipe(recipe)
    data_stage(recipe, run, overwrite=overwrite)
    data = open_data(recipe, run)
    folder = run.teacher.path
    stage = Stage(folder, stage_settings(recipe, *AGREED), {"data": data.digest})

    def work() -> dict[str, Any]:
        site = Site(calling.name, recipe, data, folder)
        if not resume:
            site.forget()
        last: list[dict[str, Tensor]] = []
        dial(
            calling.server, calling.ca, key, client_app(site, last.append), calling.name,
            wait_s=60 * recipe.federated.wait_minutes, done=lambda: bool(last),
        )  # fmt: skip
        outcome = Outcome(history=site.history)
        told = f"federated training with other sites ({recipe.federated.method})"
        return finish(site.finished(last[0]), recipe, data, folder, outcome, role="teacher", weights_from=told)

    if stage.record() is None or overwrite:
        write_json(run.path / FEDERATED, {"schema_version": 1, "settings": recipe.federated.model_dump(mode="json")})
    record = stage.run(work, overwrite=overwrite, resume=resume)
    Site.forget_in(folder)
    return record
