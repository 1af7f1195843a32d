"""Every frame of an object to one answer for the object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgedx.core.preprocess import Canvas
from edgedx.core.result import FrameResult, Unlikeness
from edgedx.core.stats.frames import deciding_frames, rule_in_words, shown_class
from edgedx.core.stats.points import label_at

from .predict import ImageAnswer, Predictor, prediction_at

_TOGETHER = 8
"""Frames that are asked at once: as many as the scanner asks about single images."""


@dataclass(frozen=True)
class ObjectAnswer:
    """What a model says of an object, from its answers for the frames.

    Attributes
    ----------
    answer : ImageAnswer
        Of the object. Logits and evidence are of the frame that decides; unlikeness is the most unlike frame's; times
        are of all frames; there is no prediction set, because what it promises is of one image.
    place : int
        Index of the frame that decides; of several findings, of the one that is shown.
    strangest : int
        Index of the most unlike frame.
    by_finding : dict of str to int, optional
        Of several findings: the index of the frame in which each is most probable.
    rule : str
        The same in words.
    frames : list of FrameResult
        Every frame, in order.
    """

    answer: ImageAnswer
    place: int
    strangest: int
    by_finding: dict[str, int] | None
    rule: str
    frames: list[FrameResult]


def answer_frames(predictor: Predictor, canvases: Sequence[Canvas], facts: Sequence[Mapping[str, str]]) -> ObjectAnswer:
    """Ask a model about every frame of an object.

    Parameters
    ----------
    canvases, facts
        Of each frame, in order.

    Raises
    ------
    FloatingPointError
        The answer for one frame is not a number; the message names it where that can be told.
    """
    answers: list[ImageAnswer] = []
    for start in range(0, len(canvases), _TOGETHER):
        end = start + _TOGETHER
        try:
            answers += predictor.predict_canvases(np.stack(canvases[start:end]), facts[start:end])
        except FloatingPointError as error:
            raise FloatingPointError(f"frames {start + 1} to {min(end, len(canvases))}: {error}") from error
    return combine(predictor, answers)


def combine(predictor: Predictor, answers: Sequence[ImageAnswer]) -> ObjectAnswer:
    """One answer from those of all frames (see `core.stats.frames.deciding_frames`)."""
    manifest, point = predictor.manifest, predictor.point
    values = np.array([[one.prediction.probabilities[name] for name in manifest.classes] for one in answers])
    by_class = deciding_frames(manifest.task, manifest.classes, manifest.positive, values)
    chosen = values[by_class, np.arange(len(manifest.classes))]
    label = label_at(manifest.task, manifest.classes, manifest.positive, point.threshold, chosen)
    place = int(by_class[shown_class(manifest.classes, label, chosen)])
    probabilities = dict(zip(manifest.classes, map(float, chosen), strict=True))
    strangest = max(range(len(answers)), key=lambda index: _beyond(answers[index].unlikeness))
    whole = replace(
        answers[place],
        prediction=prediction_at(point, label, probabilities),
        preprocess_ms=sum(one.preprocess_ms for one in answers),
        infer_ms=sum(one.infer_ms for one in answers),
        prediction_set=None,
        unlikeness=answers[strangest].unlikeness,
    )
    several = manifest.task == "multilabel"
    return ObjectAnswer(
        whole,
        place,
        strangest,
        dict(zip(manifest.classes, by_class.tolist(), strict=True)) if several else None,
        rule_in_words(manifest.task, manifest.positive, place + 1, len(answers)),
        [_frame(number, one) for number, one in enumerate(answers, 1)],
    )


def _frame(number: int, answer: ImageAnswer) -> FrameResult:
    return FrameResult(
        frame=number,
        label=answer.prediction.label,
        probabilities=answer.prediction.probabilities,
        prediction_set=None if answer.prediction_set is None else answer.prediction_set.classes,
        unlikeness=answer.unlikeness,
    )


def _beyond(found: Unlikeness | None) -> float:
    """How far beyond the limit that decides."""
    if found is None:
        return 0.0
    if found.distance is None or found.distance_limit is None:
        return found.energy - found.energy_limit
    return found.distance - found.distance_limit
