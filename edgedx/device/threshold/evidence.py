"""Labelled images of a site with a bundle's answers: from the images, from results, or from what people answered.

Whatever it comes from, it is samples and answers as the gate takes them, so that the gate can judge on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx.core.bundle.local_point import Source
from edgedx.core.bundle.manifest import Bundle, Manifest
from edgedx.core.errors import DataError, InputOutputError, UsageError
from edgedx.core.files import read_json, sha256_bytes
from edgedx.core.progress import track
from edgedx.core.result import Result
from edgedx.core.stats.cases import Cases
from edgedx.core.table import read_table
from edgedx.device.clinic.answers import ANSWERS, Answers, findings_of
from edgedx.device.clinic.gate import examine_samples
from edgedx.device.clinic.promise import answered
from edgedx.device.clinic.samples import IMAGE, LABEL, PATIENT, Sample, cases_of_samples, read_samples

from .cutoffs import Finding, finding_of

SEEN = (
    "answers that were given after the model's answer was seen follow the model: sensitivity and specificity come out "
    "too high"
)


@dataclass(frozen=True)
class Evidence:
    """Labelled images that a bundle has answered.

    Attributes
    ----------
    samples : sequence of Sample
        All that were listed.
    answers : mapping
        By SHA-256, as `clinic.gate.Examined` has them.
    remarks : tuple of str
        What a reader must know of where labels come from.
    """

    manifest: Manifest
    samples: Sequence[Sample]
    answers: Mapping[str, dict[str, Any]]
    source: Source
    remarks: tuple[str, ...] = ()

    @cached_property
    def done(self) -> list[Sample]:
        """Those that were answered."""
        return answered(self.samples, self.answers)

    @cached_property
    def cases(self) -> Cases:
        """As figures are computed from them."""
        return cases_of_samples(self.done, self.manifest)

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """Calibrated, (images, classes)."""
        classes = self.manifest.classes
        rows = [[self.answers[one.sha256]["probabilities"][name] for name in classes] for one in self.done]
        return np.array(rows, np.float64).reshape(-1, len(classes))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over which images these were and how they were labelled, in no order."""
        return sha256_bytes("\n".join(sorted(f"{one.sha256} {'|'.join(one.labels)}" for one in self.samples)).encode())

    @property
    def not_answered(self) -> str:
        """``3 MODALITY, 1 TRUNCATED``; empty where all were answered."""
        there = {one.sha256 for one in self.done}
        codes = Counter(str(self.answers.get(one.sha256, {}).get("reason") or "no answer") for one in self.samples
                        if one.sha256 not in there)  # fmt: skip
        return ", ".join(f"{count} {code}" for code, count in sorted(codes.items()))

    def finding(self, name: str) -> Finding:
        """One class of them."""
        return finding_of(self.cases, self.probabilities, name)


def class_of(manifest: Manifest, name: str | None) -> str:
    """The class whose threshold is meant: the positive one, or the one that is named.

    Raises
    ------
    UsageError
        The model has no thresholds, or it must be named and is not, or is none.
    """
    if manifest.task == "multiclass":
        raise UsageError(
            f"{manifest.name} decides for the most probable of {len(manifest.classes)} classes: it has no threshold",
            next_step="thresholds are of binary and multilabel models; a class of its own is trained as one of two",
        )
    choices = [manifest.positive] if manifest.positive is not None else list(manifest.classes)
    if name is None and len(choices) > 1:
        raise UsageError("each finding has a threshold of its own", next_step=f"--class {choices[0]}, or another")
    if name is not None and name not in choices:
        raise UsageError(f"--class {name}: no such finding", next_step=f"one of {', '.join(map(str, choices))}")
    return name or str(choices[0])


def from_images(
    bundle: Bundle, data: Path, subgroups: Sequence[str] = (), *, variant: str | None = None, threads: int = 0
) -> Evidence:
    """Have the bundle read labelled images as the scanner does (see `read_samples` and `examine_samples`)."""
    samples = read_samples(data, bundle.manifest, subgroups)
    samples, remarks = _once(samples)
    examined = examine_samples(bundle, samples, variant=variant, threads=threads)
    return Evidence(bundle.manifest, samples, examined.answers, "images", remarks)


def from_results(bundle: Bundle, out: Path, labels: Path, subgroups: Sequence[str] = ()) -> Evidence:
    """Labels of images that a scanner has read: no image is needed.

    Parameters
    ----------
    labels : Path
        CSV with the columns ``image`` (the file's name below the inbox, the SHA-256 of its content, or the beginning
        of the result's key) and ``label``; perhaps ``patient_id``.

    Raises
    ------
    DataError
        No column, no label that belongs to a result of this bundle, or an unknown class.
    InputOutputError
        No results there.
    """
    entries, columns = read_table(labels)
    if missing := [column for column in (IMAGE, LABEL, *subgroups) if column not in columns]:
        raise DataError(
            f"{labels}: no column {missing[0]!r}; it has {', '.join(columns)}", next_step="its columns: image,label"
        )
    found = _results(out, bundle)
    names = {name: one for one in found for name in (one.source.name, one.source.sha256, one.key, one.key[:32])}
    samples, unknown = [], 0
    for line, entry in enumerate(entries, start=2):
        cells = {column: (entry.get(column) or "").strip() for column in (IMAGE, LABEL, PATIENT, *subgroups)}
        result = names.get(cells[IMAGE])
        if result is None:
            unknown += 1
            continue
        labelled = _labels(bundle.manifest, cells[LABEL], f"{labels}, line {line}")
        groups = {column: cells[column] for column in subgroups}
        samples.append(_sample(result, labelled, cells[IMAGE], cells[PATIENT], groups))
    samples, remarks = _once(samples)
    if not samples:
        raise DataError(
            f"{labels}: none of {len(entries)} images has a result of this bundle in {out}",
            next_step="name images as results do: source.name, source.sha256 or key",
        )
    if unknown:
        remarks += (f"{unknown} of {len(entries)} labelled images have no result of this bundle in {out}",)
    return Evidence(bundle.manifest, samples, _answers(found), "results", remarks)


