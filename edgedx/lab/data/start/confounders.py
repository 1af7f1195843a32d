"""Facts of a file that give its class away: size, format, scanner. A network would learn those, not the disease."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx.core.errors import ImageError
from edgedx.core.stats.resample import draw
from edgedx.core.stats.weighted import Ranked
from edgedx.dicom.reading.open import sniff
from edgedx.lab.data.reading.header import header_texts
from edgedx.lab.data.split import PreparedImage

LEAST_TOLD = 0.6
"""Lower end of the 95 % interval of an AUC above which a fact is told: 0.5 is chance."""
_FOLDS = 5
_FEWEST = 10  # images of a class
_RESAMPLES = 500
_DEPTH, _LEAF = 4, 5
_HEADER_FACTS = ("Manufacturer", "ManufacturerModelName", "PhotometricInterpretation", "BitsStored", "Modality")


@dataclass(frozen=True)
class Confounder:
    """How well one fact of a file tells one class from the others.

    Attributes
    ----------
    auc, low, high : float
        Of a small decision tree of this fact alone, cross-validated by patient; 95 % bootstrap over patients.
    """

    fact: str
    label: str
    auc: float
    low: float
    high: float

    @property
    def sentence(self) -> str:
        """In words."""
        return f"{self.fact} alone tells {self.label} with AUC {self.auc:.2f} [{self.low:.2f}, {self.high:.2f}]"

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"fact": self.fact, "class": self.label, "auc": self.auc, "low": self.low, "high": self.high}


def file_facts(root: Path | None, case: PreparedImage) -> dict[str, str | float]:
    """What is known of an image besides its pixels: numbers and words. `root` is None where images are no files."""
    facts: dict[str, str | float] = {
        "height": float(case.height), "width": float(case.width), "aspect ratio": round(case.width / case.height, 4)
    }  # fmt: skip
    facts |= {name: value or "(empty)" for name, value in case.row.subgroups.items()}
    if root is None:
        return facts
    path = root / case.row.name
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(132)
    except OSError:
        return facts
    facts["bytes per pixel"] = round(size / (case.height * case.width), 4)
    facts["file format"] = _format(head, path)
    return facts | (_header(path) if head[128:132] == b"DICM" else {})


def _format(head: bytes, path: Path) -> str:
    try:
        name = sniff(head)
    except ImageError:
        return path.suffix.lower() or "(none)"
    return {"webp": "WebP"}.get(name, name.upper())


def _header(path: Path) -> dict[str, str | float]:
    return {name: (text or "(empty)").strip()[:64] for name, text in header_texts(path, _HEADER_FACTS).items()}


def find_confounders(
    facts: Sequence[Mapping[str, str | float]], labels: NDArray[Any], classes: Sequence[str], units: Sequence[str],
    *, seed: int = 0,
) -> list[Confounder]:  # fmt: skip
    """Facts that tell a class better than chance, the worst first.

    Parameters
    ----------
    labels : ndarray of shape (N,) of class indices, or (N, K) of 0/1/NaN
    units : sequence of str, length N
        Patients: those of the tree's training are not those that it is judged on.
    """
    names = sorted({name for one in facts for name in one})
    encoded = {name: _encoded([one.get(name, "(empty)") for one in facts]) for name in names}
    columns = {name: column for name, column in encoded.items() if len(np.unique(column)) > 1}
    found = []
    for index, label in enumerate(classes):
        if len(classes) == 2 and labels.ndim == 1 and index == 0:
            continue  # the other class says the same
        known = np.ones(len(labels), bool) if labels.ndim == 1 else ~np.isnan(labels[:, index])
        rows = np.flatnonzero(known)
        positive = (labels == index if labels.ndim == 1 else labels[:, index] == 1)[rows]
        of_rows = [units[row] for row in rows]
        folds = _folds(positive, of_rows, seed)
        if not folds:
            continue
        judged = [_judge(name, label, column[rows], positive, of_rows, folds, seed) for name, column in columns.items()]
        found += [one for one in judged if one.low >= LEAST_TOLD]
    return sorted(found, key=lambda one: -one.auc)


def _encoded(values: Sequence[str | float]) -> NDArray[np.float64]:
    """Numbers as they are; words by how many images have them, so that rare scanners stand together."""
    if all(isinstance(value, float) for value in values):
        return np.array(values, np.float64)
    numbers = [_number(value) for value in values]
    if sum(number is not None for number in numbers) > 0.9 * len(values):
        return np.array([-1.0 if number is None else number for number in numbers])
    names, counts = np.unique([str(value) for value in values], return_counts=True)
    if len(names) > len(values) // 2:
        return np.zeros(len(values))  # names and free text are no facts
    order = {str(name): rank for rank, name in enumerate(names[np.argsort(-counts, kind="stable")])}
    return np.array([order[str(value)] for value in values], np.float64)


def _number(value: str | float) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


_Folds = list[tuple[NDArray[np.int64], NDArray[np.int64]]]


def _folds(positive: NDArray[np.bool_], units: Sequence[str], seed: int) -> _Folds:
    """Rows to train and to judge a tree on, no patient in both; none where a class has too few images or patients."""
    from sklearn.model_selection import StratifiedGroupKFold

    if min(positive.sum(), (~positive).sum()) < _FEWEST:
        return []
    _, groups = np.unique(units, return_inverse=True)
    count = min(_FOLDS, len(np.unique(groups[positive])), len(np.unique(groups[~positive])))
    if count < 2:
        return []
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    folds = list(splitter.split(positive[:, None], positive, groups))
    return folds if all(len(np.unique(positive[train])) == 2 for train, _ in folds) else []


def _judge(
    name: str,
    label: str,
    column: NDArray[np.float64],
    positive: NDArray[np.bool_],
    units: Sequence[str],
    folds: _Folds,
    seed: int,
) -> Confounder:
    from sklearn.tree import DecisionTreeClassifier

    scores = np.zeros(len(column))
    for train, test in folds:
        tree = DecisionTreeClassifier(max_depth=_DEPTH, min_samples_leaf=_LEAF, random_state=seed)
        scores[test] = tree.fit(column[train, None], positive[train]).predict_proba(column[test, None])[:, 1]
    interval = draw({"auc": Ranked(positive, scores).auc}, units, resamples=_RESAMPLES, seed=seed)["auc"].interval()
    return Confounder(name, label, *(round(float(value), 4) for value in (interval.value, interval.low, interval.high)))
