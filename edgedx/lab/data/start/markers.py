"""Values of a fact that one class alone has: every image of 801 x 512 pixels malignant. Rare, so no AUC shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PURE = 0.95
_FEWEST = 10  # images
_LEAST_P = 0.05
_MANY = 50
"""Values of a fact, above which it is a measurement or a name."""


@dataclass(frozen=True)
class Marker:
    """Images that share a value of a fact, nearly all of one class.

    Attributes
    ----------
    images, patients : int
        That have the value.
    share, elsewhere : float
        Of the class among them, and among all others.
    p : float
        Chance that so many of the patients would be of the class, corrected for the number of values looked at.
    """

    fact: str
    value: str
    label: str
    images: int
    patients: int
    share: float
    elsewhere: float
    p: float

    @property
    def sentence(self) -> str:
        """In words."""
        those = "all" if self.share == 1 else f"{self.share:.0%} of"
        return (
            f"{those} {self.images} images of {self.fact} {self.value} are {self.label} "
            f"({self.patients} patients; {self.elsewhere:.0%} of the others are)"
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "fact": self.fact, "value": self.value, "class": self.label, "images": self.images,
            "patients": self.patients, "share": self.share, "elsewhere": self.elsewhere, "p": self.p,
        }  # fmt: skip


def find_markers(
    facts: Sequence[Mapping[str, str | float]], labels: NDArray[Any], classes: Sequence[str], units: Sequence[str]
) -> list[Marker]:
    """Values that give a class away, of most images first; of facts that mark the same images one.

    Of several findings at once none are looked for.

    Parameters
    ----------
    labels : ndarray of shape (N,) of class indices
    units : sequence of str, length N
        Patients; chance is counted in them, since images of one patient have one scanner.
    """
    if labels.ndim != 1:
        return []
    from scipy.stats import binom

    owners = np.asarray(units)
    distinct = {rows.tobytes(): (fact, value, rows) for fact, value, rows in reversed(list(_candidates(facts)))}
    usable = [one for one in distinct.values() if min(one[2].sum(), (~one[2]).sum()) >= _FEWEST]
    found = []
    for fact, value, rows in usable:
        index = int(np.bincount(labels[rows].astype(int)).argmax())
        of_class = labels == index
        share, elsewhere = float(of_class[rows].mean()), float(of_class[~rows].mean())
        patients = len(set(owners[rows].tolist()))
        others = len(set(owners[rows & ~of_class].tolist()))
        base = len(set(owners[of_class].tolist())) / len(set(owners.tolist()))
        p = min(1.0, len(usable) * float(binom.sf(patients - others - 1, patients, base)))
        if share >= _PURE and share > elsewhere and p < _LEAST_P:
            found.append(Marker(fact, value, classes[index], int(rows.sum()), patients, share, elsewhere, p))
    return sorted(found, key=lambda one: -one.images)


def _candidates(facts: Sequence[Mapping[str, str | float]]) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Each value of each fact that has few, and all but the most frequent one together."""
    for fact in dict.fromkeys(name for one in facts for name in one):
        values = np.array([_text(one.get(fact, "")) for one in facts])
        counts = Counter(values.tolist())
        if not 2 <= len(counts) <= _MANY:
            continue
        (usual, _), *others = counts.most_common()
        yield fact, f"other than {usual}", values != usual
        for value, _ in others if len(others) > 1 else []:
            yield fact, value, values == value


def _text(value: str | float) -> str:
    return f"{value:g}" if isinstance(value, float) else value
