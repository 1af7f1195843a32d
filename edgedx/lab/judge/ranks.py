"""Figures of ROC and precision-recall curves over many resamples at once: areas, and sensitivity at a specificity."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgedx.core.stats.resample import Floats, Statistic

_THREADS = len(os.sched_getaffinity(0))
_CHUNK = 1 << 16  # weights worked on at once: what stays in a processor's cache is several times faster


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
        """Of each rising step, its last positive image, as a place among the positive ones."""
        self._begin: NDArray[np.int64] = np.searchsorted(step, rising, side="left")
        self._end: NDArray[np.int64] = np.searchsorted(step, rising, side="right") - 1
        self._levels = list(specificities)
        # Several figures are asked of the same weights: they are computed together, once.
        self._seen: Floats | None = None
        self._found: Floats = np.zeros((0, 0))

    def auc(self, weights: Floats) -> Floats:
        """Area under the ROC curve (Mann-Whitney, ties one half)."""
        return np.asarray(self._figures(weights)[0])

    def average_precision(self, weights: Floats) -> Floats:
        """Area under the precision-recall curve as average precision: steps, no interpolation."""
        return np.asarray(self._figures(weights)[1])

    def sensitivity_at(self, specificity: float) -> Statistic:
        """Greatest sensitivity of a threshold whose specificity is at least `specificity`, chosen on these images."""
        place = 2 + self._levels.index(specificity)
        return lambda weights: np.asarray(self._figures(weights)[place])

    def _figures(self, weights: Floats) -> Floats:
        """A row for each figure, shape (2 + levels, R)."""
        if self._seen is not weights:
            found = np.full((2 + len(self._levels), len(weights)), np.nan)
            step = max(1, _CHUNK // max(self._order.size, 1))
            starts = range(0, 0 if self._broken else len(weights), step)

            def work(own: range) -> None:
                for start in own:
                    self._chunk(weights[start : start + step], found[:, start : start + step])

            threads = min(_THREADS, len(starts)) or 1
            with ThreadPoolExecutor(threads) as pool:  # numpy lets go of the interpreter in each step
                list(pool.map(work, [starts[place::threads] for place in range(threads)]))
            self._found, self._seen = found, weights
        return self._found

    def _chunk(self, weights: Floats, found: Floats) -> None:
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
        _divide((steps * beaten).sum(axis=1), sick * well, found[0])
        precision = np.zeros_like(hits)
        np.divide(hits, above, out=precision, where=above > 0)
        _divide((steps * precision).sum(axis=1), sick, found[1])
        for place, level in enumerate(self._levels, start=2):
            allowed = alarms <= (1.0 - level) * well[:, None] + 1e-9
            _divide((steps * allowed).sum(axis=1), np.where(well > 0, sick, 0.0), found[place])


def _divide(above: Floats, below: Floats, out: Floats) -> None:
    """Quotients into `out`, which holds NaN, where there is something to divide by."""
    np.divide(above, below, out=out, where=below > 0)
