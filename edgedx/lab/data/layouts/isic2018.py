"""ISIC 2018 task 3 (Codella et al. 2019; HAM10000, Tschandl et al. 2018): one-hot tables, images by split, lesions.

Layout as on https://challenge.isic-archive.com/data/#2018: ``ISIC2018_Task3_<Part>_Input`` and
``ISIC2018_Task3_<Part>_GroundTruth.csv`` (beside it or in a folder of its own name) for Training, Validation and Test,
and ``ISIC2018_Task3_Training_LesionGroupings.csv`` (image, lesion_id, diagnosis_confirm_type). Several images of
Training may show one lesion, so the split goes by lesion; the set names no patients. Validation has 193 images, too few
to choose thresholds with rare classes: it joins Training, and val is drawn from both.
"""

from __future__ import annotations

from pathlib import Path

from edgedx.core.settings.recipe_sections import Data

from .listing import ABSENT, DEVELOPMENT, ListedEntry, Listing, images_below, table

CLASSES = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
_PARTS = {"Training": DEVELOPMENT, "Validation": DEVELOPMENT, "Test": "test"}


def isic2018(root: Path, data: Data) -> Listing:
    """List the images of all parts that are there; Training must be. Without Test, edgedx draws a test set."""
    lesions, confirmed = _lesions(root) if data.patient_column else ({}, {})
    tested = (root / "ISIC2018_Task3_Test_Input").is_dir()
    found = []
    for part, split in _PARTS.items():
        folder = root / f"ISIC2018_Task3_{part}_Input"
        if part != "Training" and not folder.is_dir():
            continue
        rows = table(root, f"ISIC2018_Task3_{part}_GroundTruth.csv", ["image", *CLASSES])
        images = images_below(root, [folder], [".jpg", ".jpeg"])
        for row in rows:
            name = row["image"]
            marked = [column for column in CLASSES if row[column] in {"1", "1.0"}]
            found.append(
                ListedEntry(
                    images.get(name, name),
                    marked[0] if len(marked) == 1 else "",
                    lesions.get(name, name),
                    split if tested else "",
                    groups={"confirmed_by": confirmed.get(name, "")},
                    problem="" if name in images else ABSENT,
                )
            )
    return Listing(found)


def _lesions(root: Path) -> tuple[dict[str, str], dict[str, str]]:
    columns = ["image", "lesion_id", "diagnosis_confirm_type"]
    rows = table(root, "ISIC2018_Task3_Training_LesionGroupings.csv", columns)
    return {row["image"]: row["lesion_id"] for row in rows}, {row["image"]: row[columns[2]] for row in rows}
