"""Boxes around what a label is about, in the manifest of a data set: pixels there, shares of the canvas in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgedx.core.preprocess import PreprocessSpec, place_box
from edgedx.lab.data.reading.rows import Row

BOX = "box (left, top, width, height)"
"""Heading in a manifest, where the recipe names columns with boxes."""


def box_text(row: Row) -> str:
    """The box of an image as a manifest keeps it; empty where it has none."""
    return "" if row.roi is None else json.dumps(row.roi)


def box_of(text: str) -> tuple[float, float, float, float] | None:
    """What `box_text` wrote, read back.

    Raises
    ------
    ValueError
        It is not that.
    """
    if not text:
        return None
    left, top, width, height = map(float, json.loads(text))
    return left, top, width, height


def boxes_on_canvases(entries: Sequence[dict[str, str]], spec: PreprocessSpec) -> NDArray[np.float32] | None:
    """Left, top, right and bottom of each row's box as shares of its canvas, shape (N, 4); None without that column.

    NaN where an image has no box, or a crop leaves nothing of it.

    Parameters
    ----------
    entries : sequence of dict
        Rows of a manifest.

    Raises
    ------
    ValueError
        A cell is no box.
    """
    if not entries or BOX not in entries[0]:
        return None
    boxes = np.full((len(entries), 4), np.nan, np.float32)
    for place, entry in enumerate(entries):
        if (box := box_of(entry[BOX])) is not None:
            left, top, width, height = box
            shape = int(entry["height"]), int(entry["width"])
            shares = place_box((left, top, left + width, top + height), shape, spec)
            if shares[0] < shares[2] and shares[1] < shares[3]:
                boxes[place] = shares
    return boxes
