"""The data set of an update: old images as they were divided, and new ones of which a part is kept for judging."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgedx.core.errors import DataError, UsageError
from edgedx.core.files import read_json, write_text
from edgedx.core.settings.columns import FittedColumn
from edgedx.core.settings.recipe import Recipe
from edgedx.core.table import csv_text, plain_cell
from edgedx.lab.data.cases_file import CANVASES, MANIFEST, SUMMARY, label_text, read_cases, write_cases
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.data.reading.patients import patient_key
from edgedx.lab.data.split import PreparedImage, assign, check_classes
from edgedx.lab.run.run import Run

from .settle import Old, Settled

SINCE, SITE = "since_version", "site"
"""Columns that an update adds: the version whose data first had the image, and where it is from."""
BEFORE = "development"
"""Site of images that came with no site."""
CONTRADICTIONS = "contradictions.csv"
_BLOCK = 256


def open_old(recipe: Recipe, run: Run) -> Old:
    """The data set of the run that is updated; without its images, or empty, where they were not kept."""
    if not (run.data / MANIFEST).is_file():
        return Old([], [], [], None)
    cases, splits, groups = read_cases(recipe, run.data)
    path = run.data / CANVASES
    return Old(cases, splits, groups, np.load(path, mmap_mode="r", allow_pickle=False) if path.is_file() else None)


def shown_old(recipe: Recipe, old: Old) -> list[int]:
    """Positions of old images that are in the update: all for rehearsal, else those that only judge."""
    if old.canvases is None:
        if recipe.update.method in ("rehearsal", "ewc"):
            raise UsageError(
                f"{recipe.update.method} needs the run's own images ({CANVASES}), which are not there",
                next_step="restore them, or learn without old images: --method distil",
            )
        return []
    if recipe.update.method == "rehearsal":
        return list(range(len(old.cases)))
    return [place for place, split in enumerate(old.splits) if split != "train"]


def divide_new(recipe: Recipe, cases: Sequence[PreparedImage], old: Old) -> tuple[list[str], list[str]]:
    """A split for each new image, by patient and likeness, and warnings.

    A patient whom the data set knows keeps his split: nobody is judged on who was learned from.

    Raises
    ------
    DataError
        Too few images of a class to judge on; says how many more.
    """
    options = recipe.update
    fractions = (1 - options.val_share - options.judge_share, options.val_share, options.judge_share)
    drawn = assign(cases, fractions, recipe.data.seed)
    rank = {"test": 0, "val": 1, "train": 2}
    places: dict[str, str] = {}
    for case, split in zip(old.cases, old.splits, strict=True):
        if case.row.patient:
            key = patient_key(case.row.patient)
            places[key] = max(places.get(key, split), split, key=lambda name: rank[name])
    forced: dict[str, str] = {}
    for case in cases:
        known = places.get(patient_key(case.row.patient)) if case.row.patient else None
        if known is not None:
            forced[case.unit] = max(forced.get(case.unit, known), known, key=lambda name: rank[name])
    splits = [forced.get(case.unit, split) for case, split in zip(cases, drawn, strict=True)]
    _enough(recipe, cases, splits)
    count = sum(case.unit in forced for case in cases)
    return splits, (
        [f"{count} new images are of patients whom the data set knows: they are where those patients were"]
        if count
        else []
    )


def _enough(recipe: Recipe, cases: Sequence[PreparedImage], splits: Sequence[str]) -> None:
    options, missing = recipe.update, []
    for name in recipe.task.classes:
        mine = [
            split
            for case, split in zip(cases, splits, strict=True)
            if name in label_text(recipe, case.row.label).split("|")
        ]
        judged = mine.count("test")
        if judged < options.least_judged:
            more = math.ceil((options.least_judged - judged) / options.judge_share)
            missing.append(f"{name} has {len(mine)}, of which {judged} would judge: about {more} more are needed")
    if missing:
        raise DataError(
            f"too few new images: {options.least_judged} of each class must be kept to judge on; {'; '.join(missing)}",
            next_step="collect more answers, then export again; or --set update.least_judged=N (4 at least) where "
            "figures may be rough",
        )


def write_combined(
    recipe: Recipe,
    run: Run,
    old: Old,
    settled: Settled,
    folder: Path,
    *,
    source: str,
    leave_out: set[int],
    fitted: Sequence[FittedColumn],
) -> dict[str, Any]:
    """Write the data set of the update into `folder` and return its summary.

    Parameters
    ----------
    leave_out : set of int
        New images whose labels are likely wrong: not learned from, but judged on.
    fitted : sequence of FittedColumn
        Columns beside the image, encoded as the teacher knows them.
    """
    splits, warnings = divide_new(recipe, settled.cases, old)
    chosen = shown_old(recipe, old)
    before = str(run.recipe().version)
    groups = list(dict.fromkeys([*old.groups, *(name for one in settled.images for name in one.groups), SITE, SINCE]))
    kept = [place for place in range(len(settled.cases)) if place not in leave_out or splits[place] != "train"]
    taken = {old.cases[place].row.name for place in chosen}
    cases = [
        replace(one, index=number, row=_with_groups(one, SITE, BEFORE, SINCE, before))
        for number, one in enumerate(old.cases[place] for place in chosen)
    ]
    for number, place in enumerate(kept, start=len(cases)):
        one, told = settled.cases[place], settled.images[place]
        name = one.row.name if one.row.name not in taken else f"{one.row.name}~{one.sha256[:8]}"
        row = replace(_with_groups(one, SITE, told.site, SINCE, recipe.version), name=name)
        cases.append(replace(one, index=number, row=row))
    every = [*(old.splits[place] for place in chosen), *(splits[place] for place in kept)]
    first = settled.images[0].canvas
    assert first is not None
    store = np.lib.format.open_memmap(folder / CANVASES, "w+", first.dtype, (len(cases), *first.shape))
    for start in range(0, len(chosen), _BLOCK):
        rows = [old.cases[place].index for place in chosen[start : start + _BLOCK]]
        assert old.canvases is not None
        store[start : start + len(rows)] = old.canvases[rows]
    for number, place in enumerate(kept, start=len(chosen)):
        store[number] = settled.images[place].canvas
    store.flush()
    warnings += [*settled.warnings, *check_classes(cases, every, recipe.task)]
    suspects = [
        (settled.cases[place].row.name, "likely wrong label: not learned from")
        for place in leave_out
        if place not in kept
    ]
    write_text(folder / CONTRADICTIONS, contradictions_csv(settled))
    return write_cases(
        recipe,
        folder,
        cases,
        every,
        [*settled.excluded, *suspects],
        source=source,
        subgroups=groups,
        warnings=warnings,
        near_duplicates=None,
        fitted={"columns": [one.model_dump(mode="json") for one in fitted]} if fitted else {},
    )


def _with_groups(case: PreparedImage, site: str, place: str, since: str, version: str) -> Any:
    """The row with the columns that an update adds, unless it has them."""
    groups = {**case.row.subgroups}
    groups[site] = groups.get(site) or place
    groups[since] = groups.get(since) or version
    return replace(case.row, subgroups=groups)


def contradictions_csv(settled: Settled) -> str:
    """For people: which images to look at again."""
    rows = [
        [plain_cell(name), key, plain_cell(site), words, why] for name, key, site, words, why in settled.contradictions
    ]
    return csv_text(["image", "key", "site", "labels", "contradiction"], rows)


def is_new(data: Dataset, version: str) -> np.ndarray:
    """Which images of an update's data set came with it, bool (N,)."""
    return np.array([group.get(SINCE) == version for group in data.subgroups], bool)


def source_of(run: Run) -> str:
    """Where the old data came from, as its summary says."""
    path = run.data / SUMMARY
    return str(read_json(path).get("source", "")) if path.is_file() else "a data set that was not kept"
