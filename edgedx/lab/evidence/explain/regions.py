"""Where the finding is on each image: outlines in mask files, boxes of a table, or those of the run's own table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from edgedx.core.codes import Code
from edgedx.core.errors import DataError, EdgedxError, ImageError
from edgedx.core.files import storage_error
from edgedx.core.preprocess import PreprocessSpec, place_region
from edgedx.core.progress import track
from edgedx.core.table import read_table
from edgedx.dicom.reading.open import SUFFIXES, open_image
from edgedx.lab.data.given_images import IMAGE
from edgedx.lab.data.reading.rows import found
from edgedx.lab.data.reading.tables import box_of_cells

from .images import ExplainedImages

BOX_COLUMNS = ("left", "top", "width", "height")
_MASK = re.compile(r"(?P<image>.+)_mask(?:_\d+)?", re.IGNORECASE)
NONE_LISTED = "no mask or box"

_Mask = NDArray[np.bool_]
_Masks = dict[tuple[tuple[str, ...], str], list[Path]]
"""Files by the folders they lie in, below the one that was given, and the image's name without its ending."""


@dataclass(frozen=True)
class Regions:
    """What a label is about, image by image.

    Attributes
    ----------
    where : str
        What marks it, in words.
    masks : ndarray of shape (N, H, W), bool
        On the canvases; nowhere true for an image without.
    skipped : list of str
        Why, for each image without.
    """

    where: str
    masks: _Mask
    skipped: list[str]

    @property
    def known(self) -> _Mask:
        """Which images have a region, shape (N,)."""
        return np.asarray(self.masks.any(axis=(1, 2)))


def regions_of(images: ExplainedImages, where: Path | None, spec: PreprocessSpec) -> Regions | None:
    """The regions of all images; None where none are asked for and the run has no boxes.

    Parameters
    ----------
    where : Path or None
        A folder of masks: files called as their image, then ``_mask`` or ``_mask_1`` and so on, in the image's folder
        below `where` or in `where` itself; all that is not black is marked, and several masks of an image are taken
        together. Or a table with the columns image, left, top, width and height (pixels of the image), a row for each
        box. It is looked for as a recipe's data are. None: the boxes that the run learned from (``data.roi_columns``).

    Raises
    ------
    DataError
        There is no such folder or table, or no image has a region.
    """
    if where is None:
        return _of_run(images, spec) if images.boxes is not None and np.isfinite(images.boxes).any() else None
    if (place := where if where.exists() else found(str(where))) is None:
        raise DataError(
            f"{where}: no such file or folder", next_step="--regions takes a folder of masks, or a CSV file"
        )
    try:
        boxes = None if place.is_dir() else _boxes_of(place)
        masks = _masks_below(place) if place.is_dir() else {}
    except OSError as error:
        raise storage_error(place, error) from error
    outcomes = [
        _by_masks(images, position, masks, spec) if boxes is None else _by_boxes(images, position, boxes, spec)
        for position in track(range(len(images)), "reading regions", len(images))
    ]
    kind = "masks" if boxes is None else "boxes"
    regions = _gathered(outcomes, f"{kind} of {place.name}", spec)
    if not regions.known.any():
        reasons = "; ".join(f"{count} {reason}" for reason, count in Counter(regions.skipped).most_common(3))
        wanted = (
            "a mask is called as its image with _mask before the ending, in the same folder below this one"
            if boxes is None
            else "its column image must have the names of images.csv"
        )
        raise DataError(f"{place}: none of {len(images)} images has a region: {reasons}", next_step=wanted)
    return regions


def _gathered(outcomes: Sequence[_Mask | str], where: str, spec: PreprocessSpec) -> Regions:
    masks = np.zeros((len(outcomes), *spec.size), np.bool_)
    skipped = []
    for mask, outcome in zip(masks, outcomes, strict=True):
        if isinstance(outcome, str):
            skipped.append(outcome)
        elif outcome.any():
            mask[:] = outcome
        else:
            skipped.append("its region was cut away")
    return Regions(where, masks, skipped)


