"""Values of a subgroup column, as groups that are few enough to be judged."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np


def bands(values: Sequence[str], most: int = 6) -> list[str]:
    """Values of a subgroup column; numbers of many kinds (ages, also 045Y) become the bands between their quartiles."""
    texts = [value.strip() or "(empty)" for value in values]
    numbers = [_number(text) for text in texts]
    known = np.array([number for number in numbers if number is not None])
    # ages have a few gaps and slips; free text is left as it is
    if len(set(texts)) <= most or known.size < 0.9 * len([text for text in texts if text != "(empty)"]):
        return texts
    edges = np.unique(np.percentile(known, [25, 50, 75], method="nearest"))
    names = []
    for text, number in zip(texts, numbers, strict=True):
        if number is None:
            names.append(text if text == "(empty)" else "(no number)")
            continue
        position = int(np.searchsorted(edges, number, side="left"))
        low = f"over {edges[position - 1]:g}" if position else ""
        high = f"to {edges[position]:g}" if position < edges.size else ""
        names.append(" ".join(part for part in (low, high) if part))
    return names


def are_groups(values: Sequence[str]) -> bool:
    """Whether a column divides images into groups; file names and free text have nearly as many values as images."""
    return len(set(values)) <= max(2, len(values) // 2)


def short(value: str, most: int = 40) -> str:
    """A value for a line that people read."""
    return value if len(value) <= most else f"{value[: most - 3]}..."


def _number(text: str) -> float | None:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([YMWD]?)", text)
    if match is None:
        return None
    return float(match[1]) / {"": 1.0, "Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25}[match[2]]
