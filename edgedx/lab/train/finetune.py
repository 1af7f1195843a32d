"""The first two stages of a run: data set, then teacher by two-phase transfer learning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from edgedx.core.files import sha256_file
from edgedx.core.settings.recipe import Recipe
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.data.prepare import data_stage, open_data
from edgedx.lab.network.backbone import build_model, refuse_unexportable
from edgedx.lab.network.column_head import with_columns
from edgedx.lab.network.weights import load_weights
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import Stage, stage_settings

from .finish import finish
from .loop import fit
from .phase import Outcome, Phase, Training
from .processes import is_main, main_first
from .tasks import Classify

STATE = "state.safetensors"  # of training, for a run that was killed


def finetune(
    recipe: Recipe, run: Path | Run, *, from_scratch: bool = False, resume: bool = False, overwrite: bool = False
) -> dict[str, Any]:
    """Train the teacher into ``run/teacher`` and return the stage's record.

    Parameters
    ----------
    from_scratch : bool
        Random weights and no frozen phase; the epochs of phase 1 are added to phase 2, so that both ways see the
        same number of images.
    """
    run = Run.of(run)
    with main_first():  # one process reads the data set, the others find it done
        data_record = data_stage(recipe, run, overwrite=overwrite and is_main())
    data = open_data(recipe, run)
    settings = stage_settings(recipe, "task", "preprocess", "augment", "model", "train")
    settings["from_scratch"] = from_scratch
    folder = run.teacher.path
    stage = Stage(folder, settings, {"data": data.digest, **_weights_file(recipe)})
    if not is_main():
        # Only the main process keeps the record; the others train along with it, or have nothing to do.
        if stage.record() is None or overwrite:
            _train_teacher(recipe, data, folder, from_scratch, resume, write=False)
        return {}
    work = lambda: _train_teacher(recipe, data, folder, from_scratch, resume, write=True)  # noqa: E731
    record = stage.run(work, overwrite=overwrite, resume=resume)
    (folder / STATE).unlink(missing_ok=True)  # only now: until the record stands, it can be resumed
    return {**record, "data": data_record["metrics"]}


def _weights_file(recipe: Recipe) -> dict[str, str]:
    path = Path(recipe.model.weights)
    return {"weights": sha256_file(path)} if recipe.model.weights not in {"auto", "none"} else {}


def _train_teacher(
    recipe: Recipe, data: Dataset, folder: Path, from_scratch: bool, resume: bool, *, write: bool
) -> dict[str, Any]:
    state = folder / STATE
    if write and not resume and state.exists():
        state.unlink()
    refuse_unexportable(recipe.model.backbone, len(recipe.task.classes), recipe.preprocess)
    model, origin, outcome = fit_teacher(recipe, data, from_scratch=from_scratch, state=state, resume=resume)
    if not write:
        return {}
    return finish(model, recipe, data, folder, outcome, role="teacher", weights_from=origin)


def fit_teacher(
    recipe: Recipe,
    data: Dataset,
    *,
    from_scratch: bool = False,
    state: Path | None = None,
    resume: bool = False,
    title: str = "teacher",
    watch: Callable[[dict[str, Any]], object] | None = None,
) -> tuple[torch.nn.Module, str, Outcome]:
    """Train on train, look at val, and return the model, where its weights began, and the outcome (see `loop.fit`)."""
    torch.manual_seed(recipe.train.seed)
    model = build_model(
        recipe.model.backbone,
        len(recipe.task.classes),
        recipe.preprocess,
        dropout=recipe.model.dropout,
        stochastic_depth=recipe.model.stochastic_depth,
    )
    origin = load_weights(model, recipe.model.backbone, "none" if from_scratch else recipe.model.weights)
    model = with_columns(model, data.fitted, len(recipe.task.classes))
    train, val = data.subset("train"), data.subset("val")
    task = Classify.of(recipe, train)
    outcome = fit(
        Training(model, task, train, val, recipe, teacher_phases(recipe, origin), title=title, watch=watch),
        state=state,
        resume=resume,
        keep_state=True,
    )
    return model, origin, outcome


def teacher_phases(recipe: Recipe, origin: str) -> list[Phase]:
    """Phase 1 trains the new head on a frozen base; phase 2 everything, gently."""
    options = recipe.train
    if origin == "from scratch" or options.frozen_epochs == 0:
        return [Phase("all layers", options.frozen_epochs + options.epochs, options.learning_rate)]
    head = Phase("new head", options.frozen_epochs, options.frozen_learning_rate, frozen=True)
    return [head, Phase("all layers", options.epochs, options.learning_rate)] if options.epochs else [head]