def from_answers(bundle: Bundle, out: Path, *, seen: bool = False) -> Evidence:
    """What people answered on the page, as labels: blind answers alone, unless those given after a look count too.

    Raises
    ------
    DataError
        There are none for this bundle.
    InputOutputError
        No answers or no results there.
    """
    path = out / ANSWERS
    if not path.is_file():
        raise InputOutputError(f"no {ANSWERS} in {out}: nobody has answered there", next_step="see `edgedx page`")
    answers = Answers(path, read_only=True)
    try:
        given = list(answers.latest() if seen else answers.blind())
    finally:
        answers.close()
    by_key: dict[str, set[frozenset[str]]] = {}
    for one in given:
        if one.bundle == bundle.digest and one.label is not None:
            by_key.setdefault(one.key, set()).add(_said(one.label, bundle.manifest))
    found = {one.key: one for one in _results(out, bundle)}
    contradicted = sum(len(labels) > 1 for labels in by_key.values())
    samples = [
        _sample(found[key], tuple(sorted(next(iter(labels)))), key, "", {})
        for key, labels in by_key.items()
        if len(labels) == 1 and key in found
    ]
    if not samples:
        kind = "" if seen else "blind "
        raise DataError(
            f"there are no {kind}answers to this bundle in {out}",
            next_step="blind answers gather on the page; label images in a CSV until then: --data",
        )
    remarks = ["an answer is one person's reading, not a proven diagnosis", "images of one patient count as of several"]
    if seen:
        remarks.insert(0, SEEN)
    if contradicted:
        remarks.append(f"{contradicted} images that people answered differently are left out")
    samples, twice = _once(samples)
    source: Source = "answers" if seen else "blind answers"
    return Evidence(bundle.manifest, samples, _answers(found.values()), source, (*remarks, *twice))


def _said(label: str, manifest: Manifest) -> frozenset[str]:
    return findings_of(label) if manifest.task == "multilabel" else frozenset([label])


def _labels(manifest: Manifest, text: str, where: str) -> tuple[str, ...]:
    several = manifest.task == "multilabel"
    labels = tuple(part for part in text.split("|") if part not in ("none", "")) if several else (text,)
    if unknown := [label for label in labels if label not in manifest.classes]:
        raise DataError(
            f"{where}: {unknown[0]!r} is no class of the bundle", next_step=f"use {', '.join(manifest.classes)}"
        )
    return labels


def _sample(result: Result, labels: tuple[str, ...], listed: str, patient: str, groups: Mapping[str, str]) -> Sample:
    return Sample(Path(), result.key[:32], result.source.sha256, labels, listed, patient, groups)


def _results(out: Path, bundle: Bundle) -> list[Result]:
    """Those of this bundle."""
    folder = out / "results"
    if not folder.is_dir():
        raise InputOutputError(f"no folder {folder}", next_step="name the --out that `edgedx scan` was given")
    paths, found = sorted(folder.glob("[0-9a-f]*.json")), []
    for path in track(paths, "reading results", len(paths)):
        try:
            result = Result.model_validate(read_json(path))
        except ValueError:
            raise InputOutputError(f"{path} is not a result of this version", next_step="move it away") from None
        if result.runtime.bundle == bundle.digest:
            found.append(result)
    return found


def _answers(results: Iterable[Result]) -> dict[str, dict[str, Any]]:
    return {
        one.source.sha256: {
            "status": one.status,
            "probabilities": None if one.prediction is None else one.prediction.probabilities,
            "reason": None if one.reason is None else one.reason.code,
            "decode_ms": one.runtime.decode_ms,
            "preprocess_ms": one.runtime.preprocess_ms,
            "infer_ms": one.runtime.infer_ms,
        }
        for one in results
    }


def _once(samples: Sequence[Sample]) -> tuple[list[Sample], tuple[str, ...]]:
    """Each content once: a copy is no second case.

    Raises
    ------
    DataError
        The same content has two labels.
    """
    kept: dict[str, Sample] = {}
    for one in samples:
        first = kept.setdefault(one.sha256, one)
        if set(first.labels) != set(one.labels):
            raise DataError(
                f"the same image is labelled {'|'.join(first.labels)!r} and {'|'.join(one.labels)!r}: "
                f"{first.listed!r} and {one.listed!r}",
                next_step="decide which is right, and keep one of them",
            )
    copies = len(samples) - len(kept)
    remarks = (f"{copies} copies of images that are listed already are left out",) if copies else ()
    return list(kept.values()), remarks
