"""A data set, decoded once: manifest of every image, list of every exclusion, canvases in one memory-mapped file."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx.core.errors import DataError, EdgedxError
from edgedx.core.files import canonical_json, sha256_bytes, storage_error, write_json, write_text
from edgedx.core.preprocess import Canvas, PreprocessSpec, canvas
from edgedx.core.progress import track
from edgedx.core.settings.columns import FittedColumn, gather
from edgedx.core.settings.recipe import Recipe

from .column_table import column_summary, fitted_columns, headings, read_columns
from .sources import Row, Source, open_source
from .split import Case, assign_splits, check_classes, shared_contents, shared_patients

CANVASES, MANIFEST, EXCLUDED, SUMMARY = "canvases.npy", "manifest.csv", "excluded.csv", "dataset.json"
HEADER_GROUPS = {"sex": "PatientSex", "age": "PatientAgeYears", "view": "ViewPosition"}
"""Subgroups that a DICOM header gives where the source has no such column."""
_FIXED = ["image", "label", "patient_id", "split", "sha256", "height", "width", "canvas"]


@dataclass(frozen=True)
class Dataset:
    """Images of one or all splits.

    Attributes
    ----------
    names, patients : list of str
    labels : ndarray
        (N,) int64 class indices, or (N, K) float64 of 0/1/NaN for multilabel tasks.
    canvases : ndarray of shape (total, H, W) or (total, H, W, 3), uint8 or uint16
        Memory-mapped, shared by all subsets; ``canvases[rows[i]]`` is image i.
    rows : ndarray of shape (N,), int64
    subgroups : list of dict
    columns : ndarray of shape (N, T), float32, optional
        What the model is told beside each image (see `core.columns`); None where the data set has no columns.
    fitted : tuple of FittedColumn
        How they were encoded; fitted on train.
    """

    names: list[str]
    patients: list[str]
    labels: NDArray[Any]
    splits: list[str]
    canvases: Canvas
    rows: NDArray[np.int64]
    subgroups: list[dict[str, str]]
    digest: str
    columns: NDArray[np.float32] | None = None
    fitted: tuple[FittedColumn, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def subset(self, split: str) -> Dataset:
        """The images of one split."""
        return self.take([index for index, own in enumerate(self.splits) if own == split])

    def take(self, chosen: Sequence[int] | NDArray[np.int64]) -> Dataset:
        """The images at the given positions."""
        picked = [int(index) for index in chosen]
        return Dataset(
            [self.names[i] for i in picked],
            [self.patients[i] for i in picked],
            self.labels[picked],
            [self.splits[i] for i in picked],
            self.canvases,
            self.rows[picked],
            [self.subgroups[i] for i in picked],
            self.digest,
            None if self.columns is None else self.columns[picked],
            self.fitted,
        )

    def batches(self, size: int) -> Iterable[Canvas]:
        """Canvases in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.canvases[self.rows[start : start + size]]

    def inputs(self, size: int) -> Iterable[tuple[Canvas, NDArray[np.float32] | None]]:
        """All that a model is given: canvases in order, `size` at a time, and their columns."""
        for start, canvases in zip(range(0, len(self), size), self.batches(size), strict=True):
            yield canvases, None if self.columns is None else self.columns[start : start + size]


