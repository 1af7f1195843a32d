"""Many figures over the same resamples of patients, so that differences between two models are paired.

A resample is a row of weights: how often each image was drawn. AUC and shares of weighted images are computed for a
block of resamples at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .metrics import Interval

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""Weights of shape (R, N) to a figure for each of R resamples, shape (R,); NaN where it does not exist."""

RESAMPLES = 1000
_BLOCK = 1 << 21  # weights held at once, so that a large data set does not fill the memory


def area(positive: ArrayLike, score: ArrayLike, rows: ArrayLike | None = None) -> Statistic:
    """AUC of weighted images (Mann-Whitney, ties one half); of the images `rows` alone, where given."""
    truth, values = np.asarray(positive, bool), np.asarray(score, np.float64)
    chosen = np.arange(truth.size) if rows is None else np.asarray(rows, np.int64)
    order = chosen[np.argsort(values[chosen], kind="stable")]
    if order.size == 0 or np.isnan(values[order]).any():
        return lambda weights: np.full(len(weights), np.nan)
    starts = np.r_[0, 1 + np.flatnonzero(np.diff(values[order]))]
    sick = truth[order]

    def of(weights: Floats) -> Floats:
        drawn = weights[:, order]
        up = np.add.reduceat(drawn * sick, starts, axis=1)
        down = np.add.reduceat(drawn * ~sick, starts, axis=1)
        below = np.cumsum(down, axis=1) - down / 2.0
        return _ratio((up * below).sum(axis=1), up.sum(axis=1) * down.sum(axis=1))

    return of


def share(hits: ArrayLike, among: ArrayLike) -> Statistic:
    """Weighted share of `hits` among the images `among`, both of shape (N,), bool: a sensitivity or specificity."""
    base = np.asarray(among, np.float64)
    found = base * np.asarray(hits, bool)
    return lambda weights: _ratio(weights @ found, weights @ base)


def mean_of(parts: Sequence[Statistic]) -> Statistic:
    """Mean of those figures that exist: the macro mean over classes."""

    def of(weights: Floats) -> Floats:
        values = np.stack([part(weights) for part in parts])
        known = ~np.isnan(values)
        return _ratio(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0).astype(np.float64))

    return of


def _ratio(above: Floats, below: Floats) -> Floats:
    filled = np.full(above.shape, np.nan)
    np.divide(above, below, out=filled, where=below > 0)
    return filled


@dataclass(frozen=True)
class Draws:
    """A figure on the data, and on each resample, shape (R,)."""

    value: float
    samples: Floats

    def minus(self, other: Draws) -> Draws:
        """The paired difference."""
        return Draws(self.value - other.value, self.samples - other.samples)

    def interval(self, level: float = 0.95) -> Interval:
        """Two-sided percentile interval (Efron 1979)."""
        half = 50 * (1 - level)
        return Interval(self.value, self._percentile(half), self._percentile(100 - half))

    def upper(self, level: float = 0.95) -> float:
        """Upper end of the one-sided interval."""
        return self._percentile(100 * level)

    def lower(self, level: float = 0.95) -> float:
        """Lower end of the one-sided interval."""
        return self._percentile(100 * (1 - level))

    def _percentile(self, percent: float) -> float:
        kept = self.samples[~np.isnan(self.samples)]
        # Where most resamples lack a class, those that have it are no picture of the whole.
        return float(np.percentile(kept, percent)) if 2 * kept.size > self.samples.size else float("nan")


def draw(
    statistics: Mapping[str, Statistic], groups: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Draws]:
    """Each statistic on all images and on resamples of whole groups (patients), the same ones for all.

    Parameters
    ----------
    statistics : mapping of name to statistic
    groups : sequence of str, length N
        Patient of each image: images of one patient are not independent.
    """
    count = len(groups)
    whole = {name: float(of(np.ones((1, count)))[0]) for name, of in statistics.items()}
    blocks: dict[str, list[Floats]] = {name: [] for name in statistics}
    for weights in _weights(groups, resamples, seed):
        for name, of in statistics.items():
            blocks[name].append(of(weights))
    return {name: Draws(whole[name], np.concatenate(blocks[name])) for name in statistics}


def _weights(groups: Sequence[str], resamples: int, seed: int) -> Iterator[Floats]:
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    number = int(group.max()) + 1
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // max(group.size, 1))
    for start in range(0, resamples, block):
        drawn = rng.integers(0, number, (min(block, resamples - start), number))
        counts = np.stack([np.bincount(row, minlength=number) for row in drawn])
        yield counts[:, group].astype(np.float64)
