"""`edgedx data check`: everything that training would complain about, at once, before a network is loaded."""

from __future__ import annotations

import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edgedx.core.errors import EdgedxError
from edgedx.core.files import write_json, write_text
from edgedx.core.preprocess import Canvas
from edgedx.core.settings.recipe import Recipe
from edgedx.core.table import csv_text, plain_cell
from edgedx.lab.data.cases_file import class_counts
from edgedx.lab.data.column_table import column_summary
from edgedx.lab.data.counts import count_reasons, images_and_patients
from edgedx.lab.data.dataset import CANVASES, EXCLUDED, NEAR_DUPLICATES, divide
from edgedx.lab.data.decode import decode_rows
from edgedx.lab.data.reading.rows import Source
from edgedx.lab.data.sources import open_source
from edgedx.lab.data.split import PreparedImage, check_classes

from .confounders import Confounder, file_facts
from .contact_sheet import write_sheet
from .markers import Marker
from .shortcuts import find_shortcuts, folder_of

REPORT = "check.json"
T = TypeVar("T")


@dataclass(frozen=True)
class Problem:
    """What would end a training, and what to do."""

    message: str
    next_step: str = ""


@dataclass
class DataCheck:
    """What is known of a recipe's data set.

    Attributes
    ----------
    problems : list of Problem
        Each of them ends `edgedx finetune`.
    warnings : list of str
        What a figure of a model trained on this will suffer from.
    excluded : dict of int
        Images left out, by reason.
    sizes : dict of int
        ``WIDTH x HEIGHT`` to images, the most frequent first.
    near_duplicates : dict of int
        Groups, images, groups of several labels, images that leave train; empty where not looked for.
    confounders, border : list of Confounder
    markers : list of Marker
        What is no disease and tells the class (see `shortcuts`).
    files : list of Path
    """

    recipe: str
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    listed: int = 0
    images: int = 0
    patients: str = ""
    classes: dict[str, dict[str, int]] = field(default_factory=dict)
    excluded: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    near_duplicates: dict[str, int] = field(default_factory=dict)
    confounders: list[Confounder] = field(default_factory=list)
    markers: list[Marker] = field(default_factory=list)
    border: list[Confounder] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether training would begin."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """As JSON; images are counted, not named: names stand in the tables."""
        return {
            "schema_version": 1,
            "recipe": self.recipe,
            "good": self.good,
            "problems": [{"message": one.message, "next_step": one.next_step} for one in self.problems],
            "warnings": self.warnings,
            "listed": self.listed,
            "images": self.images,
            "patients": self.patients,
            "classes": self.classes,
            "excluded": self.excluded,
            "sizes": self.sizes,
            "near_duplicates": self.near_duplicates,
            "confounders": [one.to_dict() for one in self.confounders],
            "markers": [one.to_dict() for one in self.markers],
            "border": [one.to_dict() for one in self.border],
            "files": [str(path) for path in self.files],
            "seconds": round(self.seconds, 1),
        }


def check_data(recipe: Recipe, folder: Path) -> DataCheck:
    """Read a recipe's data set as training does, go on after each problem, and write tables and contact sheets.

    Parameters
    ----------
    folder : Path
        Gets ``check.json``, ``excluded.csv``, ``near-duplicates.csv`` and ``contact-CLASS.png``; it holds pictures of
        patients.
    """
    began = time.monotonic()
    report = DataCheck(recipe.name)
    folder.mkdir(parents=True, exist_ok=True)
    source, recipe = _listed(recipe, report)
    if source is not None:
        with tempfile.TemporaryDirectory(prefix=".check-", dir=folder) as scratch:
            _examine(recipe, source, Path(scratch), folder, report)
    report.seconds = time.monotonic() - began
    write_json(folder / REPORT, report.to_dict())
    return report


def _tried(work: Callable[[], T], report: DataCheck) -> T | None:
    """The work's result; its error joins the problems."""
    try:
        return work()
    except EdgedxError as error:
        report.problems.append(Problem(error.message, error.next_step or ""))
        return None


