"""Operating points: what their names mean, the thresholds they stand for, and the decision at a threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from edgedx.core.strict import Strict

from .metrics import threshold_at_sensitivity, threshold_at_specificity, youden_threshold

LOCAL = "local"
"""Name of the point that a site has chosen (`core.bundle.local_point`); no bundle has one of this name."""
Origin = Literal["bundle", "local"]


class OperatingPoint(Strict):
    """Decision thresholds chosen on the validation split, on calibrated probabilities."""

    name: str = Field(description="youden, sensitivity-0.95 ...")
    threshold: dict[str, float] = Field(
        description="By class: positive when the probability reaches it; empty for argmax."
    )
    sensitivity: float | None = Field(None, description="On the validation split, where the point is of one class.")
    specificity: float | None = Field(None, description="On the validation split, where the point is of one class.")


def origin_of(point: OperatingPoint) -> Origin:
    """Who has chosen it: the makers of the bundle, or the site."""
    return "local" if point.name == LOCAL else "bundle"


Kind = Literal["youden", "argmax", "sensitivity", "specificity"]


def parse_point(name: str) -> tuple[Kind, float]:
    """``sensitivity-0.95`` to (sensitivity, 0.95); the number of youden and argmax is 0.

    Raises
    ------
    ValueError
        No such point.
    """
    if name == "youden":
        return "youden", 0.0
    if name == "argmax":
        return "argmax", 0.0
    kind, _, text = name.partition("-")
    try:
        share = float(text)
    except ValueError:
        share = float("nan")
    if kind in ("sensitivity", "specificity") and 0 < share <= 1:
        return ("sensitivity" if kind == "sensitivity" else "specificity"), share
    raise ValueError(
        f"{name!r} is no operating point; they are youden, sensitivity-X and specificity-X with X above 0 and up to 1 "
        "(sensitivity-0.95), and argmax"
    )


def threshold_of(name: str, positive: ArrayLike, score: ArrayLike) -> float:
    """Threshold of a point for one class, from labels and scores, both of shape (N,)."""
    kind, share = parse_point(name)
    if kind == "youden":
        return youden_threshold(positive, score)
    if kind == "sensitivity":
        return threshold_at_sensitivity(positive, score, share)
    if kind == "specificity":
        return threshold_at_specificity(positive, score, share)
    return 0.5


def label_at(
    task: str,
    classes: Sequence[str],
    positive: str | None,
    thresholds: Mapping[str, float],
    probabilities: ArrayLike,
) -> str:
    """The decision on one image.

    Parameters
    ----------
    thresholds : mapping of class to threshold
        Of the operating point; a class is called when its probability reaches it. Empty: the likeliest class.
    probabilities : array of shape (classes,)
        Calibrated probabilities.

    Returns
    -------
    str
        A class; for multilabel tasks the findings joined by ``|``, or ``none``.
    """
    values = np.asarray(probabilities, np.float64)
    if task == "multilabel":
        found = [name for name, chance in zip(classes, values, strict=True) if chance >= thresholds.get(name, 0.5)]
        return "|".join(found) if found else "none"
    if positive is not None and positive in thresholds:
        place = list(classes).index(positive)
        if values[place] >= thresholds[positive]:
            return positive
        return classes[max((index for index in range(len(classes)) if index != place), key=lambda index: values[index])]
    return classes[int(values.argmax())]
