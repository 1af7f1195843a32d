"""Patients to train, val and test; and the check that nothing leaks from one to another."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgedx.core.errors import DataError
from edgedx.core.files import sha256_bytes
from edgedx.core.settings.recipe_sections import Data, Task
from edgedx.lab.data.layouts.listing import DEVELOPMENT
from edgedx.lab.data.reading.rows import SPLITS, Row

from .counts import is_few, meaning_of_count


@dataclass(frozen=True)
class PreparedImage:
    """A readable row with what was learned by reading it."""

    row: Row
    sha256: str
    height: int
    width: int
    index: int
    """Position of its canvas in the cache."""
    joined: str = ""
    """Name of the patients that near-duplicates join with this one; empty where nothing was joined."""

    @property
    def patient(self) -> str:
        """The patient, or the image's own name where the source names none."""
        return self.row.patient or self.row.name

    @property
    def unit(self) -> str:
        """What a split must not divide: the patient, with those whom near-duplicates join with him."""
        return self.joined or self.patient

    @property
    def label_key(self) -> tuple[float, ...]:
        """The label in a form that can be compared: NaN (unknown) does not equal itself, so it is -1 here."""
        return tuple(-1.0 if np.isnan(value) else value for value in self.row.label)

    @property
    def strata(self) -> list[tuple[float, ...]]:
        """Labels to balance splits by. Of several findings each by itself: most combinations of them stand once."""
        if len(self.row.label) == 1:
            return [self.label_key]
        return [(float(finding),) for finding, value in enumerate(self.row.label) if value == 1] or [()]


def assign_splits(cases: Sequence[PreparedImage], data: Data) -> list[str]:
    """A split for each case: by fold where the recipe asks for folds, else the source's own, else by fractions."""
    if data.folds:
        return assign_fold(cases, data.folds, data.fold, data.fractions, data.seed)
    return assign(cases, data.fractions, data.seed)


def assign(cases: Sequence[PreparedImage], fractions: tuple[float, float, float], seed: int) -> list[str]:
    """A split for each case: the source's own, else patients drawn by stratum.

    A part that the source sets apart from test and does not divide further is drawn into train and val.
    Patients are ordered by a hash of seed and name, so that the same patient keeps its place when others are added.
    """
    if all(case.row.split for case in cases):
        undivided = [case for case in cases if case.row.split == DEVELOPMENT]
        drawn = _draw_train_val(undivided, fractions, str(seed))
        return [drawn[case.unit] if case.row.split == DEVELOPMENT else case.row.split for case in cases]
    if any(case.row.split for case in cases):
        raise DataError(
            "some images name a split and others do not", next_step="fill the split column, or leave it out"
        )
    chosen = _draw(cases, np.cumsum(fractions)[:2], str(seed))
    return [SPLITS[chosen[case.unit]] for case in cases]


def assign_fold(
    cases: Sequence[PreparedImage], folds: int, fold: int, fractions: tuple[float, float, float], seed: int
) -> list[str]:
    """One fold of patients to test; of the other patients, as many to val as val has of train and val in `fractions`.

    The folds are the same for every `fold`: each case stands in test once. They are the publisher's own where it has
    as many.
    """
    published = sorted({case.row.fold for case in cases})
    if all(published) and len(published) == folds:
        fold_of = [published.index(case.row.fold) for case in cases]
    else:
        drawn = _draw(cases, np.arange(1, folds) / folds, str(seed))
        fold_of = [drawn[case.unit] for case in cases]
    others = [case for case, its_fold in zip(cases, fold_of, strict=True) if its_fold != fold]
    rest = _draw_train_val(others, fractions, f"val:{seed}")
    return ["test" if its_fold == fold else rest[case.unit] for case, its_fold in zip(cases, fold_of, strict=True)]


def _draw_train_val(cases: Sequence[PreparedImage], fractions: tuple[float, float, float], salt: str) -> dict[str, str]:
    train, val, _ = fractions
    drawn = _draw(cases, np.array([train / (train + val)]), salt)
    return {patient: SPLITS[part] for patient, part in drawn.items()}


def _draw(cases: Sequence[PreparedImage], limits: NDArray[np.float64], salt: str) -> dict[str, int]:
    """Patients to the parts between `limits`, stratum by stratum; a patient's stratum is its rarest label."""
    common = Counter(label for case in cases for label in case.strata)
    patients: dict[str, list[PreparedImage]] = defaultdict(list)
    for case in cases:
        patients[case.unit].append(case)
    strata: dict[tuple[float, ...], list[str]] = defaultdict(list)
    for patient, of_patient in patients.items():
        labels = {label for case in of_patient for label in case.strata}
        strata[min(labels, key=lambda label: (common[label], label))].append(patient)
    chosen: dict[str, int] = {}
    for members in strata.values():
        members.sort(key=lambda patient: sha256_bytes(f"{salt}:{patient}".encode()))
        sizes = np.array([len(patients[patient]) for patient in members])
        middle = (np.cumsum(sizes) - sizes / 2) / sizes.sum()  # a patient goes where its middle image falls
        chosen |= zip(members, map(int, np.searchsorted(limits, middle, side="right")), strict=True)
    return chosen


def shared_patients(cases: Sequence[PreparedImage], splits: Sequence[str]) -> list[str]:
    """Patients that stand in more than one split."""
    seen: dict[str, set[str]] = defaultdict(set)
    for case, split in zip(cases, splits, strict=True):
        seen[case.patient].add(split)
    return sorted(patient for patient, where in seen.items() if len(where) > 1)


def shared_contents(cases: Sequence[PreparedImage], splits: Sequence[str]) -> dict[str, list[int]]:
    """Content hash to the positions of the cases that share it across splits."""
    seen: dict[str, list[int]] = defaultdict(list)
    for position, case in enumerate(cases):
        seen[case.sha256].append(position)
    return {
        digest: positions for digest, positions in seen.items() if len({splits[position] for position in positions}) > 1
    }


def check_classes(cases: Sequence[PreparedImage], splits: Sequence[str], task: Task) -> list[str]:
    """Refuse empty classes and one-class splits; return what few test images mean, of the smallest class.

    Raises
    ------
    DataError
        A class has no image, or a split lacks one.
    """
    counts = {split: np.zeros(len(task.classes), int) for split in SPLITS}
    for case, split in zip(cases, splits, strict=True):
        label = np.array(case.row.label)
        if task.kind == "multilabel":
            counts[split] += label == 1
        else:
            counts[split][int(label[0])] += 1
    total = np.sum(list(counts.values()), axis=0)
    for index, name in enumerate(task.classes):
        if total[index] == 0:
            raise DataError(
                f"class {name!r} has no usable image",
                next_step="check the spelling in task.classes, and the list of excluded images in data/excluded.csv",
            )
        for split in SPLITS:
            if counts[split][index] == 0:
                raise DataError(
                    f"class {name!r} has no image in {split}: AUC and thresholds cannot be computed there",
                    next_step="add patients of this class, or change data.fractions or data.seed"
                    + (
                        ", or --set data.near_duplicates=list"
                        if any(case.unit != case.patient for case in cases)
                        else ""
                    ),
                )
    fewest = int(np.argmin(counts["test"]))
    count = int(counts["test"][fewest])
    return [meaning_of_count(count, repr(task.classes[fewest]))] if is_few(count) else []
