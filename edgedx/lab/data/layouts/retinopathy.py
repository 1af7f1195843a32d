"""Diabetic retinopathy: the fundus photographs of EyePACS (2015) and of APTOS (2019), graded 0 to 4.

Layouts as on https://www.kaggle.com/c/diabetic-retinopathy-detection/data (``train/10_left.jpeg``; trainLabels.csv with
image, level; optionally ``test`` and retinopathy_solution.csv with image, level, Usage, published afterwards) and
https://www.kaggle.com/c/aptos2019-blindness-detection/data (``train_images/<id>.png``, train.csv: id_code, diagnosis).
"""

from __future__ import annotations

import re
from pathlib import Path

from edgedx.core.settings.recipe_sections import Data

from .listing import ABSENT, DEVELOPMENT, ListedEntry, Listing, apart, images_below, table

_EYE = re.compile(r"(\d+)_(left|right)")
_SUFFIXES = [".jpeg", ".jpg", ".png"]


def eyepacs(root: Path, data: Data) -> Listing:
    """List both eyes of each subject; the subject's number is the prefix of the name."""
    tested = (root / "retinopathy_solution.csv").is_file()
    found = _eyes(root, "trainLabels.csv", "train", DEVELOPMENT if tested else "")
    if tested:
        found += _eyes(root, "retinopathy_solution.csv", "test", "test")
    return Listing(apart(found))


def _eyes(root: Path, name: str, folder: str, split: str) -> list[ListedEntry]:
    rows = table(root, name, ["image", "level"])
    images = images_below(root, [root / folder], _SUFFIXES)
    found = []
    for row in rows:
        eye = _EYE.fullmatch(row["image"])
        path = images.get(row["image"], "")
        problem = "" if path and eye else (ABSENT if eye else "its name is not NUMBER_left or NUMBER_right")
        patient, side = eye.groups() if eye else ("", "")
        found.append(
            ListedEntry(path or row["image"], row["level"], patient, split, groups={"eye": side}, problem=problem)
        )
    return found


def aptos2019(root: Path, data: Data) -> Listing:
    """List the photographs of the training set, the only ones with published grades; the set names no patients."""
    rows = table(root, "train.csv", ["id_code", "diagnosis"])
    images = images_below(root, [root / "train_images"], _SUFFIXES)
    return Listing(
        [
            ListedEntry(images.get(name, name), row["diagnosis"], problem="" if name in images else ABSENT)
            for row in rows
            for name in [row["id_code"]]
        ]
    )
