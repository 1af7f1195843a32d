"""Has a stream of numbers or of categories changed? Two-sample tests whose noise is known at the same sizes.

The reference of a number is kept as a grid of quantiles, a few hundred bytes however many images it is of. numpy
alone: a clinic's device has no scipy; the tests compare with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
RESAMPLES = 200
FLOOR = 0.99
"""Quantile of what pure sampling does at the same sizes: the noise floor."""
_RARE = 5.0
"""Categories of which fewer are expected are told together (Cochran 1954)."""


@dataclass(frozen=True)
class Shift:
    """How far a window is from its reference.

    Attributes
    ----------
    effect : float
        0 to 1: the greatest distance of the distribution functions, or Cramer's V.
    floor : float
        What `effect` stays below in `FLOOR` of windows of the same size without any change.
    p : float
        Of the two-sample test, before any correction.
    images, reference : int
        Sizes of both samples.
    """

    effect: float
    floor: float
    p: float
    images: int
    reference: int


def quantile_grid(values: ArrayLike, points: int) -> Floats:
    """Quantiles at `points` equal steps of probability, shape (points,): a distribution to keep."""
    return np.asarray(np.quantile(np.asarray(values, np.float64), np.linspace(0.0, 1.0, points)), np.float64)


def share_below(grid: ArrayLike, values: ArrayLike, *, inclusive: bool = True) -> Floats:
    """Distribution function of a grid at `values`, shape (N,); P(X < value) where not `inclusive`.

    Equal quantiles are a value that many images share; between others it is linear.
    """
    steps, asked = np.asarray(grid, np.float64), np.asarray(values, np.float64)
    last = len(steps) - 1
    place = np.searchsorted(steps, asked, side="right" if inclusive else "left")
    below = np.clip(place - 1, 0, last - 1)
    width = steps[below + 1] - steps[below]
    inside = np.where(width > 0, (asked - steps[below]) / np.where(width > 0, width, 1.0), float(inclusive))
    share = (below + np.clip(inside, 0.0, 1.0)) / last
    outside_low = asked < steps[0] if inclusive else asked <= steps[0]
    return np.asarray(np.where(outside_low, 0.0, np.where(place > last, 1.0, share)))


def distance(grid: ArrayLike, values: ArrayLike) -> float:
    """Kolmogorov and Smirnov's D between a window, shape (N,), and a reference's grid."""
    steps, ordered = np.asarray(grid, np.float64), np.sort(np.asarray(values, np.float64))
    count, ranks = len(ordered), np.arange(len(ordered) + 1)
    if count == 0:
        return 0.0
    if (ordered[1:] == ordered[:-1]).any():
        upto, before = (np.searchsorted(ordered, ordered, side=side) / count for side in ("right", "left"))
    else:
        upto, before = ranks[1:] / count, ranks[:-1] / count
    above = np.abs(upto - share_below(steps, ordered)).max()
    below = np.abs(before - share_below(steps, ordered, inclusive=False)).max()
    return float(max(above, below))


def kolmogorov_p(statistic: float, images: int, reference: int) -> float:
    """P-value of D for two samples (Kolmogorov's limit with Stephens' correction for small ones, 1970)."""
    root = math.sqrt(images * reference / (images + reference))
    scaled = (root + 0.12 + 0.11 / root) * statistic
    if scaled < 0.2:
        return 1.0
    terms = (2 * (-1) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 101))
    return float(min(1.0, max(0.0, sum(terms))))


def number_shift(
    grid: ArrayLike, reference: int, values: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> Shift:
    """A window of numbers, shape (N,), against a reference that is worth `reference` images."""
    window = np.asarray(values, np.float64)
    found = distance(grid, window)
    floor = number_floor(grid, reference, len(window), resamples, seed)
    return Shift(found, floor, kolmogorov_p(found, len(window), reference), len(window), reference)


def number_floor(grid: ArrayLike, reference: int, images: int, resamples: int = RESAMPLES, seed: int = 0) -> float:
    """D that pure sampling reaches: both samples drawn anew from the reference at the same sizes.

    The reference is a sample itself, and a fixed threshold on D, or a p-value without its size, takes that for drift
    (Evidently, issue 50).
    """
    rng, steps = np.random.default_rng(seed), np.asarray(grid, np.float64)
    places = np.linspace(0.0, 1.0, len(steps))
    drawn = []
    for _ in range(resamples):
        one = np.sort(np.interp(rng.random(images), places, steps))
        other = np.sort(np.interp(rng.random(reference), places, steps))
        both = np.concatenate((one, other))
        apart = np.searchsorted(one, both, "right") / images - np.searchsorted(other, both, "right") / reference
        drawn.append(float(np.abs(apart).max()))
    return float(np.quantile(drawn, FLOOR)) if drawn else 0.0


def category_shift(
    reference: Mapping[str, int], window: Mapping[str, int], *, resamples: int = RESAMPLES, seed: int = 0
) -> Shift | None:
    """Counts of a window against counts of a reference: chi-square of the two rows, and Cramer's V.

    Returns
    -------
    Shift or None
        None where all is one category in both.
    """
    table = _together(reference, window)
    if table.shape[1] < 2:
        return None
    images, known = int(table[1].sum()), int(table[0].sum())
    found, freedom = _chi_square(table), table.shape[1] - 1
    rng, pooled = np.random.default_rng(seed), table.sum(axis=0) / table.sum()
    drawn = [
        _chi_square(np.stack([rng.multinomial(known, pooled), rng.multinomial(images, pooled)]).astype(np.float64))
        for _ in range(resamples)
    ]
    whole = known + images
    floor = math.sqrt(float(np.quantile(drawn, FLOOR)) / whole) if drawn else 0.0
    return Shift(math.sqrt(found / whole), floor, chi_square_p(found, freedom), images, known)


def _together(reference: Mapping[str, int], window: Mapping[str, int]) -> Floats:
    """Both rows of counts, shape (2, C), with the rare categories as one."""
    names = sorted(set(reference) | set(window))
    table = np.array([[row.get(name, 0) for name in names] for row in (reference, window)], np.float64)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    if not rows.all():
        return table[:, :0]
    rare = columns * rows.min() / rows.sum() < _RARE
    kept = table[:, ~rare]
    return np.column_stack([kept, table[:, rare].sum(axis=1)]) if rare.any() else kept


def _chi_square(table: Floats) -> float:
    columns = table.sum(axis=0)
    seen = columns > 0
    expected = np.outer(table.sum(axis=1), columns[seen]) / table.sum()
    return float(((table[:, seen] - expected) ** 2 / expected).sum())


def chi_square_p(statistic: float, freedom: int) -> float:
    """Upper tail of chi-square: the regularised incomplete gamma function (Press et al. 2007, 6.2)."""
    shape, x = freedom / 2.0, statistic / 2.0
    if x <= 0:
        return 1.0
    front = math.exp(-x + shape * math.log(x) - math.lgamma(shape))
    if x < shape + 1:  # series
        term = total = 1.0 / shape
        for step in range(1, 1000):
            term *= x / (shape + step)
            total += term
            if term < total * 1e-15:
                break
        return float(min(1.0, max(0.0, 1.0 - total * front)))
    b, c, d = x + 1 - shape, 1e300, 1.0 / (x + 1 - shape)
    fraction = d
    for step in range(1, 1000):  # continued fraction
        factor = -step * (step - shape)
        b += 2.0
        d = 1.0 / (factor * d + b)
        c = b + factor / c
        fraction *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return float(min(1.0, max(0.0, front * fraction)))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number (Holm 1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected, greatest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        greatest = max(greatest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = greatest
    return corrected


def turning_point(values: ArrayLike) -> int | None:
    """Index at which a sequence, shape (N,), changed most; None where it did not (Pettitt 1979, p < 0.01)."""
    series = np.asarray(values, np.float64)
    count = len(series)
    if count < 20:
        return None
    # Mean ranks, so that equal values do not make a trend.
    ordered = np.sort(series)
    ranks = (np.searchsorted(ordered, series, "left") + np.searchsorted(ordered, series, "right") + 1) / 2.0
    walk = np.abs(2.0 * np.cumsum(ranks) - np.arange(1, count + 1) * (count + 1))
    place = int(walk.argmax())
    chance = 2.0 * math.exp(-6.0 * float(walk[place]) ** 2 / (count**3 + count**2))
    return place + 1 if chance < 0.01 and place + 1 < count else None
