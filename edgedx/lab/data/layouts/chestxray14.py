"""NIH ChestX-ray14 (Wang et al. 2017): Data_Entry_2017.csv, images_001 to images_012, official split by patient.

Layout as on https://nihcc.app.box.com/v/ChestXray-NIHCC: each archive images_0NN unpacks to ``images_0NN/images`` (or
all of them to one ``images``). The table of 2020 (Data_Entry_2017_v2020.csv) is preferred where both are.
"""

from __future__ import annotations

from pathlib import Path

from edgedx.core.errors import DataError
from edgedx.core.settings.recipe_sections import Data

from .listing import ABSENT, DEVELOPMENT, ListedEntry, Listing, first_of, images_below, table, words

_IMAGE, _LABELS, _PATIENT, _AGE = "Image Index", "Finding Labels", "Patient ID", "Patient Age"
_SEX = ("Patient Gender", "Patient Sex")  # the tables of 2017 and 2020, and the one that is offered now
_VIEW = "View Position"


def chestxray14(root: Path, data: Data) -> Listing:
    """List the radiographs; those in neither official list are excluded with a reason."""
    name = first_of(root, "Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv").name
    rows = table(root, name, [_IMAGE, _LABELS, _PATIENT, _AGE, _VIEW])
    splits = dict.fromkeys(words(root, "train_val_list.txt"), DEVELOPMENT)
    tested = words(root, "test_list.txt")
    if both := splits.keys() & tested:
        raise DataError(f"{root}: {len(both)} images stand in train_val_list.txt and in test_list.txt")
    splits |= dict.fromkeys(tested, "test")
    folders = [folder for top in root.glob("images*") for folder in (top, top / "images")]
    images = images_below(root, folders, [".png"])
    return Listing([_found(row, splits, images) for row in rows])


def _found(row: dict[str, str], splits: dict[str, str], images: dict[str, str]) -> ListedEntry:
    name = row[_IMAGE]
    path, split = images.get(Path(name).stem, ""), splits.get(name, "")
    sex = next((row[column] for column in _SEX if row.get(column)), "")
    return ListedEntry(
        path or name,
        row[_LABELS],
        row[_PATIENT],
        split,
        groups={"sex": sex, "age": row[_AGE], "view": row[_VIEW]},
        problem="" if path and split else ("in neither official list" if path else ABSENT),
    )
