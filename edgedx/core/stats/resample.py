"""Many figures over the same resamples of patients, so that differences between two models are paired.

A resample is a row of weights: how often each image was drawn; see `weighted` for the figures.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from .metrics import Interval
from .weighted import Floats, Statistic, of_all

Key = TypeVar("Key", bound=Hashable)
RESAMPLES = 1000
_BLOCK = 1 << 21  # weights held at once, so that a large data set does not fill the memory


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
    statistics: Mapping[Key, Statistic], groups: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[Key, Draws]:
    """Each statistic on all images and on resamples of whole groups (patients), the same ones for all.

    Parameters
    ----------
    statistics : mapping of name, a text or a tuple, to statistic
    groups : sequence of str, length N
        Patient of each image: images of one patient are not independent.
    """
    count = len(groups)
    whole = {name: of_all(statistic, count) for name, statistic in statistics.items()}
    blocks: dict[Key, list[Floats]] = {name: [] for name in statistics}
    for weights in resampled_weights(groups, resamples, seed):
        for name, statistic in statistics.items():
            blocks[name].append(statistic(weights))
    return {name: Draws(whole[name], np.concatenate(blocks[name])) for name in statistics}


def resampled_weights(groups: Sequence[str], resamples: int = RESAMPLES, seed: int = 0) -> Iterator[Floats]:
    """How often each image was drawn, in blocks of shape (r, N), `resamples` rows in all; see `draw`."""
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    number = int(group.max()) + 1
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // max(group.size, 1))
    for start in range(0, resamples, block):
        drawn = rng.integers(0, number, (min(block, resamples - start), number))
        counts = np.stack([np.bincount(row, minlength=number) for row in drawn])
        yield counts[:, group].astype(np.float64)
