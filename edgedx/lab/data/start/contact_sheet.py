"""A contact sheet: many images of a class as the network sees them, on one PNG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edgedx.core.files import write_bytes
from edgedx.core.preprocess import Canvas

MOST = 60
"""Images on a sheet."""
_SIDE, _GAP, _COLUMNS = 128, 4, 10  # pixels, pixels, images


def contact_sheet(canvases: Canvas, rows: Sequence[int]) -> np.ndarray:
    """At most `MOST` canvases, spread over `rows`, as one picture of shape (H, W, 3), uint8, blue first."""
    chosen = [rows[int(position)] for position in np.linspace(0, len(rows) - 1, min(MOST, len(rows)))]
    columns = min(_COLUMNS, len(chosen))
    lines = math.ceil(len(chosen) / columns)
    sheet = np.full((lines * (_SIDE + _GAP) + _GAP, columns * (_SIDE + _GAP) + _GAP, 3), 40, np.uint8)
    for number, row in enumerate(chosen):
        picture = np.asarray(canvases[row])
        if picture.dtype == np.uint16:
            picture = (picture >> 8).astype(np.uint8)
        scale = _SIDE / max(picture.shape[:2])
        size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        small = cv2.cvtColor(small, cv2.COLOR_GRAY2BGR if small.ndim == 2 else cv2.COLOR_RGB2BGR)
        top = _GAP + (number // columns) * (_SIDE + _GAP) + (_SIDE - small.shape[0]) // 2
        left = _GAP + (number % columns) * (_SIDE + _GAP) + (_SIDE - small.shape[1]) // 2
        sheet[top : top + small.shape[0], left : left + small.shape[1]] = small
    return sheet


def write_sheet(canvases: Canvas, rows: Sequence[int], path: Path) -> Path:
    """Write the sheet as PNG."""
    done, data = cv2.imencode(".png", contact_sheet(canvases, rows))
    assert done
    write_bytes(path, data.tobytes())
    return path
