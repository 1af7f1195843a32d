"""Brain-tumour MRI slices as published at Kaggle: Training and Testing, a folder for each class.

https://www.kaggle.com/datasets/masoudnickparvar/brain-tumor-mri-dataset puts the figshare set of Cheng et al. (2015),
SARTAJ and Br35H together and keeps no patient: slices of one person may stand in Training and in Testing.
`brain_figshare` reads the part that knows its patients.
"""

from __future__ import annotations

from pathlib import Path

from edgedx.core.errors import DataError
from edgedx.core.settings.recipe_sections import Data

from .listing import DEVELOPMENT, ListedEntry, Listing

_PARTS = {"Training": DEVELOPMENT, "Testing": "test"}
_SUFFIXES = {".jpg", ".jpeg", ".png"}


def brain_tumour(root: Path, data: Data) -> Listing:
    """List the slices; the folder's name is the label (glioma, meningioma, notumor, pituitary)."""
    found = []
    for part, split in _PARTS.items():
        if not (root / part).is_dir():
            raise DataError(f"{root}: there is no folder {part}")
        for path in sorted((root / part).glob("*/*")):
            if path.suffix.lower() in _SUFFIXES and not path.name.startswith("."):
                found.append(ListedEntry(path.relative_to(root).as_posix(), path.parent.name, split=split))
    return Listing(found)
