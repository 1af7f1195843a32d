"""Breast ultrasound with outlines of the lesions (BUSI, Al-Dhabyani et al. 2020): a folder for each class.

Layout as unpacked from the authors' archive (https://doi.org/10.1016/j.dib.2019.104863): below ``Dataset_BUSI_with_GT``
``benign/benign (1).png`` with ``benign (1)_mask.png`` beside it and, where there are several lesions, ``benign
(1)_mask_1.png``. Masks are no images to learn from: taken for some, they would tell the class. No patient is named.
"""

from __future__ import annotations

import re
from pathlib import Path

from edgedx.core.errors import DataError
from edgedx.core.settings.recipe_sections import Data

from .listing import ListedEntry, Listing

CLASSES = ("benign", "malignant", "normal")
_HOME = "Dataset_BUSI_with_GT"
_MASK = re.compile(r"(?P<image>.+)_mask(?:_\d+)?")


def busi(root: Path, data: Data) -> Listing:
    """List the scans, without their masks; how many masks a scan has is a subgroup column."""
    home = root / _HOME if (root / _HOME).is_dir() else root
    found = []
    for label in CLASSES:
        paths = sorted((home / label).glob("*.png"))
        if not paths:
            raise DataError(f"{home / label}: no .png file there")
        masks: dict[str, int] = {}
        for path in paths:
            if (mask := _MASK.fullmatch(path.stem)) is not None:
                masks[mask["image"]] = masks.get(mask["image"], 0) + 1
        found += [
            ListedEntry(path.relative_to(root).as_posix(), label, groups={"masks": str(masks.get(path.stem, 0))})
            for path in paths
            if not _MASK.fullmatch(path.stem) and not path.name.startswith(".")
        ]
    return Listing(found)
