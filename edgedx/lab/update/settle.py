"""Answers to labels: of all that clinics sent, what can be learned from, and why the rest cannot."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx.core.errors import UsageError
from edgedx.core.preprocess import Canvas
from edgedx.core.settings.recipe import Recipe
from edgedx.lab.data.alike import bind, find_alike
from edgedx.lab.data.cases_file import label_text
from edgedx.lab.data.counts import count_reasons
from edgedx.lab.data.reading.rows import Row
from edgedx.lab.data.split import PreparedImage

from .feedback import FeedbackFile, Label, Told

PEOPLE, TWICE = "people disagree on its label", "the same picture under two labels"
OTHERWISE = "the data set labels the same picture otherwise"
KNOWN, DUPLICATE, NEAR = "in the data set already", "duplicate", "near-duplicate of an image of the data set"
NEAR_OTHERWISE = "near-duplicate of an image that the data set labels otherwise"
NEAR_TWICE = "near-duplicates under two labels (kept)"


@dataclass(frozen=True)
class Old:
    """The data set that the model was made with.

    Attributes
    ----------
    cases : list of PreparedImage
        Empty where nothing of it was kept.
    canvases : ndarray, optional
        None where its images were not kept.
    """

    cases: list[PreparedImage]
    splits: list[str]
    groups: list[str]
    canvases: Canvas | None


@dataclass(frozen=True)
class Settled:
    """What is left of the answers.

    Attributes
    ----------
    images : list of Told
        One label each.
    cases : list of PreparedImage
        The same, bound by patient and likeness; ``index`` is the position in `images`.
    excluded : list of (str, str)
        Image and reason.
    contradictions : list of tuple
        Image, key, site, labels in words, what contradicts.
    """

    images: list[Told]
    cases: list[PreparedImage]
    excluded: list[tuple[str, str]]
    contradictions: list[tuple[str, str, str, str, str]]
    warnings: list[str]
    counts: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For records."""
        return {
            **self.counts,
            "used": len(self.images),
            "excluded": count_reasons(self.excluded),
            "contradictions": len(self.contradictions),
            "warnings": self.warnings,
        }


class _Both:
    """Old canvases and then new ones, as one array that is indexed image by image."""

    def __init__(self, old: Canvas, new: Sequence[Canvas]) -> None:
        self.old, self.new, self.dtype, self.ndim = old, new, old.dtype, old.ndim

    def __getitem__(self, row: int) -> Canvas:
        return np.asarray(self.old[row]) if row < len(self.old) else self.new[row - len(self.old)]


def settle(recipe: Recipe, files: Sequence[FeedbackFile], old: Old) -> Settled:
    """Sort out what is missing, said twice, contradicts, or is known already.

    Raises
    ------
    UsageError
        A file is given twice.
    """
    told = _latest(files)
    work = _Sorting(recipe, told)
    work.take_out([one.problem for one in told])
    work.contradict(lambda one: PEOPLE if len({_plain(label) for label in one.labels}) > 1 else "")
    work.same_pictures()
    work.known_pictures(old)
    cases, warnings = work.near_duplicates(old)
    images = work.left
    counts = {
        "files": len(files),
        "images": len(told),
        "agreed_after_seeing": sum(one.agreed for one in images),
        "blind": sum(one.blind for one in images),
    }
    return Settled(images, cases, work.excluded, work.contradictions, warnings, counts)


def _latest(files: Sequence[FeedbackFile]) -> list[Told]:
    """All images of all files: of one clinic the latest export counts, what several clinics say is put together."""
    seen: set[str] = set()
    by_site: dict[tuple[str, str], Told] = {}
    for file in sorted(files, key=lambda one: one.created):  # stable: of one day the later named
        if file.facts["digest"] in seen:
            raise UsageError(f"{file.path} is given twice", next_step="name each file once")
        seen.add(file.facts["digest"])
        for place, one in enumerate(file.images):
            key = (one.site, one.sha256) if file.created else (str(file.path), f"{place}")
            by_site[key] = one
    together: dict[str, Told] = {}
    for (place_of, name), one in by_site.items():  # of a table each row stands for itself
        identity = name if name == one.sha256 else f"{place_of}\n{name}"
        together[identity] = _joined(together[identity], one) if identity in together else one
    return list(together.values())


def _joined(one: Told, other: Told) -> Told:
    """What two clinics say of the same image."""
    if not one.labels or not other.labels:
        return one if one.labels else other
    seen = one if not one.problem else other
    return replace(
        seen,
        labels=(*one.labels, *other.labels),
        blind=one.blind or other.blind,
        agreed=one.agreed and other.agreed,
    )


def _plain(label: Label) -> Label:
    """Comparable: NaN (unknown) does not equal itself."""
    return tuple(-1.0 if np.isnan(value) else value for value in label)


