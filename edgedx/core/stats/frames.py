"""Answers for the frames of one object to one answer for the object: which frame decides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

MOST_FRAMES = 300
"""An object with more is refused: ten seconds of cine at 30 frames a second."""
_BYTES = 128 << 20


def most_frames(canvas_bytes: int) -> int:
    """How many frames of one object are answered, by what one of them takes in memory as the model sees it."""
    return max(1, min(MOST_FRAMES, _BYTES // max(1, canvas_bytes)))


def deciding_frames(
    task: str, classes: Sequence[str], positive: str | None, probabilities: ArrayLike
) -> NDArray[np.intp]:
    """For each class, the frame whose probability is the object's.

    Of a binary task one frame decides: that with the highest probability of the positive class. Of several findings
    each has its own, because one may be seen where another is not. The first of equal ones.

    Parameters
    ----------
    positive : str, optional
        Of a binary task.
    probabilities : array of shape (frames, classes)
        Calibrated probabilities.

    Raises
    ------
    ValueError
        A task of neither kind: nothing says which of its classes a frame must be searched for.
    """
    values = np.asarray(probabilities, np.float64)
    if task == "multilabel":
        return np.asarray(values.argmax(axis=0))
    if positive is None:
        raise ValueError("frames are answered one by one only for binary and multilabel tasks")
    return np.full(len(classes), int(values[:, list(classes).index(positive)].argmax()), np.intp)


def shown_class(classes: Sequence[str], label: str, probabilities: ArrayLike) -> int:
    """The class to be shown: the one decided for; of several findings, or none, the most probable one."""
    values = np.asarray(probabilities, np.float64)
    decided = [index for index, name in enumerate(classes) if name in label.split("|")]
    return max(decided or range(len(classes)), key=lambda index: values[index])


def rule_in_words(task: str, positive: str | None, frame: int, frames: int) -> str:
    """How the object's answer came from those of its frames, and what that costs."""
    how = (
        f"Of {frames} frames each finding has the highest probability that any frame gives it; frame {frame} is shown."
        if task == "multilabel"
        else f"Of {frames} frames the one with the highest probability of {positive} decides: frame {frame}."
    )
    return f"{how} Thresholds were set on single images: with more frames, false alarms become more frequent."
