"""Near-duplicates of a data set: bound together before it is divided, kept out of train where the source divides it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgedx.core.preprocess import Canvas
from edgedx.core.settings.recipe import Recipe

from .near_duplicates import connected, near_duplicates
from .split import PreparedImage

LEAVES_TRAIN = "near-duplicate of a val or test image"
_LARGEST_SHARE = 0.3
"""Of all images, in one group of several known patients: more than that is a way of positioning, and no copy."""


@dataclass(frozen=True)
class Alike:
    """Near-duplicates among cases.

    Attributes
    ----------
    pairs : ndarray of shape (P, 2)
        Positions of cases.
    group : ndarray of shape (N,)
        For each case the first one that pairs connect it with.
    warnings : list of str
    """

    pairs: NDArray[np.int64]
    group: NDArray[np.int64]
    warnings: list[str]

    def groups(self) -> list[list[int]]:
        """Positions of the cases of each group of two or more."""
        order = np.argsort(self.group, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(self.group[order])) + 1)
        return [part.tolist() for part in parts if len(part) > 1]


def find_alike(recipe: Recipe, cases: Sequence[PreparedImage], canvases: Canvas) -> Alike | None:
    """Near-duplicates of decoded cases; None where the recipe or generated images say not to look."""
    if recipe.data.near_duplicates == "ignore" or recipe.synthetic:
        return None
    shapes = [(case.height, case.width) for case in cases] if recipe.preprocess.resize == "letterbox" else None
    pairs = near_duplicates(canvases, [case.index for case in cases], shapes)
    group = connected(len(cases), pairs)
    alike = Alike(pairs, group, [])
    largest = max(alike.groups(), key=len, default=[])
    patients = {cases[position].row.patient for position in largest} - {""}
    if len(patients) > 1 and len(largest) > max(2, _LARGEST_SHARE * len(cases)):
        alike.warnings.append(
            f"{len(largest)} images of {len(patients)} patients look alike to the comparison of thumbnails: it cannot "
            "tell copies from likeness on this set and is not used for the split"
        )
        return replace(alike, pairs=pairs[:0], group=np.arange(len(cases)))
    different = sum(len({cases[position].label_key for position in group}) > 1 for group in alike.groups())
    if different:
        alike.warnings.append(
            f"{different} groups of near-duplicates hold more than one label: some of these labels may be wrong "
            "(near-duplicates.csv)"
        )
    return alike


def bind(cases: Sequence[PreparedImage], alike: Alike) -> list[PreparedImage]:
    """Cases whose `unit` joins patients by near-duplicates, so that a split by unit divides neither.

    A unit has the name of its first patient in order: a patient without near-duplicates keeps his place in the split.
    """
    first: dict[str, int] = {}
    same_patient = [(first.setdefault(case.patient, position), position) for position, case in enumerate(cases)]
    roots = connected(len(cases), np.concatenate([alike.pairs, np.array(same_patient, np.int64).reshape(-1, 2)]))
    names: dict[int, str] = {}
    for root, case in zip(roots.tolist(), cases, strict=True):
        names[root] = min(names.get(root, case.patient), case.patient)
    return [replace(case, joined=names[root]) for root, case in zip(roots.tolist(), cases, strict=True)]


def leaves_train(alike: Alike, splits: Sequence[str]) -> list[int]:
    """Positions of train in whose group there is an image of val or test: of a split that the source gives."""
    judged = {int(alike.group[position]) for position, split in enumerate(splits) if split != "train"}
    return [position for position, split in enumerate(splits) if split == "train" and alike.group[position] in judged]


def counts(alike: Alike, cases: Sequence[PreparedImage], left: int) -> dict[str, int]:
    """For the summary of a data set."""
    groups = alike.groups()
    return {
        "groups": len(groups),
        "images": sum(map(len, groups)),
        "labels_differ": sum(len({cases[position].label_key for position in group}) > 1 for group in groups),
        "out_of_train": left,
    }
