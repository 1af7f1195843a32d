"""Identical images and patients in two splits: dropped with a reason, or the data set is refused."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten

from edgedx.core.errors import DataError
from edgedx.core.settings.recipe import Recipe

from .split import PreparedImage, shared_contents, shared_patients

Excluded = list[tuple[str, str]]
"""Image and reason."""


def drop_duplicates(cases: list[PreparedImage], excluded: Excluded) -> list[PreparedImage]:
    """Of identical images keep the first; where their labels disagree keep none.

    A val or test split that the source gives stays as published, so that figures on it can be compared.
    """
    first: dict[tuple[str, str], PreparedImage] = {}
    contradicted = set()
    for case in cases:
        known = first.setdefault((case.sha256, case.row.split), case)
        if known.label_key != case.label_key:
            contradicted.add(case.sha256)
    kept = []
    for case in cases:
        if case.sha256 in contradicted:
            excluded.append((case.row.name, "same image under two labels"))
        elif first[(case.sha256, case.row.split)] is not case and case.row.split not in ("val", "test"):
            excluded.append((case.row.name, "duplicate"))
        else:
            kept.append(case)
    return kept


def settle_leaks(
    recipe: Recipe, cases: list[PreparedImage], splits: list[str], excluded: Excluded
) -> tuple[list[PreparedImage], list[str]]:
    """Refuse patients in two splits; of images in two splits keep one, or refuse, as ``data.shared_content`` says.

    Raises
    ------
    DataError
        A patient, or an image, stands in more than one split.
    """
    if patients := shared_patients(cases, splits):
        images = ", ".join(case.row.name for case in cases if case.patient == patients[0])
        raise DataError(  # by their images: a patient's name or number is for no screen and no log
            f"leak: {len(patients)} patient(s) stand in more than one split, one of them with {shorten(images, 200)}",
            next_step="correct the split column, or leave it out and let edgedx split by patient",
        )
    shared = shared_contents(cases, splits)
    if not shared:
        return cases, splits
    if recipe.data.shared_content == "refuse":
        one, two, *_ = (cases[position].row.name for position in next(iter(shared.values())))
        raise DataError(
            f"leak: {len(shared)} image(s) stand in more than one split, for example {one} and {two} are identical",
            next_step="remove them, or --set data.shared_content=drop-from-train",
        )
    # Kept where they are judged: val gives way to test, train to both.
    rank = {"train": 0, "val": 1, "test": 2}
    drop = set()
    for positions in shared.values():
        highest = max(rank[splits[position]] for position in positions)
        drop |= {position for position in positions if rank[splits[position]] < highest}
    excluded += [(cases[position].row.name, "also in a later split") for position in sorted(drop)]
    return without(cases, splits, sorted(drop))


def without(
    cases: Sequence[PreparedImage], splits: Sequence[str], drop: Sequence[int]
) -> tuple[list[PreparedImage], list[str]]:
    """Cases and splits but those at the positions `drop`."""
    gone = set(drop)
    kept = [position for position in range(len(cases)) if position not in gone]
    return [cases[position] for position in kept], [splits[position] for position in kept]