def _of_run(images: ExplainedImages, spec: PreprocessSpec) -> Regions:
    """Boxes are shares of the canvas there; each takes a pixel at least."""
    outcomes: list[_Mask | str] = []
    height, width = spec.size
    for box in images.boxes if images.boxes is not None else ():
        if not np.isfinite(box).all():
            outcomes.append(NONE_LISTED)
            continue
        left, top = min(round(float(box[0]) * width), width - 1), min(round(float(box[1]) * height), height - 1)
        right, bottom = max(round(float(box[2]) * width), left + 1), max(round(float(box[3]) * height), top + 1)
        mask = np.zeros(spec.size, np.bool_)
        mask[top:bottom, left:right] = True
        outcomes.append(mask)
    return _gathered(outcomes, "boxes of the run's table", spec)


def _masks_below(folder: Path) -> _Masks:
    masks: _Masks = {}
    for path in sorted(folder.rglob("*")):
        match = _MASK.fullmatch(path.stem)
        if match is not None and path.suffix.lower() in SUFFIXES and path.name[0] != "." and path.is_file():
            masks.setdefault((path.relative_to(folder).parts[:-1], match["image"]), []).append(path)
    return masks


def _by_masks(images: ExplainedImages, position: int, masks: _Masks, spec: PreprocessSpec) -> _Mask | str:
    name = PurePosixPath(images.names[position])
    folders = name.parts[:-1]
    # The whole path first: several folders may hold an image of one name, each with a mask of its own.
    nearest = next(
        (masks[key] for cut in range(len(folders) + 1) if (key := (folders[cut:], name.stem)) in masks), None
    )
    if nearest is None:
        return NONE_LISTED
    try:
        image, marked = images.read(position), None
        for path in nearest:
            one = _marked(path)
            if one is None:
                continue
            if one.shape != image.pixels.shape[:2]:
                return "its mask has another size than the image"
            marked = one if marked is None else marked | one
    except EdgedxError as error:
        return f"its mask or image is unreadable: {getattr(error, 'code', 'file')}"
    return "its mask is of one colour: nothing is marked" if marked is None else place_region(marked, image, spec)


def _marked(path: Path) -> _Mask | None:
    """What is not black; None where all of it is one colour."""
    try:
        pixels = open_image(path).image.pixels
    except ImageError as error:
        if error.code == Code.BLANK:
            return None
        raise
    return np.asarray((pixels if pixels.ndim == 2 else pixels.max(axis=2)) > 0)


def _boxes_of(table: Path) -> dict[str, list[list[str]]]:
    entries, columns = read_table(table)
    if missing := [column for column in (IMAGE, *BOX_COLUMNS) if column not in columns]:
        raise DataError(
            f"{table}: no column {missing[0]!r}; it has {', '.join(columns)}",
            next_step=f"its columns must be {', '.join((IMAGE, *BOX_COLUMNS))}: pixels, a row for each box",
        )
    boxes: dict[str, list[list[str]]] = {}
    for entry in entries:
        cells = [(entry.get(column) or "").strip() for column in BOX_COLUMNS]
        if any(cells):
            boxes.setdefault((entry.get(IMAGE) or "").strip().replace("\\", "/"), []).append(cells)
    return boxes


def _by_boxes(
    images: ExplainedImages, position: int, boxes: dict[str, list[list[str]]], spec: PreprocessSpec
) -> _Mask | str:
    rows = boxes.get(images.names[position])
    if rows is None:
        return NONE_LISTED
    try:
        image = images.read(position)
    except EdgedxError as error:
        return f"its image is unreadable: {getattr(error, 'code', 'file')}"
    height, width = image.pixels.shape[:2]
    marked = np.zeros((height, width), np.bool_)
    for cells in rows:
        box, problem = box_of_cells(cells)
        if box is None:
            return problem
        left, top, right, bottom = box[0], box[1], box[0] + box[2], box[1] + box[3]
        if right > width + 1 or bottom > height + 1:
            return "its box reaches out of the image"
        # Whole pixels that the box touches; one at least, where it is thinner than that.
        marked[
            int(top) : max(int(np.ceil(bottom)), int(top) + 1), int(left) : max(int(np.ceil(right)), int(left) + 1)
        ] = True
    return place_region(marked, image, spec)
