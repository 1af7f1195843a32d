"""Diabetic retinopathy and macular oedema on fundus photographs of one clinic (IDRiD, Porwal et al. 2018).

Layout as on https://doi.org/10.21227/H25W98, part ``B. Disease Grading``: ``1. Original Images/a. Training Set`` and
``b. Testing Set`` with ``IDRiD_001.jpg``; ``2. Groundtruths`` with a table for each: Image name, Retinopathy grade,
Risk of macular edema (with a blank behind). Both sets count from 001. No patient is named.
"""

from __future__ import annotations

from pathlib import Path

from edgedx.core.errors import DataError
from edgedx.core.settings.recipe_sections import Data

from .listing import ABSENT, DEVELOPMENT, ListedEntry, Listing, images_below, table

_PART = "B. Disease Grading"
_SETS = (
    ("a. Training Set", "a. IDRiD_Disease Grading_Training Labels.csv", DEVELOPMENT),
    ("b. Testing Set", "b. IDRiD_Disease Grading_Testing Labels.csv", "test"),
)
_IMAGE, _GRADE, _RISK = "Image name", "Retinopathy grade", "Risk of macular edema"


def idrid(root: Path, data: Data) -> Listing:
    """List the photographs with their grade of retinopathy, 0 to 4; the risk of macular oedema is a subgroup column."""
    home = root / _PART if (root / _PART).is_dir() else root
    if not (home / "2. Groundtruths").is_dir():
        raise DataError(f"{root}: there is no folder {_PART} with 2. Groundtruths")
    found = []
    for folder, name, split in _SETS:
        images = images_below(root, [home / "1. Original Images" / folder], [".jpg", ".jpeg", ".png"])
        for row in table(home / "2. Groundtruths", name, [_IMAGE, _GRADE]):
            image = row[_IMAGE]
            if not image and not row[_GRADE]:
                continue  # the published tables end with empty rows
            risk = next((value for key, value in row.items() if key.strip() == _RISK), "")
            problem = "" if image in images else ABSENT
            found.append(
                ListedEntry(images.get(image, image), row[_GRADE], "", split, groups={"macular_risk": risk},
                            problem=problem)
            )  # fmt: skip
    return Listing(found)