def _listed(recipe: Recipe, report: DataCheck) -> tuple[Source | None, Recipe]:
    """The rows of the source; where spellings of patients contradict, those of merged patients, to go on."""
    source = _tried(lambda: open_source(recipe), report)
    if source is None and recipe.data.patient_ids == "refuse":
        merged = recipe.model_copy(update={"data": recipe.data.model_copy(update={"patient_ids": "merge"})})
        try:
            return open_source(merged), merged
        except EdgedxError:
            return None, recipe
    return source, recipe


def _examine(recipe: Recipe, source: Source, scratch: Path, folder: Path, report: DataCheck) -> None:
    excluded = [(row.name, row.problem) for row in source.rows if row.problem]
    usable = [row for row in source.rows if not row.problem]
    report.listed = len(source.rows)
    report.warnings += source.warnings
    path = scratch / CANVASES
    cases = decode_rows(recipe, source, usable, path, excluded) if usable else []
    if not cases:
        report.problems.append(Problem("no image can be used", "see the reasons below"))
        _write_excluded(folder, excluded, report)
        return
    canvases = np.load(path, mmap_mode="r", allow_pickle=False)
    read = len(cases)
    divided = _tried(lambda: divide(recipe, cases, canvases, excluded), report)
    splits = divided.splits if divided is not None else ["train"] * read
    if divided is not None:
        cases = divided.cases
        report.warnings += divided.warnings
        report.near_duplicates = divided.counts or {}
        if divided.alike:
            rows = [[number, plain_cell(str(name)), *more] for number, name, *more in divided.alike]
            write_text(folder / NEAR_DUPLICATES, csv_text(["group", "image", "label", "patient_id", "split"], rows))
            report.files.append(folder / NEAR_DUPLICATES)
        report.warnings += _tried(lambda: check_classes(cases, splits, recipe.task), report) or []
        _tried(lambda: column_summary(recipe.columns.use, [case.row.columns for case in cases], splits), report)
    unnamed = sum(not case.row.patient for case in cases)
    facts = {"images": len(cases), "patients": len({case.patient for case in cases}), "images_without_patient": unnamed}
    report.images, report.patients = len(cases), images_and_patients(facts)
    if unnamed:
        report.warnings.append(
            f"{unnamed} images of unknown patients: images of one person may stand in train and in test, and n counts "
            "images, so that intervals are too narrow"
        )
    report.classes = class_counts(recipe, cases, splits)
    report.sizes = dict(Counter(f"{case.width} x {case.height}" for case in cases).most_common())
    _judge_facts(recipe, cases, canvases, report)
    for index, name in enumerate(recipe.task.classes):
        positions = [case.index for case in cases if _shows(recipe, case, index)]
        if positions:
            plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or str(index)
            report.files.append(write_sheet(canvases, positions, folder / f"contact-{plain}.png"))
    _write_excluded(folder, excluded, report)


def _shows(recipe: Recipe, case: PreparedImage, index: int) -> bool:
    return case.row.label[index] == 1 if recipe.task.kind == "multilabel" else case.row.label[0] == index


def _judge_facts(recipe: Recipe, cases: list[PreparedImage], canvases: Canvas, report: DataCheck) -> None:
    root = folder_of(recipe)
    facts = [file_facts(root, case.row.name, (case.height, case.width), case.row.subgroups) for case in cases]
    many = recipe.task.kind == "multilabel"
    labels = np.array([case.row.label if many else case.row.label[0] for case in cases], np.float64)
    found = find_shortcuts(
        facts, canvases, [case.index for case in cases], recipe, labels, [case.unit for case in cases]
    )
    report.confounders, report.markers, report.border = found.facts, found.markers, found.border
    report.warnings += found.sentences


def _write_excluded(folder: Path, excluded: list[tuple[str, str]], report: DataCheck) -> None:
    report.excluded = count_reasons(excluded)
    rows = [[plain_cell(name), reason] for name, reason in excluded]
    write_text(folder / EXCLUDED, csv_text(["image", "reason"], rows))
    report.files.append(folder / EXCLUDED)
