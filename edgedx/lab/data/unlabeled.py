"""Further images without labels: any tree of DICOM or raster files, read once, learned from the teacher alone."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from edgedx.core.errors import DataError
from edgedx.core.files import canonical_json, read_json, sha256_bytes, storage_error, write_json, write_text
from edgedx.core.settings.recipe import Recipe
from edgedx.lab.data.reading.rows import Row, from_files
from edgedx.lab.run.stage import Stage

from .column_table import headings, read_columns
from .dataset import CANVASES, EXCLUDED, MANIFEST, SUMMARY, Dataset
from .decode import decode_rows
from .sources import reading_settings

FOLDER = "unlabeled"
HELD_OUT, IN_TRAIN, TWICE = "identical to a val or test image", "already in train", "duplicate"


def open_unlabeled(recipe: Recipe, run: Path, source: Path, data: Dataset) -> Dataset:
    """Read the files below `source` into ``run/unlabeled``, unless they are there, and open them.

    Files are recognised by content. An image whose canvas (what a network is given, before augmentation) is that of
    a val or test image is dropped and counted, in whatever format it comes; so are images of train and duplicates.
    That two images show one patient cannot be told without labels: keep patients of val and test out of `source`.

    Returns
    -------
    Dataset
        Without labels (all -1); its digest is of the canvases.

    Raises
    ------
    DataError
        No usable image.
    """
    stage = Stage(
        run / FOLDER,
        {**reading_settings(recipe), "min_side": recipe.data.min_side},
        {"source": _listing_digest(source), "data": data.digest},
    )
    # A cache: what was read for another source or data set is read anew without asking.
    stage.run(lambda: _read(recipe, source, data, stage.folder), overwrite=stage.record() is None, restartable=True)
    return _load(stage.folder, data)


def unlabeled_report(run: Path) -> dict[str, Any]:
    """Images used, and reasons of exclusion with their counts."""
    summary = read_json(run / FOLDER / SUMMARY)
    return {key: summary[key] for key in ("files", "images", "excluded")}


def _files(source: Path) -> list[Path]:
    """Every file but hidden ones: DICOM files seldom have a suffix that says so."""
    if not source.is_dir():
        raise DataError(f"{source} is no folder of images", next_step="give the folder with the unlabeled images")
    below = (path for path in source.rglob("*") if path.is_file())
    return sorted(path for path in below if not any(p.startswith(".") for p in path.relative_to(source).parts))


def _listing_digest(source: Path) -> str:
    """Of names, sizes and times of change: a file that is replaced is noticed without reading any."""
    facts = []
    for path in _files(source):
        try:
            status = path.stat()
        except OSError as error:
            raise storage_error(path, error) from error
        facts.append([path.relative_to(source).as_posix(), status.st_size, status.st_mtime_ns])
    return sha256_bytes(canonical_json(facts))


def _read(recipe: Recipe, source: Path, data: Dataset, folder: Path) -> dict[str, Any]:
    rows = [Row(path.relative_to(source).as_posix(), ()) for path in _files(source)]
    if not rows:
        raise DataError(f"{source} holds no file", next_step="give the folder with the unlabeled images")
    folder.mkdir(parents=True, exist_ok=True)
    excluded: list[tuple[str, str]] = []
    listed = from_files(source, rows, str(source), recipe.accept.multi_frame)
    cases = decode_rows(recipe, listed, rows, folder / CANVASES, excluded)
    canvases = np.load(folder / CANVASES, mmap_mode="r", allow_pickle=False)
    known = {
        _canvas_digest(data.canvases[row]): IN_TRAIN if split == "train" else HELD_OUT
        for row, split in sorted(zip(data.rows, data.splits, strict=True), key=lambda pair: pair[1] != "train")
    }
    kept: list[list[str | int]] = []
    for case in cases:
        digest = _canvas_digest(canvases[case.index])
        if digest in known:
            excluded.append((case.row.name, known[digest]))
            continue
        known[digest] = TWICE
        kept.append([case.row.name, case.index, digest, *case.row.columns.values()])
    reasons = Counter(reason for _, reason in excluded)
    if not kept:
        raise DataError(
            f"{source}: none of {len(rows)} files is a new usable image: "
            + "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3)),
            next_step="give images that are not in the data set yet",
        )
    write_text(folder / MANIFEST, _table(["image", "canvas", "sha256", *headings(recipe.columns.use)], kept))
    write_text(folder / EXCLUDED, _table(["image", "reason"], excluded))
    summary = {
        "schema_version": 1,
        "files": len(rows),
        "images": len(kept),
        "excluded": dict(reasons.most_common()),
        "digest": sha256_bytes(canonical_json([row[2] if len(row) == 3 else row[2:] for row in kept])),
    }
    write_json(folder / SUMMARY, summary)
    return summary


def _canvas_digest(canvas: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(canvas).tobytes()).hexdigest()


def _table(header: list[str], lines: list[Any]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return stream.getvalue()


def _load(folder: Path, data: Dataset) -> Dataset:
    try:
        with (folder / MANIFEST).open(newline="", encoding="utf-8") as stream:
            entries = list(csv.DictReader(stream))
        canvases = np.load(folder / CANVASES, mmap_mode="r", allow_pickle=False)
        rows = np.array([int(entry["canvas"]) for entry in entries], np.int64)
        columns = read_columns(entries, data.fitted)
    except OSError as error:
        raise storage_error(folder, error) from error
    except (ValueError, KeyError) as error:
        raise DataError(f"{folder} is damaged: {error}", next_step="delete it; it is made again") from error
    count = len(rows)
    return Dataset(
        names=[entry["image"] for entry in entries],
        patients=[""] * count,
        labels=np.full(count, -1),
        splits=[FOLDER] * count,
        canvases=canvases,
        rows=rows,
        subgroups=[{} for _ in range(count)],
        digest=read_json(folder / SUMMARY)["digest"],
        columns=columns,
        fitted=data.fitted,
    )
