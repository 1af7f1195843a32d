"""After training: a model is judged, calibrated and written as a checkpoint."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch

from edgedx.core.files import atomic_write
from edgedx.core.settings.recipe import Recipe
from edgedx.core.stats.metrics import fit_temperature
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.data.predict import predict
from edgedx.lab.network.checkpoint import save_checkpoint
from edgedx.lab.network.torch_runner import TorchRunner
from edgedx.lab.run.card import ModelCard
from edgedx.lab.run.model_folder import save_logits, save_metrics

from .phase import Outcome
from .short_figures import operating_points, summary


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
    logits = {split: predict(TorchRunner(model), data.subset(split), recipe.preprocess) for split in ("val", "test")}
    model.to("cpu").eval()
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
    save_metrics(folder, report)
    write_history(folder, outcome.history)
    return report


def _backbone(recipe: Recipe, role: str) -> str:
    same = role == "teacher" or recipe.student.backbone == "same"
    return recipe.model.backbone if same else recipe.student.backbone


def write_history(folder: Path, history: list[dict[str, Any]]) -> None:
    """Learning curves as CSV and PNG."""
    with atomic_write(folder / "history.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(history[0]))
        writer.writeheader()
        writer.writerows(history)
    from edgedx.lab.run.plots import learning_curves

    learning_curves(history, folder / "learning-curves.png", f"Learning curves of {folder.name}")
