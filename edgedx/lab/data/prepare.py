"""The first stage of a run: the recipe's data set, read once and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgedx.core.settings.recipe import Recipe
from edgedx.core.settings.recipe_data import Reading
from edgedx.core.settings.recipe_sections import Data
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import Stage

from .dataset import FILES, Dataset, build_dataset, load_dataset
from .sources import fingerprint, reading_settings


def data_stage(recipe: Recipe, run: Path | Run, *, overwrite: bool = False) -> dict[str, Any]:
    """Read the recipe's data set into ``run/data``; its digest is the input of all later stages."""
    settings = recipe.model_dump(mode="json", include={"task", "data", "synthetic"})
    for name in ("label_names", "patches", *Reading.model_fields):
        # Left out where they ask for nothing: runs from before them are current.
        if getattr(recipe.data, name) == Data.model_fields[name].default:
            del settings["data"][name]
    stage = Stage(Run.of(run).data, {**settings, **reading_settings(recipe)}, {"source": fingerprint(recipe)})
    # A file that was lost is made again from the source; the stages after it stay, as the data set is the same.
    lost = stage.record() is not None and not all((stage.folder / name).is_file() for name in FILES)
    return stage.run(lambda: build_dataset(recipe, stage.folder), overwrite=overwrite or lost, restartable=True)


def open_data(recipe: Recipe, run: Path | Run) -> Dataset:
    """The data set of a run."""
    return load_dataset(Run.of(run).data, recipe.task.kind, recipe.preprocess)
