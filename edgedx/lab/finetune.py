"""The first two stages of a run: data set, then teacher by two-phase transfer learning."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..core.files import atomic_write, sha256_file, write_json
from ..core.metrics import fit_temperature
from ..core.recipe import Data, Recipe
from .checkpoint import ModelCard, save_checkpoint
from .columns import with_columns
from .dataset import Dataset, build_dataset, load_dataset
from .evaluate import operating_points, summary
from .loop import Outcome, Phase, fit, predict
from .sources import fingerprint, reading_settings
from .stage import Stage, stage_settings
from .tasks import Classify, class_weights
from .teacher import build_model
from .weights import load_weights

STATE = "state.safetensors"  # of training, for a run that was killed


def data_stage(recipe: Recipe, run: Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Read the recipe's data set into ``run/data``; its digest is the input of all later stages."""
    settings = recipe.model_dump(mode="json", include={"task", "data", "synthetic"})
    for name in ("label_names", "patches"):  # left out where they ask for nothing: runs from before them are current
        if getattr(recipe.data, name) == Data.model_fields[name].default:
            del settings["data"][name]
    stage = Stage(run / "data", {**settings, **reading_settings(recipe)}, {"source": fingerprint(recipe)})
    return stage.run(lambda: build_dataset(recipe, run / "data"), overwrite=overwrite, restartable=True)


def open_data(recipe: Recipe, run: Path) -> Dataset:
    """The data set of a run."""
    return load_dataset(run / "data", recipe.task.kind, recipe.preprocess)


def finetune(
    recipe: Recipe, run: Path, *, from_scratch: bool = False, resume: bool = False, overwrite: bool = False
) -> dict[str, Any]:
    """Train the teacher into ``run/teacher`` and return the stage's record.

    Parameters
    ----------
    from_scratch : bool
        Random weights and no frozen phase; the epochs of phase 1 are added to phase 2, so that both ways see the
        same number of images.
    """
    from accelerate import PartialState

    processes = PartialState(cpu=not torch.cuda.is_available())
    with processes.main_process_first():  # one process reads the data set, the others find it done
        data_record = data_stage(recipe, run, overwrite=overwrite and processes.is_main_process)
    data = open_data(recipe, run)
    settings = stage_settings(recipe, "task", "preprocess", "augment", "model", "train")
    settings["from_scratch"] = from_scratch
    folder = run / "teacher"
    stage = Stage(folder, settings, {"data": data.digest, **_weights_file(recipe)})
    if not processes.is_main_process:
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
    weights = class_weights(train, recipe.task) if recipe.train.imbalance == "loss" else None
    task = Classify(recipe.task, weights, recipe.train.label_smoothing)
    outcome = fit(
        model,
        task,
        train,
        val,
        recipe,
        teacher_phases(recipe, origin),
        state=state,
        resume=resume,
        title=title,
        keep_state=True,
        watch=watch,
    )
    return model, origin, outcome


def teacher_phases(recipe: Recipe, origin: str) -> list[Phase]:
    """Phase 1 trains the new head on a frozen base; phase 2 everything, gently."""
    options = recipe.train
    if origin == "from scratch" or options.frozen_epochs == 0:
        return [Phase("all layers", options.frozen_epochs + options.epochs, options.learning_rate)]
    head = Phase("new head", options.frozen_epochs, options.frozen_learning_rate, frozen=True)
    return [head, Phase("all layers", options.epochs, options.learning_rate)] if options.epochs else [head]


def finish(
    model: torch.nn.Module,
    recipe: Recipe,
    data: Dataset,
    folder: Path,
    outcome: Outcome,
    *,
    role: str,
    weights_from: str,
    pruning: list[Any] | None = None,
) -> dict[str, Any]:
    """Judge a trained model, fit its temperature and operating points on val, and write the checkpoint."""
    model.to("cpu").eval()
    logits = {split: predict(model, data.subset(split), recipe.preprocess) for split in ("val", "test")}
    val = data.subset("val")
    temperature = fit_temperature(logits["val"], val.labels, recipe.task.kind)
    points = operating_points(recipe, logits["val"], val.labels, temperature)
    metrics = {
        split: summary(
            recipe.task, values, data.subset(split).labels, data.subset(split).patients, temperature, points[0]
        )
        for split, values in logits.items()
    }
    card = ModelCard(
        backbone=_backbone(recipe, role),
        task=recipe.task,
        preprocess=recipe.preprocess,
        role=role,
        weights_from=weights_from,
        pruning=pruning or [],
        columns=list(data.fitted),
        temperature=temperature,
        operating_points=points,
        metrics={f"{split}_auc": metrics[split]["auc"]["value"] for split in metrics},
        synthetic=recipe.synthetic,
    )
    save_checkpoint(folder, model, card)
    save_logits(folder, logits)
    report = {
        **metrics,
        "temperature": temperature,
        "operating_points": [point.model_dump() for point in points],
        "weights_from": weights_from,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "data_share": round(outcome.data_share, 4),
        "images_per_s": round(outcome.images_per_s, 1),
        "history": outcome.history,
    }
    write_json(folder / "metrics.json", report)
    write_history(folder, outcome.history)
    return report


def _backbone(recipe: Recipe, role: str) -> str:
    same = role == "teacher" or recipe.student.backbone == "same"
    return recipe.model.backbone if same else recipe.student.backbone


def save_logits(folder: Path, logits: dict[str, np.ndarray]) -> None:
    """Keep logits by split in ``logits.npz``; later stages compare themselves with them."""
    with atomic_write(folder / "logits.npz") as stream:
        np.savez(stream, **logits)  # type: ignore[arg-type]


def write_history(folder: Path, history: list[dict[str, Any]]) -> None:
    """Learning curves as CSV and PNG."""
    with atomic_write(folder / "history.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(history[0]))
        writer.writeheader()
        writer.writerows(history)
    from .plots import learning_curves

    learning_curves(history, folder / "learning-curves.png")
