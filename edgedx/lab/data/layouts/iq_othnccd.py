"""Lung CT slices, normal, benign or malignant, of two hospitals in Iraq (IQ-OTH/NCCD): a folder for each class.

Layout as on https://doi.org/10.17632/bhmdr45bh2: ``The IQ-OTHNCCD lung cancer dataset`` (Kaggle's copy has it twice,
one in the other) with ``Bengin cases``, as the authors spell it, ``Malignant cases`` and ``Normal cases``, and in them
``Bengin case (1).jpg``. The slices are of 110 patients, and nothing says which of whom: those that look alike are kept
together (``data.near_duplicates``), which is less than a split by patient. Slices wider than high are all malignant.
"""

from __future__ import annotations

from pathlib import Path

from edgedx.core.errors import DataError
from edgedx.core.settings.recipe_sections import Data

from .listing import ListedEntry, Listing

_FOLDERS = (("Bengin cases", "Benign cases"), ("Malignant cases",), ("Normal cases",))
_HOME = "The IQ-OTHNCCD lung cancer dataset"
_SUFFIXES = {".jpg", ".jpeg", ".png"}


def iq_othnccd(root: Path, data: Data) -> Listing:
    """List the slices; the folder's name is the label."""
    homes = [root / _HOME / _HOME, root / _HOME, root]
    home = next((one for one in homes if (one / "Malignant cases").is_dir()), None)
    if home is None:
        raise DataError(f"{root}: there is no folder Malignant cases in it or in {_HOME}")
    found = []
    for names in _FOLDERS:
        folder = next((home / name for name in names if (home / name).is_dir()), None)
        if folder is None:
            raise DataError(f"{home}: there is no folder {names[0]}")
        found += [
            ListedEntry(path.relative_to(root).as_posix(), folder.name)
            for path in sorted(folder.iterdir())
            if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")
        ]
    return Listing(found)