class _Sorting:
    """What is left, and what was taken out so far."""

    def __init__(self, recipe: Recipe, told: Sequence[Told]) -> None:
        self.recipe, self.left = recipe, list(told)
        self.excluded: list[tuple[str, str]] = []
        self.contradictions: list[tuple[str, str, str, str, str]] = []

    def take_out(self, reasons: Sequence[str]) -> None:
        """Leave out each image that has a reason."""
        self.excluded += [(one.name, why) for one, why in zip(self.left, reasons, strict=True) if why]
        self.left = [one for one, why in zip(self.left, reasons, strict=True) if not why]

    def note(self, one: Told, why: str, more: Sequence[Label] = ()) -> None:
        """A line for people: what contradicts."""
        words = dict.fromkeys(label_text(self.recipe, label) for label in (*one.labels, *more))
        self.contradictions.append((one.name, one.key, one.site, " / ".join(words), why))

    def contradict(self, judge: Any) -> None:
        """Leave out, and list, what `judge` has a word for."""
        reasons = [judge(one) for one in self.left]
        for one, why in zip(self.left, reasons, strict=True):
            if why:
                self.note(one, why)
        self.take_out(reasons)

    def same_pictures(self) -> None:
        """Of the same picture in several files keep one; under two labels none."""
        labels: dict[str, list[Label]] = {}
        digests = [canvas_digest(one.canvas) for one in self.left]
        for one, digest in zip(self.left, digests, strict=True):
            labels.setdefault(digest, []).append(one.labels[0])
        first: set[str] = set()
        reasons = []
        for one, digest in zip(self.left, digests, strict=True):
            if len({_plain(label) for label in labels[digest]}) > 1:
                reasons.append(TWICE)
                self.note(one, TWICE, labels[digest])
            else:
                reasons.append(DUPLICATE if digest in first else "")
            first.add(digest)
        self.take_out(reasons)

    def known_pictures(self, old: Old) -> None:
        """What the data set has already, by its file or by its picture."""
        known = {case.sha256: case.label_key for case in old.cases}
        if old.canvases is not None:
            known |= {canvas_digest(np.asarray(old.canvases[case.index])): case.label_key for case in old.cases}
        reasons = []
        for one in self.left:
            label = known.get(one.sha256, known.get(canvas_digest(one.canvas)))
            why = "" if label is None else KNOWN if label == _plain(one.labels[0]) else OTHERWISE
            if why == OTHERWISE and label is not None:
                self.note(one, why, [label])
            reasons.append(why)
        self.take_out(reasons)

    def near_duplicates(self, old: Old) -> tuple[list[PreparedImage], list[str]]:
        """Leave out what looks like an old image; bind new ones that look alike. Returns cases of what is left."""
        before = len(old.cases) if old.canvases is not None else 0
        base = old.canvases if old.canvases is not None else np.zeros((0, 1, 1), self._dtype())
        both = _Both(base, [one.canvas for one in self.left if one.canvas is not None])
        fresh = [self._case(one, len(base) + place) for place, one in enumerate(self.left)]
        everything = [*old.cases[:before], *fresh]
        alike = find_alike(self.recipe, everything, both) if fresh else None  # type: ignore[arg-type]
        if alike is None:
            return [self._case(one, place) for place, one in enumerate(self.left)], []
        reasons = [""] * len(fresh)
        for group in alike.groups():
            olds = [everything[place] for place in group if place < before]
            news = [place - before for place in group if place >= before]
            for place in news:
                mine = fresh[place].label_key
                other = [case.row.label for case in olds if case.label_key != mine]
                if olds:
                    reasons[place] = NEAR_OTHERWISE if other else NEAR
                    if other:
                        self.note(self.left[place], NEAR_OTHERWISE, other)
                elif any(fresh[one].label_key != mine for one in news):
                    self.note(self.left[place], NEAR_TWICE, [fresh[one].row.label for one in news])
        bound = bind(everything, alike)[before:]
        kept = [place for place, why in enumerate(reasons) if not why]
        self.take_out(reasons)
        cases = [replace(bound[place], index=number) for number, place in enumerate(kept)]
        return cases, [text for text in alike.warnings if "more than one label" not in text]

    def _dtype(self) -> Any:
        return np.uint8 if self.recipe.preprocess.bits == 8 else np.uint16

    def _case(self, one: Told, index: int) -> PreparedImage:
        row = Row(one.name, one.labels[0], one.patient, "", dict(one.groups), columns=dict(one.columns))
        return PreparedImage(row, one.sha256, *one.shape, index)


def canvas_digest(canvas: NDArray[Any] | None) -> str:
    """SHA-256 of pixels."""
    return hashlib.sha256(np.ascontiguousarray(canvas).tobytes()).hexdigest()


def class_counts_of(recipe: Recipe, cases: Sequence[PreparedImage]) -> dict[str, int]:
    """Images by class; of several findings each counts where it is present."""
    counts = Counter(name for case in cases for name in label_text(recipe, case.row.label).split("|"))
    return {name: counts.get(name, 0) for name in recipe.task.classes}
