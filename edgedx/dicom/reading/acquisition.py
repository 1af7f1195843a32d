"""How and by which machine an image was taken, as far as a change of it can be noticed. No value names a patient."""

from __future__ import annotations

import hashlib
import math
from typing import Any

from pydicom.dataset import Dataset

MACHINE, EXPOSURE, WINDOW_WIDTH = "Machine", "ExposureMAs", "WindowWidthUsed"
"""Keys of an image's facts."""
KEYWORDS = ("Manufacturer", "ManufacturerModelName", "Exposure", "ExposureInuAs")


def acquisition(dataset: Dataset) -> dict[str, str]:
    """Facts of the exposure; those that are absent or unreadable are left out.

    Returns
    -------
    dict of str
        ``Machine``: SHA-256 over manufacturer and model, 16 hex digits, as both are free text and whoever typed them
        may have typed anything; ``ExposureMAs``; ``WindowWidthUsed``, of the first window.
    """
    facts: dict[str, str] = {}
    maker, model = (_text(dataset, keyword) for keyword in KEYWORDS[:2])
    if maker or model:
        facts[MACHINE] = hashlib.sha256(f"{maker}\0{model}".encode()).hexdigest()[:16]
    exposure, fine = _number(dataset, "Exposure"), _number(dataset, "ExposureInuAs")
    if (found := fine / 1e3 if fine is not None else exposure) is not None:
        facts[EXPOSURE] = f"{found:g}"
    if (width := _number(dataset, "WindowWidth")) is not None:
        facts[WINDOW_WIDTH] = f"{width:g}"
    return facts


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        return str(dataset.get(keyword) or "").strip(" \0").upper()
    except Exception:  # pydicom's errors quote the value
        return ""


def _number(dataset: Dataset, keyword: str) -> float | None:
    try:
        value: Any = dataset.get(keyword)
        first = value[0] if isinstance(value, (list, tuple)) or hasattr(value, "append") else value
        number = float(first)
    except Exception:
        return None
    return number if math.isfinite(number) else None