def build_dataset(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Read a recipe's source into `folder` and return the summary that is also written there.

    The folder appears whole or not at all.

    Raises
    ------
    DataError
        Nothing readable, an empty class, or a leak between splits.
    """
    source = open_source(recipe)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".data-", dir=folder.parent))
    staging.chmod(0o755)  # mkdtemp's 0700 would keep colleagues out
    try:
        summary = _build(recipe, source, staging)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(staging, folder)
        return summary
    except OSError as error:
        raise storage_error(folder, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _build(recipe: Recipe, source: Source, folder: Path) -> dict[str, Any]:
    excluded: list[tuple[str, str]] = [(row.name, row.problem) for row in source.rows if row.problem]
    usable = [row for row in source.rows if not row.problem]
    if recipe.data.folds:
        usable = [replace(row, split="") for row in usable]
    cases = decode_rows(recipe, source, usable, folder / CANVASES, excluded)
    if not cases:
        reasons = Counter(reason for _, reason in excluded).most_common(3)
        raise DataError(
            f"{source.origin}: none of {len(source.rows)} images is usable: "
            + "; ".join(f"{reason} ({count})" for reason, count in reasons)
        )
    cases = _drop_duplicates(cases, excluded)
    splits = assign_splits(cases, recipe.data)
    cases, splits = _check_leaks(recipe, cases, splits, excluded)
    warnings = check_classes(cases, splits, recipe.task)
    told = column_summary(recipe.columns.use, [case.row.columns for case in cases], splits)
    _write_tables(recipe, folder, cases, splits, excluded)
    summary = {
        "schema_version": 1,
        "source": source.origin,
        "synthetic": recipe.synthetic,
        "images": len(cases),
        "patients": len({case.patient for case in cases}),
        "splits": {split: splits.count(split) for split in ("train", "val", "test")},
        "classes": _class_counts(recipe, cases, splits),
        "excluded": dict(Counter(reason for _, reason in excluded).most_common()),
        "warnings": warnings,
        "digest": sha256_bytes(
            canonical_json(
                [
                    [c.row.name, c.sha256, list(map(str, c.row.label)), c.patient, s, *c.row.columns.items()]
                    for c, s in zip(cases, splits, strict=True)
                ]
            )
        ),
        **told,
    }
    write_json(folder / SUMMARY, summary)
    return summary


def decode_rows(
    recipe: Recipe, source: Source, rows: list[Row], path: Path, excluded: list[tuple[str, str]]
) -> list[Case]:
    """Read `rows` into the canvases at `path`; those that cannot be used join `excluded`, each with its reason."""
    spec = recipe.preprocess
    shape = (len(rows), *spec.size) if spec.channels == 1 else (len(rows), *spec.size, 3)
    store = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8 if spec.bits == 8 else np.uint16, shape=shape)

    def one(item: tuple[int, Row]) -> Case | str:
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
        store[index] = canvas(image, spec)
        groups = {name: image.meta.get(field, "") for name, field in HEADER_GROUPS.items()}
        told = gather(recipe.columns.use, row.columns, image.meta)
        row = replace(row, subgroups={**groups, **row.subgroups}, columns=told)
        return Case(row, digest, height, width, index)

    cases = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:  # decoders release the interpreter lock
        found = pool.map(one, enumerate(rows), chunksize=16)
        for row, outcome in zip(rows, track(found, "reading images", len(rows)), strict=True):
            if isinstance(outcome, Case):
                cases.append(outcome)
            else:
                excluded.append((row.name, outcome))
    store.flush()
    return cases


def _drop_duplicates(cases: list[Case], excluded: list[tuple[str, str]]) -> list[Case]:
    """Of identical images keep the first; where their labels disagree keep none.

    A val or test split that the source gives stays as published, so that figures on it can be compared.
    """
    first: dict[tuple[str, str], Case] = {}
    contradicted = set()
    for case in cases:
        known = first.setdefault((case.sha256, case.row.split), case)
        if known.label_key != case.label_key:
            contradicted.add(case.sha256)
    kept = []
    for case in cases:
        if case.sha256 in contradicted:
            excluded.append((case.row.name, "same image under two labels"))
        elif first[(case.sha256, case.row.split)] is not case and case.row.split not in ("val", "test"):
            excluded.append((case.row.name, "duplicate"))
        else:
            kept.append(case)
    return kept


def _check_leaks(
    recipe: Recipe, cases: list[Case], splits: list[str], excluded: list[tuple[str, str]]
) -> tuple[list[Case], list[str]]:
    if patients := shared_patients(cases, splits):
        raise DataError(
            f"leak: {len(patients)} patient(s) stand in more than one split, among them row {patients[0]!r}",
            next_step="correct the split column, or leave it out and let edgedx split by patient",
        )
    shared = shared_contents(cases, splits)
    if not shared:
        return cases, splits
    if recipe.data.shared_content == "refuse":
        one, two, *_ = (cases[position].row.name for position in next(iter(shared.values())))
        raise DataError(
            f"leak: {len(shared)} image(s) stand in more than one split, for example {one} and {two} are identical",
            next_step="remove them, or --set data.shared_content=drop-from-train",
        )
    # Kept where they are judged: val gives way to test, train to both.
    rank = {"train": 0, "val": 1, "test": 2}
    drop = set()
    for positions in shared.values():
        highest = max(rank[splits[position]] for position in positions)
        drop |= {position for position in positions if rank[splits[position]] < highest}
    excluded += [(cases[position].row.name, "also in a later split") for position in sorted(drop)]
    kept = [position for position in range(len(cases)) if position not in drop]
    return [cases[position] for position in kept], [splits[position] for position in kept]


def _class_counts(recipe: Recipe, cases: list[Case], splits: list[str]) -> dict[str, dict[str, int]]:
    counts = {name: Counter({"train": 0, "val": 0, "test": 0}) for name in recipe.task.classes}
    for case, split in zip(cases, splits, strict=True):
        for name in _label_text(recipe, case.row.label).split("|"):
            if name in counts:
                counts[name][split] += 1
    return {name: dict(counter) for name, counter in counts.items()}


def _label_text(recipe: Recipe, label: tuple[float, ...]) -> str:
    if recipe.task.kind == "multilabel":
        return "|".join(name for name, value in zip(recipe.task.classes, label, strict=True) if value == 1) or "none"
    return recipe.task.classes[int(label[0])]


def _write_tables(
    recipe: Recipe, folder: Path, cases: list[Case], splits: list[str], excluded: list[tuple[str, str]]
) -> None:
    columns = recipe.data.subgroup_columns
    lines = [
        [
            case.row.name,
            json.dumps(case.row.label),
            case.patient,
            split,
            case.sha256,
            case.height,
            case.width,
            case.index,
        ]
        + [case.row.subgroups.get(column, "") for column in columns]
        + [case.row.columns[column.name] for column in recipe.columns.use]
        for case, split in zip(cases, splits, strict=True)
    ]
    write_text(folder / MANIFEST, _csv_text([*_FIXED, *columns, *headings(recipe.columns.use)], lines))
    write_text(folder / EXCLUDED, _csv_text(["image", "reason"], excluded))


def _csv_text(header: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return stream.getvalue()


def load_dataset(folder: Path, task: str, spec: PreprocessSpec) -> Dataset:
    """Open what `build_dataset` wrote.

    Raises
    ------
    DataError
        The folder is not whole, or its canvases are not those of `spec`.
    """
    try:
        with (folder / MANIFEST).open(newline="", encoding="utf-8") as stream:
            entries = list(csv.DictReader(stream))
        canvases = np.load(folder / CANVASES, mmap_mode="r", allow_pickle=False)
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        # json writes NaN, which is how an unknown label of a multilabel task looks
        labels = np.array([json.loads(entry["label"]) for entry in entries], np.float64)
        rows = np.array([int(entry["canvas"]) for entry in entries], np.int64)
        fitted = fitted_columns(summary)
        columns = read_columns(entries, fitted)
        if len(rows) != summary["images"]:
            raise ValueError(f"{MANIFEST} has {len(rows)} of {summary['images']} images")
    except OSError as error:
        raise storage_error(folder, error) from error
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{folder} is damaged: {error}", next_step="delete it; it is made again from the source"
        ) from error
    shape, dtype = spec.size if spec.channels == 1 else (*spec.size, 3), f"uint{spec.bits}"
    if canvases.shape[1:] != shape or canvases.dtype != dtype:
        raise DataError(
            f"{folder}: canvases are {canvases.shape[1:]} {canvases.dtype}, the recipe wants {shape} {dtype}",
            next_step="make the data set again with --overwrite",
        )
    apart = {*_FIXED, *headings(fitted)}
    return Dataset(
        names=[entry["image"] for entry in entries],
        patients=[entry["patient_id"] for entry in entries],
        labels=labels if task == "multilabel" else labels[:, 0].astype(np.int64),
        splits=[entry["split"] for entry in entries],
        canvases=canvases,
        rows=rows,
        subgroups=[{key: entry[key] for key in entry if key not in apart} for entry in entries],
        digest=summary["digest"],
        columns=columns,
        fitted=fitted,
    )
