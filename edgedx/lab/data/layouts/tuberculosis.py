"""Chest X-rays for tuberculosis of Montgomery County and Shenzhen (Jaeger et al. 2014), either set or both.

Layout as on https://data.lhncbc.nlm.nih.gov/public/Tuberculosis-Chest-X-ray-Datasets/index.html: folders ``CXR_png``
with ``MCUCXR_0001_0.png`` and ``CHNCXR_0001_0.png`` (the last figure is the label: 1 with tuberculosis), beside each
``ClinicalReadings`` with a text of the same name: sex, age, and what the radiologist wrote. One image a person.
"""

from __future__ import annotations

import re
from pathlib import Path

from edgedx.core.errors import DataError
from edgedx.core.settings.recipe_sections import Data

from .listing import ListedEntry, Listing

_NAME = re.compile(r"(MCUCXR|CHNCXR)_\d+_([01])")
_SITES = {"MCUCXR": "montgomery", "CHNCXR": "shenzhen"}
_AGE = re.compile(r"(\d+)\s*(y|m|d)?", re.IGNORECASE)
_YEARS = {"y": 1.0, "m": 12.0, "d": 365.25}
_LONGEST_READING = 1 << 16  # bytes


def tuberculosis(root: Path, data: Data) -> Listing:
    """List the radiographs below every folder ``CXR_png``; a reading that is not there leaves sex and age empty."""
    folders = [folder for depth in ("", "*/", "*/*/", "*/*/*/") for folder in sorted(root.glob(f"{depth}CXR_png"))]
    if not folders:
        raise DataError(f"{root}: there is no folder CXR_png in it or up to three folders below")
    return Listing(
        [
            _found(root, path)
            for folder in folders
            for path in sorted(folder.glob("*.png"))
            if not path.name.startswith(".")
        ]
    )


def _found(root: Path, path: Path) -> ListedEntry:
    name = _NAME.fullmatch(path.stem)
    relative = path.relative_to(root).as_posix()
    if name is None:
        return ListedEntry(relative, "", problem="its name is not MCUCXR_NUMBER_LABEL or CHNCXR_NUMBER_LABEL")
    sex, age = person(path.parent.parent / "ClinicalReadings" / f"{path.stem}.txt")
    return ListedEntry(relative, name[2], groups={"site": _SITES[name[1]], "sex": sex, "age": age})


def person(reading: Path) -> tuple[str, str]:
    """Sex (F, M or empty) and age in years (or empty) from a clinical reading.

    Montgomery writes ``Patient's Sex: F`` and ``Patient's Age: 027Y``, Shenzhen ``male 45yrs`` and, for children,
    ``male 16month`` or ``female 64days``; a few spell it ``femal``.
    """
    try:
        with reading.open(encoding="utf-8", errors="replace") as stream:
            text = stream.read(_LONGEST_READING)
    except OSError:
        return "", ""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    if "sex" in lines[0].lower():
        facts = dict(line.partition(":")[::2] for line in lines[:2])
        sex, age = (next((value for key, value in facts.items() if word in key.lower()), "") for word in ("sex", "age"))
    else:
        sex = age = lines[0]
    initial = sex.strip()[:1].upper()
    number = _AGE.search(age)
    years = int(number[1]) / _YEARS[(number[2] or "y").lower()] if number else None
    return initial if initial in {"F", "M"} else "", "" if years is None else f"{years:.4g}"
