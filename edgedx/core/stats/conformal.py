"""Prediction sets that hold the true class as often as promised: split-conformal, calibrated class by class.

Held-out images of each class set how improbable its own images may be called; a new image's set holds every class that
is not more improbable than that. Class by class ("Mondrian", Vovk et al. 2005), because a promise that holds only on
average breaks for the rare class, which is the finding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field

ALPHA = 0.1
"""Share of images whose true class may be missing from the set."""


class SetThresholds(BaseModel):
    """Calibrated for one variant, on its own answers to held-out images."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    alpha: float = Field(gt=0, lt=1, description="Share of images of each class that the set may miss.")
    least: dict[str, float] = Field(description="By class: it is in the set when its probability reaches this.")
    cases: dict[str, int] = Field(description="By class: held-out images that set it.")


def cases_needed(alpha: float) -> int:
    """Calibration images of a class below which no threshold can keep the promise: 9 at 0.1."""
    return math.ceil(1.0 / alpha - 1e-9) - 1


def least_probability(probabilities: ArrayLike, alpha: float = ALPHA) -> float:
    """The probability that a new image's true class reaches with probability 1 - alpha at least.

    Parameters
    ----------
    probabilities : array of shape (N,)
        Probability that calibration images of one class got for that class. With nonconformity 1 - p this is one minus
        its empirical quantile of rank ceil((N + 1)(1 - alpha)).

    Raises
    ------
    ValueError
        Fewer than `cases_needed`.
    """
    ordered = np.sort(np.asarray(probabilities, np.float64))
    place = math.floor((ordered.size + 1) * alpha + 1e-9)
    if place < 1:
        raise ValueError(f"{ordered.size} cases; {cases_needed(alpha)} are needed for alpha {alpha:g}")
    return float(ordered[place - 1])


def calibrate(
    classes: Sequence[str], labels: ArrayLike, probabilities: ArrayLike, alpha: float = ALPHA
) -> SetThresholds:
    """Thresholds of all classes.

    Parameters
    ----------
    labels : array of shape (N,) of class indices, or (N, K) of 0/1/NaN for multilabel tasks
        For these a set holds every finding that cannot be excluded: thresholds come from images that have it.
    probabilities : array of shape (N, K)
        Calibrated probabilities.

    Raises
    ------
    ValueError
        A class has fewer cases than `cases_needed`; names it.
    """
    values = np.asarray(probabilities, np.float64)
    least, cases = {}, {}
    for index, name in enumerate(classes):
        own = values[_has(labels, index), index]
        try:
            least[name], cases[name] = least_probability(own, alpha), int(own.size)
        except ValueError as error:
            raise ValueError(f"class {name}: {error}") from None
    return SetThresholds(alpha=alpha, least=least, cases=cases)


def coverage(
    thresholds: SetThresholds, classes: Sequence[str], labels: ArrayLike, probabilities: ArrayLike
) -> dict[str, float]:
    """Share of each class's images whose set holds it; NaN for a class without images.

    Parameters
    ----------
    classes : sequence of str
        In the order of the columns of `probabilities`, which a manifest's thresholds need not have.
    labels, probabilities : array
        As `calibrate` takes them.
    """
    values = np.asarray(probabilities, np.float64)
    return {
        name: float(np.mean(own >= thresholds.least[name]))
        if (own := values[_has(labels, index), index]).size
        else float("nan")
        for index, name in enumerate(classes)
    }


def members(thresholds: SetThresholds, probabilities: Mapping[str, float]) -> list[str]:
    """The prediction set of one image: names, in the order of `probabilities`."""
    return [name for name, chance in probabilities.items() if chance >= thresholds.least[name]]


def in_words(names: Sequence[str], alpha: float, *, multilabel: bool = False) -> str:
    """What a set says, for people."""
    sure = f"{100 * (1 - alpha):g} %"
    if multilabel:
        return f"cannot be excluded at {sure}: {', '.join(names)}" if names else f"every finding is excluded at {sure}"
    if not names:
        return f"no class at {sure}: none is as probable as it is for images that have it; a person should read it"
    if len(names) == 1:
        return f"only {names[0]} fits at {sure}"
    return f"undecided at {sure} between {', '.join(names)}: the model cannot tell which; a person should read it"


def _has(labels: ArrayLike, index: int) -> NDArray[np.bool_]:
    truth = np.asarray(labels)
    return np.asarray(truth == index if truth.ndim == 1 else truth[:, index] == 1)
