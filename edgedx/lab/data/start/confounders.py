"""Facts of a file that give its class away: size, format, scanner. A network would learn those, not the disease."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from edgedx.core.errors import ImageError
from edgedx.core.stats.resample import draw
from edgedx.core.stats.weighted import Ranked
from edgedx.dicom.reading.open import sniff
from edgedx.lab.data.reading.header import header_texts

LEAST_TOLD = 0.6
"""Lower end of the 95 % interval of an AUC above which a fact is told: 0.5 is chance."""
OF_FILES = ("height", "width", "aspect ratio", "bytes per pixel", "file format")
TOGETHER = "size and format together"
_MORE = 0.01
"""AUC that all of them must win over the best of them to be worth a line."""
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
        Of a small model of this fact alone, cross-validated by patient; 95 % bootstrap over patients.
    """

    fact: str
    label: str
    auc: float
    low: float
    high: float

    @property
    def sentence(self) -> str:
        """In words."""
        what = self.fact if self.fact == TOGETHER else f"{self.fact} alone"
        return f"{what} tells {self.told}"

    @property
    def told(self) -> str:
        """The class, and how well."""
        return f"{self.label} with AUC {self.auc:.2f} [{self.low:.2f}, {self.high:.2f}]"

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"fact": self.fact, "class": self.label, "auc": self.auc, "low": self.low, "high": self.high}


def file_facts(
    root: Path | None, name: str, size: tuple[int, int], groups: Mapping[str, str]
) -> dict[str, str | float]:
    """What is known of an image besides its pixels: numbers and words.

    Parameters
    ----------
    root : Path, optional
        None where images are no files.
    size : (int, int)
        Height and width, pixels.
    groups : mapping
        Subgroup columns.
    """
    height, width = size
    facts: dict[str, str | float] = {
        "height": float(height), "width": float(width), "aspect ratio": round(width / height, 4)
    }  # fmt: skip
    facts |= {column: _host(value) or "(empty)" for column, value in groups.items()}
    if root is None:
        return facts
    path = root / name
    try:
        length = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(132)
    except OSError:
        return facts
    facts["bytes per pixel"] = round(length / (height * width), 4)
    facts["file format"] = _format(head, path)
    return facts | (_header(path) if head[128:132] == b"DICM" else {})


def _host(text: str) -> str:
    """Of an address the site, which is the source; anything else as it is."""
    return urlsplit(text).netloc or text if text.startswith(("http://", "https://")) else text


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
    columns = {name: column[:, None] for name, column in encoded.items() if len(np.unique(column)) > 1}
    of_files = [columns[name] for name in OF_FILES if name in columns]
    if len(of_files) > 1:
        columns[TOGETHER] = np.concatenate(of_files, axis=1)
    found = []
    for question in questions(labels, classes, units, seed):
        judged = {name: question.judge(name, values, lambda: _tree(seed)) for name, values in columns.items()}
        together = judged.pop(TOGETHER, None)
        if together and together.auc > _MORE + max(judged[name].auc for name in OF_FILES if name in judged):
            judged[TOGETHER] = together  # else it says no more than one of them
        found += [one for one in judged.values() if one.low >= LEAST_TOLD]
    return sorted(found, key=lambda one: -one.auc)


def _tree(seed: int) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(max_depth=_DEPTH, min_samples_leaf=_LEAF, random_state=seed)


_Folds = list[tuple[NDArray[np.int64], NDArray[np.int64]]]


@dataclass(frozen=True)
class Question:
    """Which images have a class, and the folds that small models are trained and judged in, no patient in two.

    Attributes
    ----------
    rows : ndarray of shape (M,)
        Images whose label is known.
    positive : ndarray of shape (M,), bool
    units : list of str
        Their patients.
    """

    label: str
    rows: NDArray[np.int64]
    positive: NDArray[np.bool_]
    units: list[str]
    folds: _Folds
    seed: int

    def judge(self, name: str, values: NDArray[Any], make: Callable[[], Any]) -> Confounder:
        """How well a small model of `values`, shape (N, F) for all images, tells the class."""
        known, scores = values[self.rows], np.zeros(len(self.rows))
        for train, test in self.folds:
            model = make().fit(known[train], self.positive[train])
            scores[test] = model.predict_proba(known[test])[:, 1]
        area = {"auc": Ranked(self.positive, scores).auc}
        found = draw(area, self.units, resamples=_RESAMPLES, seed=self.seed)["auc"].interval()
        return Confounder(name, self.label, *(round(float(value), 4) for value in (found.value, found.low, found.high)))


def questions(labels: NDArray[Any], classes: Sequence[str], units: Sequence[str], seed: int = 0) -> Iterator[Question]:
    """Each class that has enough images and patients to be asked about; of two classes one."""
    for index, label in enumerate(classes):
        if len(classes) == 2 and labels.ndim == 1 and index == 0:
            continue  # the other class says the same
        known = np.ones(len(labels), bool) if labels.ndim == 1 else ~np.isnan(labels[:, index])
        rows = np.flatnonzero(known)
        positive = (labels == index if labels.ndim == 1 else labels[:, index] == 1)[rows]
        of_rows = [units[row] for row in rows]
        if folds := _folds(positive, of_rows, seed):
            yield Question(label, rows, positive, of_rows, folds, seed)


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
