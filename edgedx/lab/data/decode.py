"""Decode the images of a data set once, into canvases in one memory-mapped file."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgedx.core.errors import EdgedxError
from edgedx.core.preprocess import canvas
from edgedx.core.progress import track
from edgedx.core.settings.columns import gather
from edgedx.core.settings.recipe import Recipe
from edgedx.lab.data.reading.rows import Row, Source

from .split import PreparedImage

HEADER_GROUPS = {"sex": "PatientSex", "age": "PatientAgeYears", "view": "ViewPosition"}
"""Subgroups that a DICOM header gives where the source has no such column."""


def decode_rows(
    recipe: Recipe, source: Source, rows: list[Row], path: Path, excluded: list[tuple[str, str]]
) -> list[PreparedImage]:
    """Read `rows` into the canvases at `path`; those that cannot be used join `excluded`, each with its reason."""
    spec = recipe.preprocess
    shape = (len(rows), *spec.size) if spec.channels == 1 else (len(rows), *spec.size, 3)
    store = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8 if spec.bits == 8 else np.uint16, shape=shape)

    def decode(item: tuple[int, Row]) -> PreparedImage | str:
        index, row = item
        try:
            image, digest = source.read(row)
        except EdgedxError as error:
            code = getattr(error, "code", "file")
            return "blank" if code == "BLANK" else f"unreadable: {code}"
        height, width = image.pixels.shape[:2]
        if min(height, width) < recipe.data.min_side:
            return "too small"
        if image.pixels.min() == image.pixels.max():
            return "blank"
        if row.roi is not None and (row.roi[0] + row.roi[2] > width + 1 or row.roi[1] + row.roi[3] > height + 1):
            return "its box reaches out of the image"
        store[index] = canvas(image, spec)
        groups = {name: image.meta.get(field, "") for name, field in HEADER_GROUPS.items()}
        beside = gather(recipe.columns.use, row.columns, image.meta)
        row = replace(row, subgroups={**groups, **row.subgroups}, columns=beside)
        return PreparedImage(row, digest, height, width, index)

    cases = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:  # decoders release the interpreter lock
        outcomes = pool.map(decode, enumerate(rows), chunksize=16)
        for row, outcome in zip(rows, track(outcomes, "reading images", len(rows)), strict=True):
            if isinstance(outcome, PreparedImage):
                cases.append(outcome)
            else:
                excluded.append((row.name, outcome))
    store.flush()
    return cases
