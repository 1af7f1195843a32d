"""Figures of weighted images, for many resamples at once: AUC, average precision, shares, calibration error.

A resample is a row of weights: how often each image was drawn. A figure of the images as they are is that of weights of
1, so each figure is computed in one place.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""Weights of shape (R, N) to a figure for each of R resamples, shape (R,); NaN where it does not exist."""

BINS = 15
"""Bins of the calibration error."""
_THREADS = len(os.sched_getaffinity(0))
_CHUNK = 1 << 16  # weights worked on at once: what stays in a processor's cache is several times faster


def of_all(statistic: Statistic, images: int) -> float:
    """The figure of all images, each counted once."""
    return float(statistic(np.ones((1, images)))[0])


class Sums:
    """Weighted sums over images, all by one matrix product, kept for the weights that were seen last."""

    def __init__(self) -> None:
        self._columns: list[Floats] = []
        self._matrix: Floats | None = None
        self._seen: Floats | None = None
        self._sums: Floats = np.zeros((0, 0))

    def add(self, column: NDArray[Any]) -> Statistic:
        """The weighted sum of `column`, shape (N,), as a statistic."""
        index = len(self._columns)
        self._columns.append(np.asarray(column, np.float64))

        def weighted(weights: Floats) -> Floats:
            if self._seen is not weights:
                if self._matrix is None:
                    self._matrix = np.stack(self._columns, axis=1)
                self._sums, self._seen = weights @ self._matrix, weights
            return np.asarray(self._sums[:, index])

        return weighted


def ratio(above: Statistic, below: Statistic, empty: float = np.nan) -> Statistic:
    """One figure over another; `empty` where the lower one is 0."""

    def quotient(weights: Floats) -> Floats:
        divisor = below(weights)
        filled = np.full(divisor.shape, empty)
        np.divide(above(weights), divisor, out=filled, where=divisor > 0)
        return filled

    return quotient


def share(hits: ArrayLike, among: ArrayLike, sums: Sums | None = None) -> Statistic:
    """Weighted share of `hits` among the images `among`, both of shape (N,), bool: a sensitivity or specificity."""
    base, sums = np.asarray(among, bool), sums or Sums()
    return ratio(sums.add(base & np.asarray(hits, bool)), sums.add(base))


def mean_of_values(values: ArrayLike, sums: Sums | None = None) -> Statistic:
    """Weighted mean of `values`, shape (N,); those that are not numbers are left out."""
    numbers, sums = np.asarray(values, np.float64), sums or Sums()
    known = np.isfinite(numbers)
    return ratio(sums.add(np.where(known, numbers, 0.0)), sums.add(known))


def mean_of(parts: Sequence[Statistic]) -> Statistic:
    """Mean of those figures that exist: the macro mean over classes."""

    def mean(weights: Floats) -> Floats:
        values = np.stack([part(weights) for part in parts])
        known = ~np.isnan(values)
        filled = np.full(known.shape[1:], np.nan)
        np.divide(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0), out=filled, where=known.any(axis=0))
        return filled

    return mean


def quadratic_kappa(truth: ArrayLike, called: ArrayLike, sums: Sums | None = None) -> Statistic:
    """Agreement of grades beyond chance, distances squared (Cohen 1968): 1 is perfect, 0 is chance.

    Parameters
    ----------
    truth, called : array of shape (N,)
        Grades as numbers. Squares make the table of grades needless: what is expected by chance follows from means.
    """
    one, two, sums = np.asarray(truth, np.float64), np.asarray(called, np.float64), sums or Sums()
    every, apart = sums.add(np.ones(one.shape)), sums.add((one - two) ** 2)
    first, second, squares = sums.add(one), sums.add(two), sums.add(one**2 + two**2)

    def kappa(weights: Floats) -> Floats:
        by_chance = squares(weights) - 2 * first(weights) * second(weights) / every(weights)
        share = np.full(by_chance.shape, np.nan)
        # All of one grade: no agreement beyond chance can be told. Sums of floats leave a grain.
        np.divide(apart(weights), by_chance, out=share, where=by_chance > 1e-9 * every(weights))
        return np.asarray(1.0 - share)

    return kappa


def calibration_error(
    correct: ArrayLike,
    confidence: ArrayLike,
    among: ArrayLike | None = None,
    *,
    bins: int = BINS,
    sums: Sums | None = None,
) -> Statistic:
    """Calibration error with bins of equal width (ECE, Guo et al. 2017), of the images `among`."""
    right, sure = np.asarray(correct, np.float64), np.asarray(confidence, np.float64)
    base = np.ones(sure.shape, bool) if among is None else np.asarray(among, bool)
    sums = sums or Sums()
    which = np.clip((sure * bins).astype(int), 0, bins - 1)
    gaps = [sums.add(np.where(base & (which == bin_), right - sure, 0.0)) for bin_ in sorted(set(which[base].tolist()))]
    return ratio(lambda weights: np.sum([np.abs(gap(weights)) for gap in gaps], axis=0), sums.add(base))


