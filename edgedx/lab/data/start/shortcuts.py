"""What is no disease and still tells the class: facts of files and tables, rare values of them, the border of images.

`edgedx data check` asks before training; the report of a run asks of its data set.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx.core.errors import DataError
from edgedx.core.files import read_json, write_json
from edgedx.core.preprocess import Canvas
from edgedx.core.settings.recipe import Recipe
from edgedx.lab.data.dataset import MANIFEST, load_dataset
from edgedx.lab.data.reading.rows import locate
from edgedx.lab.run.run import Run

from .border import border_tells
from .confounders import LEAST_TOLD, Confounder, file_facts, find_confounders
from .markers import Marker, find_markers

FILE = "shortcuts.json"
_MOST = 5000
"""Images of a run that are looked at."""
_TOLD = 3


@dataclass(frozen=True)
class Shortcuts:
    """All that was found.

    Attributes
    ----------
    facts : list of Confounder
        Those that tell a class better than chance, the worst first.
    border : list of Confounder
        Likewise.
    """

    facts: list[Confounder]
    markers: list[Marker]
    border: list[Confounder]

    @property
    def sentences(self) -> list[str]:
        """Warnings, a kind of shortcut each."""
        return [
            f"{text}: {'; '.join(found[:_TOLD])}"
            for text, found in (
                ("what is no disease tells the class, so a network may learn that instead", _by_fact(self.facts)),
                (
                    "a value stands for a class, so a network may learn it instead of the disease",
                    [one.sentence for one in self.markers],
                ),
                (
                    "the rim of the images tells the class (anatomy reaches it too: look at heat maps)",
                    _by_fact(self.border),
                ),
            )
            if found
        ]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "confounders": [one.to_dict() for one in self.facts],
            "markers": [one.to_dict() for one in self.markers],
            "border": [one.to_dict() for one in self.border],
        }


def _by_fact(found: Sequence[Confounder]) -> list[str]:
    """A sentence for each fact, with the classes that it tells best."""
    by_fact: dict[str, list[Confounder]] = {}
    for one in found:
        by_fact.setdefault(one.fact, []).append(one)
    return [", ".join([own[0].sentence, *(one.told for one in own[1:_TOLD])]) for own in by_fact.values()]


def find_shortcuts(
    facts: Sequence[Mapping[str, str | float]],
    canvases: Canvas,
    rows: Sequence[int],
    recipe: Recipe,
    labels: NDArray[np.float64],
    units: Sequence[str],
) -> Shortcuts:
    """Ask of every image its facts, of every canvas its rim.

    Parameters
    ----------
    facts : sequence of mapping, length N
        See `confounders.file_facts`.
    canvases : ndarray of shape (M, H, W) or (M, H, W, 3)
        Image i is ``canvases[rows[i]]``.
    labels : ndarray of shape (N,) of class indices, or (N, K) of 0/1/NaN
    units : sequence of str, length N
        Patients.
    """
    classes = recipe.task.classes
    border = border_tells(canvases, rows, recipe.preprocess.bits, labels, classes, units)
    return Shortcuts(
        facts=find_confounders(facts, labels, classes, units),
        markers=find_markers(facts, labels, classes, units),
        border=[one for one in border if one.low >= LEAST_TOLD],
    )


def folder_of(recipe: Recipe) -> Path | None:
    """Where a recipe's files are; None where its images are none, or are not here any more."""
    if recipe.data.source in ("medmnist", "phantom"):
        return None
    try:
        return locate(str(recipe.data.path))
    except DataError:
        return None


def shortcuts_of_run(run: Run, recipe: Recipe) -> Shortcuts:
    """What is in a run's data set, of at most 5,000 images; kept in the run, and asked again where the data changes.

    Raises
    ------
    DataError
        The run's data set is not whole.
    """
    data = load_dataset(run.data, recipe.task.kind, recipe.preprocess)
    path = run.path / FILE
    if path.is_file() and (kept := read_json(path)).get("data") == data.digest:
        return Shortcuts(
            [_confounder(one) for one in kept["confounders"]],
            [Marker(label=one.pop("class"), **one) for one in kept["markers"]],
            [_confounder(one) for one in kept["border"]],
        )
    chosen = np.sort(np.random.default_rng(0).permutation(len(data))[:_MOST])
    part, root = data.take(chosen), folder_of(recipe)
    with (run.data / MANIFEST).open(newline="", encoding="utf-8") as stream:
        sizes = [(int(one["height"]), int(one["width"])) for one in csv.DictReader(stream)]
    facts = [
        file_facts(root, name, sizes[index], groups)
        for index, name, groups in zip(chosen, part.names, part.subgroups, strict=True)
    ]
    found = find_shortcuts(facts, part.canvases, part.rows.tolist(), recipe, part.labels.astype(float), part.patients)
    write_json(path, {"schema_version": 1, "data": data.digest, **found.to_dict()})
    return found


def _confounder(one: Mapping[str, Any]) -> Confounder:
    return Confounder(one["fact"], one["class"], one["auc"], one["low"], one["high"])
