"""The report by site of a federation: one JSON file and the same as a table to read."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgedx.core.files import atomic_write, write_json
from edgedx.core.settings.recipe import Recipe
from edgedx.lab.run.renew import FEDERATED as REPORT
from edgedx.lab.train.optimizer import schedule

from .rounds import Federation

TABLE = "federated-sites.csv"
NOT_A_DEVICE = "edgedx is not a medical device, and these figures are no clinical validation."
_STEPS = 100
"""Of a round, for its learning rate: how many a site really makes is its own affair."""
_FIELDS = ("site", "images", "patients", "auc", "low", "high", "own_auc", "own_low", "own_high", "problem")


def write_report(folder: Path, recipe: Recipe, given: Federation) -> dict[str, Any]:
    """Write both files into a run, and return what the first holds.

    AUC is that of the global model on the site's own test images, with its 95 % bootstrap interval over patients;
    own AUC that of the model with the layers that stayed at the site.
    """
    report = {
        "schema_version": 1,
        "recipe": recipe.name,
        "synthetic": recipe.synthetic,
        "settings": recipe.federated.model_dump(mode="json"),
        "sites": given.sites,
        "privacy": given.privacy,
        "rounds": given.rounds,
        "note": NOT_A_DEVICE,
    }
    write_json(folder / REPORT, report)
    with atomic_write(folder / TABLE, "w", newline="") as stream:
        writer = csv.DictWriter(stream, _FIELDS, restval="")
        writer.writeheader()
        writer.writerows({"site": name, **figures} for name, figures in given.sites.items())
    return report


def history_of(rounds: list[dict[str, Any]], recipe: Recipe) -> list[dict[str, Any]]:
    """Learning curves of a federation as those of any training: the mean over images of what sites told, and the
    learning rate at which each round ended."""
    lines = []
    options, own = recipe.train, recipe.federated
    factors = schedule(_STEPS * own.rounds, _STEPS * options.warmup_epochs / own.epochs)
    for line in rounds:
        told = [said for said in line["sites"].values() if "loss" in said]
        lines.append(
            {
                "phase": "federated",
                "epoch": float(line["round"]),
                **{key: _mean(told, key) for key in ("loss", "val_loss", "val_auc")},
                "learning_rate": options.learning_rate * factors[_STEPS * line["round"] - 1],
                "seconds": line.get("seconds", 0.0),
            }
        )
    return lines


def _mean(told: list[Mapping[str, Any]], key: str) -> float:
    known = [(said[key], said["images"]) for said in told if said[key] is not None]
    total = sum(images for _, images in known)
    return sum(value * images for value, images in known) / total if total else float("nan")
