"""CBIS-DDSM mammography (Lee et al. 2017): four tables of abnormalities, DICOM files as TCIA delivers them.

Layout as on https://www.cancerimagingarchive.net/collection/cbis-ddsm/: ``mass_case_description_train_set.csv``, the
same with test, and both for calc; images in ``CBIS-DDSM/Mass-Training_P_00001_LEFT_CC/<study>/<series>/*.dcm``. The
file paths in the tables are those of an older delivery: only their first folder is the same, and it holds one file, the
whole mammogram (crops and masks are in folders that end in _1, _2 ...).

A mammogram stands in as many rows as it has abnormalities, and in the mass and in the calc tables: here it is one row,
MALIGNANT where any of them is. The publisher split masses and calcifications apart, so some patients stand in both
official sets: their training images are excluded.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path, PurePosixPath

from edgedx.core.settings.recipe_sections import Data

from .listing import ABSENT, DEVELOPMENT, ListedEntry, Listing, apart, table

_PATIENT, _SIDE, _VIEW, _KIND = "patient_id", "left or right breast", "image view", "abnormality type"
_PATHOLOGY, _PATH = "pathology", "image file path"
_DENSITY = ("breast_density", "breast density")  # the mass tables and the calc tables
_RANK = {"MALIGNANT": 0, "BENIGN": 1, "BENIGN_WITHOUT_CALLBACK": 2}


def cbis_ddsm(root: Path, data: Data) -> Listing:
    """List each mammogram once, with the worst of its pathologies."""
    mammograms: dict[tuple[str, str, str], list[tuple[str, dict[str, str]]]] = defaultdict(list)
    for kind in ("mass", "calc"):
        for part, split in (("train", DEVELOPMENT), ("test", "test")):
            name = f"{kind}_case_description_{part}_set.csv"
            for row in table(root, name, [_PATIENT, _SIDE, _VIEW, _KIND, _PATHOLOGY, _PATH]):
                mammograms[(row[_PATIENT], row[_SIDE], row[_VIEW])].append((split, row))
    folders = {
        folder.name: folder
        for base in (root, root / "CBIS-DDSM", *sorted(root.glob("manifest-*/CBIS-DDSM")))
        if base.is_dir()
        for folder in base.iterdir()
        if folder.is_dir()
    }
    return Listing(apart(_found(root, folders, *entry) for entry in mammograms.items()))


def _found(
    root: Path, folders: dict[str, Path], key: tuple[str, str, str], rows: list[tuple[str, dict[str, str]]]
) -> ListedEntry:
    patient, side, view = key
    named = dict.fromkeys(PurePosixPath(row[_PATH]).parts[0] for _, row in rows if row[_PATH])
    path, problem = _mammogram([folders[name] for name in named if name in folders])
    # What is none of the three comes first: it is no class of the recipe, and no known one may hide that.
    label = min((row[_PATHOLOGY] for _, row in rows), key=lambda name: _RANK.get(name, -1))
    density = next((row[column] for _, row in rows for column in _DENSITY if row.get(column)), "")
    return ListedEntry(
        path.relative_to(root).as_posix() if path else next(iter(named), "/".join(key)),
        label,
        patient,
        "test" if any(split == "test" for split, _ in rows) else DEVELOPMENT,
        groups={
            "density": density,
            "side": side,
            "view": view,
            "abnormality": "+".join(sorted({row[_KIND] for _, row in rows})),
        },
        problem=problem,
    )


def _mammogram(folders: list[Path]) -> tuple[Path | None, str]:
    """The file of the whole mammogram, or why there is none."""
    for folder in folders:
        files = sorted(folder.rglob("*.dcm"))
        whole = [path for path in files if "full mammogram" in path.parent.name.lower()] or files
        if len(whole) > 1:
            return None, "its folder holds several images"
        if whole:
            return whole[0], ""
    return None, ABSENT