class Ranked:
    """Images in falling order of a score; its figures take weights of shape (R, N) as `resample.draw` gives them.

    Parameters
    ----------
    positive : array of shape (N,), bool
    score : array of shape (N,)
        Higher means more positive. Ties are one step of the curve.
    rows : array of int, optional
        The images that count; the others are left out (unknown labels, other subgroups).
    specificities : sequence of float
        Those that `sensitivity_at` can be asked for.
    """

    def __init__(
        self,
        positive: ArrayLike,
        score: ArrayLike,
        rows: ArrayLike | None = None,
        specificities: Sequence[float] = (),
    ) -> None:
        truth, values = np.asarray(positive, bool), np.asarray(score, np.float64)
        chosen = np.arange(truth.size) if rows is None else np.asarray(rows, np.int64)
        self._order: NDArray[np.int64] = chosen[np.argsort(-values[chosen], kind="stable")]
        ordered, sick = values[self._order], truth[self._order]
        self._broken = bool(ordered.size == 0 or np.isnan(ordered).any())
        # A curve rises only where a positive image is: sums are taken over those steps alone, ties being one step.
        step = np.r_[0, np.cumsum(np.diff(ordered) != 0)] if ordered.size else np.zeros(0, np.int64)
        self._sick = np.flatnonzero(sick)
        rising = np.unique(step[sick])
        self._last: NDArray[np.int64] = np.flatnonzero(np.diff(step[sick], append=-1) != 0)
        """Of each rising step, its last positive image, as an index among the positive ones."""
        self._begin: NDArray[np.int64] = np.searchsorted(step, rising, side="left")
        self._end: NDArray[np.int64] = np.searchsorted(step, rising, side="right") - 1
        self._levels = list(specificities)
        # Several figures are asked of the same weights: they are computed together, once.
        self._seen: Floats | None = None
        self._computed: Floats = np.zeros((0, 0))

    def auc(self, weights: Floats) -> Floats:
        """Area under the ROC curve (Mann-Whitney, ties one half)."""
        return np.asarray(self._figures(weights)[0])

    def average_precision(self, weights: Floats) -> Floats:
        """Area under the precision-recall curve as average precision: steps, no interpolation."""
        return np.asarray(self._figures(weights)[1])

    def sensitivity_at(self, specificity: float) -> Statistic:
        """Greatest sensitivity of a threshold whose specificity is at least `specificity`, chosen on these images."""
        row = 2 + self._levels.index(specificity)
        return lambda weights: np.asarray(self._figures(weights)[row])

    def _figures(self, weights: Floats) -> Floats:
        """A row for each figure, shape (2 + levels, R)."""
        if self._seen is not weights:
            figures = np.full((2 + len(self._levels), len(weights)), np.nan)
            step = max(1, _CHUNK // max(self._order.size, 1))
            starts = range(0, 0 if self._broken else len(weights), step)

            def work(chunks: range) -> None:
                for start in chunks:
                    self._chunk(weights[start : start + step], figures[:, start : start + step])

            if (threads := min(_THREADS, len(starts))) > 1:
                with ThreadPoolExecutor(threads) as pool:  # numpy lets go of the interpreter in each step
                    list(pool.map(work, [starts[first::threads] for first in range(threads)]))
            else:
                work(starts)
            self._computed, self._seen = figures, weights
        return self._computed

    def _chunk(self, weights: Floats, figures: Floats) -> None:
        drawn = weights[:, self._order]
        every = np.cumsum(drawn, axis=1)
        hits = np.cumsum(drawn[:, self._sick], axis=1)[:, self._last]
        steps = np.diff(hits, axis=1, prepend=0.0)
        above, total = every[:, self._end], every[:, -1]
        alarms = above - hits
        sick = hits[:, -1] if hits.shape[1] else np.zeros(len(weights))
        well = total - sick
        # A case that is found scores above all of the well but those already alarmed; ties count one half.
        before = every[:, self._begin] - drawn[:, self._begin] - (hits - steps)
        beaten = well[:, None] - (alarms + before) / 2.0
        _divide((steps * beaten).sum(axis=1), sick * well, figures[0])
        precision = np.zeros_like(hits)
        np.divide(hits, above, out=precision, where=above > 0)
        _divide((steps * precision).sum(axis=1), sick, figures[1])
        for row, level in enumerate(self._levels, start=2):
            allowed = alarms <= (1.0 - level) * well[:, None] + 1e-9
            _divide((steps * allowed).sum(axis=1), np.where(well > 0, sick, 0.0), figures[row])


def _divide(above: Floats, below: Floats, out: Floats) -> None:
    """Quotients into `out`, which holds NaN, where there is something to divide by."""
    np.divide(above, below, out=out, where=below > 0)
