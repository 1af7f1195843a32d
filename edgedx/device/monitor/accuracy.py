"""How good is the model here? What can be said without labels, and what readers who had not seen its answer say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx.core.bundle.reference import Reference
from edgedx.core.bundle.streams import judged
from edgedx.core.stats.binomial import wilson
from edgedx.core.stats.drift import share_below
from edgedx.core.stats.metrics import Interval
from edgedx.core.stats.prevalence import corrected, expected_accuracy, predictive_values, prevalence_interval
from edgedx.device.clinic.answers import ANSWERS, Answer, Answers

from .sample import Sample

Floats = NDArray[np.float64]
_MOST_ECE = 0.10
"""Calibration error above which probabilities say nothing of accuracy."""
_LEAST_ANSWERED = 100
_SURE = 3.0
"""Standard errors by which readers must contradict the model's own test before that is an alarm."""


def prevalences(
    sample: Sample, reference: Reference, *, task: str, classes: Sequence[str], positive: str | None
) -> dict[str, dict[str, Any]]:
    """By class: share of patients here with its interval, where the model was built, and PPV and NPV at both.

    Of images that were answered. Empty where fewer than `_LEAST_ANSWERED` were.
    """
    told = _honest(sample, reference, task, classes)
    if len(told[0][0]) < _LEAST_ANSWERED:
        return {}
    watched = judged(task, classes, positive)
    if task == "multilabel":
        several = {name: prevalence_interval(_of_two(told, classes.index(name)))[1] for name in watched}
    else:
        every = prevalence_interval(told)
        several = {name: every[classes.index(name)] for name in watched}
    return {name: _worth(name, share, sample, reference) for name, share in several.items()}


def _honest(sample: Sample, reference: Reference, task: str, classes: Sequence[str]) -> list[tuple[Floats, Floats]]:
    """Corrected probabilities of the answered images, (n, K), with the shares of classes that they were corrected at.

    The first is the best; the others tell how uncertain it is.
    """
    chances = sample.probabilities(classes)
    chances = chances[~np.isnan(chances).any(axis=1)]
    built = np.array([reference.built[name] for name in classes])
    if reference.correction is None or not len(chances):
        return [(chances, built)]
    return [
        (
            corrected(chances, [by.scale[name] for name in classes], [by.bias[name] for name in classes], task),
            np.array([by.built[name] for name in classes]),
        )
        for by in (reference.correction, *reference.redrawn)
    ]


def _of_two(told: Sequence[tuple[Floats, Floats]], place: int) -> list[tuple[Floats, Floats]]:
    """A finding that is there or not, as two classes."""
    return [
        (np.stack([1 - chances[:, place], chances[:, place]], axis=1), np.array([1 - built[place], built[place]]))
        for chances, built in told
    ]


def _worth(name: str, share: Interval, sample: Sample, reference: Reference) -> dict[str, Any]:
    built = reference.built[name]
    told: dict[str, Any] = {**share.to_dict(), "built": built, "images": len(sample)}
    judged_there = at_threshold(reference, name, sample.thresholds.get(name))
    if judged_there is not None:
        sensitivity, specificity = judged_there
        for title, at in (("here", share.value), ("here_low", share.low), ("here_high", share.high), ("built", built)):
            ppv, npv = predictive_values(sensitivity, specificity, at)
            told |= {f"ppv_{title}": _null(ppv), f"npv_{title}": _null(npv)}
        told |= {"sensitivity": sensitivity, "specificity": specificity, "threshold": sample.thresholds[name]}
    return told


def at_threshold(reference: Reference, name: str, threshold: float | None) -> tuple[float, float] | None:
    """Sensitivity and specificity where the model was judged, at any threshold; None where that cannot be told."""
    given = reference.given.get(name)
    if threshold is None or given is None or not given.present or not given.absent:
        return None
    missed = float(share_below(given.present, [threshold], inclusive=False)[0])
    right = float(share_below(given.absent, [threshold], inclusive=False)[0])
    return 1.0 - missed, right


def without_labels(
    sample: Sample, reference: Reference, shares: dict[str, dict[str, Any]], *, task: str, classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """By class with a threshold: sensitivity and specificity as the model's own probabilities would have them.

    Only asked for while no alarm stands. Probabilities are corrected, and set to the share of the class that is found
    here; empty where the model was far from calibrated even where it was made.
    """
    if reference.ece is not None and reference.ece > _MOST_ECE:
        return {}
    found = {}
    honest, raw = _honest(sample, reference, task, classes)[0][0], sample.probabilities(classes)
    raw = raw[~np.isnan(raw).any(axis=1)]
    for name, told in shares.items():
        threshold = sample.thresholds.get(name)
        if threshold is None:
            continue
        place = classes.index(name)
        built, here = (min(max(told[key], 1e-6), 1 - 1e-6) for key in ("built", "value"))
        before = honest[:, place]
        odds = before / np.maximum(1 - before, 1e-12) * (here / (1 - here)) / (built / (1 - built))
        expected = expected_accuracy(odds / (1 + odds), raw[:, place] >= threshold)
        found[name] = {"sensitivity": expected.sensitivity.to_dict(), "specificity": expected.specificity.to_dict()}
    return found


def blind_reads(out: Path, bundle: str, watched: Sequence[str]) -> dict[str, dict[str, Any]]:
    """By class: sensitivity and specificity against readers who had not seen the model's answer, with Wilson intervals.

    The images were drawn by their hash, so the figures are unbiased for this site; the reader's answer is taken for
    the truth. The first answer of each image counts: what was changed later was changed after a look.
    """
    path = out / ANSWERS
    if not path.is_file():
        return {}
    answers = Answers(path, read_only=True)
    try:
        first: dict[str, Answer] = {}
        for one in answers.blind():
            if one.bundle == bundle:
                first.setdefault(one.key, one)
    finally:
        answers.close()
    told = [one for one in first.values() if one.label is not None and one.shown is not None]
    return {name: _against(told, name) for name in watched} if told else {}


def _against(answers: Iterable[Answer], name: str) -> dict[str, Any]:
    pairs = [(name in str(one.label).split("|"), name in str(one.shown).split("|")) for one in answers]
    present, absent = [called for there, called in pairs if there], [called for there, called in pairs if not there]
    found: dict[str, Any] = {"images": len(pairs)}
    for title, hits, count in (
        ("sensitivity", sum(present), len(present)),
        ("specificity", len(absent) - sum(absent), len(absent)),
    ):
        share = wilson(hits / max(1, count), count)
        found[title] = {**share.to_dict(), "hits": hits, "of": count}
    return found


def contradicted(blind: dict[str, dict[str, Any]], reference: Reference, sample: Sample) -> list[str]:
    """Classes in which readers find the model worse than it was where it was made, beyond chance."""
    worse = []
    for name, read in blind.items():
        there = at_threshold(reference, name, sample.thresholds.get(name))
        given = reference.given.get(name)
        if there is None or given is None:
            continue
        for title, value, images in (
            ("sensitivity", there[0], given.images_present),
            ("specificity", there[1], given.images_absent),
        ):
            here = wilson(read[title]["hits"] / max(1, read[title]["of"]), read[title]["of"], z=_SURE)
            if here.high < wilson(value, images, z=_SURE).low:
                worse.append(name)
    return sorted(set(worse))


def _null(value: float) -> float | None:
    return None if np.isnan(value) else value
