"""Chest X-rays of children with pneumonia or without (Kermany et al. 2018): folders as published.

Layouts as on https://doi.org/10.17632/rscbjbr9sj: ``chest_xray/train`` and ``chest_xray/test`` with ``NORMAL`` and
``PNEUMONIA``; Kaggle's copy puts 16 of the images into ``val``. The patient stands in the name: in the second version
``person12_virus_48.jpeg`` and ``IM-0115-0001.jpeg`` or ``NORMAL2-IM-0927-0001.jpeg``, in the third
``BACTERIA-1008087-0001.jpeg``. In the second version ``person12`` of test is another child than ``person12`` of train:
each folder counts anew.
"""

from __future__ import annotations

import re
from pathlib import Path

from edgedx.core.errors import DataError
from edgedx.core.settings.recipe_sections import Data

from .listing import DEVELOPMENT, ListedEntry, Listing, apart

_PLACES = ("", "chest_xray", "CellData/chest_xray")
_PARTS = {"train": DEVELOPMENT, "val": DEVELOPMENT, "test": "test"}
_NAMES = (
    re.compile(r"(?P<patient>person\d+)_(?P<cause>bacteria|virus)_\d+"),
    re.compile(r"(?:NORMAL2-)?(?P<patient>IM-\d+)-\d+(?:-\d+)?"),
    re.compile(r"(?P<cause>BACTERIA|VIRUS|NORMAL)-(?P<patient>\d+)-\d+"),
)
_SUFFIXES = {".jpeg", ".jpg", ".png"}


def kermany(root: Path, data: Data) -> Listing:
    """List the radiographs; the folder's name is the label. Kaggle's val, of 16 images, goes to the images to train
    with, and edgedx draws a larger one."""
    home = next((root / place for place in _PLACES if (root / place / "train").is_dir()), None)
    if home is None:
        raise DataError(f"{root}: there is no folder train in it, in chest_xray or in CellData/chest_xray")
    if not (home / "test").is_dir():
        raise DataError(f"{home}: there is no folder test")
    found = []
    for part, split in _PARTS.items():
        for path in sorted((home / part).glob("*/*")):
            if path.suffix.lower() in _SUFFIXES and not path.name.startswith("."):
                found.append(_found(root, path, split))
    return Listing(apart(found))


def _found(root: Path, path: Path, split: str) -> ListedEntry:
    relative, label = path.relative_to(root).as_posix(), path.parent.name
    name = next((match for pattern in _NAMES if (match := pattern.fullmatch(path.stem))), None)
    if name is None:
        return ListedEntry(relative, label, split=split, problem="its name tells no patient")
    facts = name.groupdict()
    patient = facts["patient"]
    if not patient.isdigit():  # numbered anew in test
        patient = f"{'test' if split == 'test' else 'train'} {patient}"
    cause = (facts.get("cause") or "normal").lower()
    return ListedEntry(relative, label, patient, split, groups={"cause": cause})
