"""RSNA pneumonia detection challenge 2018 (Shih et al. 2019): DICOM files, a row of the table for each box.

Layout as on https://www.kaggle.com/c/rsna-pneumonia-detection-challenge/data: ``stage_2_train_images/<patientId>.dcm``,
stage_2_train_labels.csv (patientId, x, y, width, height, Target), stage_2_detailed_class_info.csv (patientId, class).
``patientId`` is one image: the radiographs are from NIH ChestX-ray14, where a patient has several. Which image is whose
stands in pneumonia-challenge-dataset-mappings_2018.json, published by the RSNA (subset_img_id, img_id).
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from edgedx.core.errors import DataError
from edgedx.core.files import storage_error
from edgedx.core.settings.recipe_sections import Data

from .listing import ABSENT, ListedEntry, Listing, images_below, table

MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"
_NIH_IMAGE = re.compile(r"(\d{8})_\d{3}\.png")


def rsna_pneumonia(root: Path, data: Data) -> Listing:
    """List each image once: Target is 1 where a box marks an opacity. Sex and view come with the DICOM header."""
    targets: dict[str, set[str]] = {}
    for row in table(root, "stage_2_train_labels.csv", ["patientId", "x", "y", "width", "height", "Target"]):
        targets.setdefault(row["patientId"], set()).add(row["Target"])
    classes = {}
    if (root / "stage_2_detailed_class_info.csv").is_file():
        rows = table(root, "stage_2_detailed_class_info.csv", ["patientId", "class"])
        classes = {row["patientId"]: row["class"] for row in rows}
    patients = _patients(root) if data.patient_column else {}
    images = images_below(root, [root / "stage_2_train_images"], [".dcm"])
    found = []
    for name, values in targets.items():
        problem = "" if name in images else ABSENT
        if len(values) > 1:
            problem = "its rows disagree"
        elif patients and name not in patients:
            problem = problem or "its patient is not in the RSNA's mapping"
        found.append(
            ListedEntry(
                images.get(name, name),
                min(values),
                patients.get(name, ""),
                groups={"class": classes.get(name, "")},
                problem=problem,
            )
        )
    return Listing(found)


def _patients(root: Path) -> dict[str, str]:
    """Image of the challenge to NIH patient."""
    path = root / MAPPING
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        pairs = [(str(entry["subset_img_id"]), str(entry["img_id"])) for entry in entries]
    except FileNotFoundError as error:
        raise DataError(
            f"{root}: there is no {MAPPING}, and without it images of one patient would stand in train and in test",
            next_step="it is on the RSNA's page; --set data.patient_column=null takes each image for a patient",
        ) from error
    except OSError as error:
        raise storage_error(path, error) from error
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: not the RSNA's list of subset_img_id and img_id") from error
    return {subset: known[1] for subset, image in pairs if (known := _NIH_IMAGE.fullmatch(image))}
