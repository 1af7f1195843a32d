"""A federation small enough for tests: pictures of two hospitals, and sites that misbehave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tiny

from edgedx.core.settings.recipe import Recipe
from edgedx.lab.data.dataset import Dataset, build_dataset, load_dataset


def recipe(folder: Path, **federated: Any) -> Recipe:
    """The tiny recipe with two rounds."""
    return tiny.recipe(
        folder,
        data={"split_column": "split", "subgroup_columns": ["hospital"]},
        train={"frozen_epochs": 0, "epochs": 1, "batch_size": 8, "ema": 0.0},
        federated={"rounds": 2, "wait_minutes": 1, **federated},
    )


def write_hospitals(folder: Path, hospitals: int = 3, patients: int = 60) -> None:
    """Pictures with a column ``hospital``; every one has both classes in every split."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = tiny.with_splits(tiny.write_set(folder, patients=patients, per_patient=1))
    for entry in entries:
        entry["hospital"] = f"h{int(entry['patient_id'][1:]) // 10 % hospitals}"
    tiny.write_table(folder, entries)


def parts_of(settings: Recipe, folder: Path, hospitals: int = 3) -> dict[str, Dataset]:
    """The data set read, and divided by hospital."""
    build_dataset(settings, folder)
    data = load_dataset(folder, settings.task.kind, settings.preprocess)
    homes = np.array([groups["hospital"] for groups in data.subgroups])
    return {f"h{number}": data.take(np.flatnonzero(homes == f"h{number}")) for number in range(hospitals)}


def spoiled(app: Callable[..., Any], spoil: Callable[[Any], None]) -> Callable[..., Any]:
    """An app whose updates are changed on their way, and nothing else of it."""

    def call(message: Any, context: Any) -> Any:
        reply = app(message, context)
        if message.metadata.message_type == "train" and not reply.has_error():
            spoil(reply)
        return reply

    return call
