"""Batches for training: drawn, augmented and normalised the same way on any number of processes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from edgedx.core.preprocess import PreprocessSpec, normalise
from edgedx.core.settings.columns import make_absent
from edgedx.core.settings.recipe_sections import Augment, Task
from edgedx.lab.data.dataset import Dataset

from .augment import augment
from .tasks import class_weights, targets_of

Item = tuple[int, int]  # (epoch, position): the epoch travels with the index, so that workers need no state


class Views(TorchDataset[tuple[Tensor, ...]]):
    """Augmented views of a data set; a view depends on (seed, epoch, position) alone.

    Positions beyond the data set are those of `extra`, images without labels: their targets are NaN. Where the data set
    has columns, a view ends with them, each made absent with a chance of `absent`.
    """

    def __init__(
        self,
        data: Dataset,
        task: Task,
        spec: PreprocessSpec,
        options: Augment,
        seed: int,
        extra: Dataset | None = None,
        absent: float = 0.0,
    ) -> None:
        self.data, self.spec, self.options, self.seed, self.extra = data, spec, options, seed, extra
        self.absent = absent
        self.targets = targets_of(data.labels, task)
        self.unknown = np.full(len(task.classes), np.nan, np.float32)

    def __len__(self) -> int:
        return len(self.data) + (len(self.extra) if self.extra is not None else 0)

    def __getitem__(self, item: Item) -> tuple[Tensor, ...]:
        epoch, position = item
        data, place, target = self.data, position, self.unknown
        if self.extra is not None and position >= len(self.data):
            data, place = self.extra, position - len(self.data)
        else:
            target = self.targets[position]
        rng = np.random.default_rng((self.seed, epoch, position))
        view = augment(data.canvases[data.rows[place]], self.options, rng)
        found = torch.from_numpy(normalise(view, self.spec)), torch.from_numpy(target)
        if data.columns is None:
            return found
        return *found, torch.from_numpy(make_absent(data.fitted, data.columns[place], self.absent, rng))


class Feed:
    """Endless batches from any step on, the same for the same seed.

    Parameters
    ----------
    batch_size : int
        Over all processes; each takes its share of every batch.
    sampler : bool
        Draw classes evenly instead of once per epoch each.
    extra : Dataset, optional
        Images without labels; an epoch is as long as both sets together.
    absent : float
        Chance that a column of an image is made absent, where the data set has columns.
    """

    def __init__(
        self,
        data: Dataset,
        task: Task,
        spec: PreprocessSpec,
        options: Augment,
        *,
        batch_size: int,
        sampler: bool,
        seed: int,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
        extra: Dataset | None = None,
        absent: float = 0.0,
    ) -> None:
        self.views = Views(data, task, spec, options, seed, extra, absent)
        self.batch_size = min(batch_size, len(self.views))
        self.steps_per_epoch = len(self.views) // self.batch_size
        self.seed, self.workers, self.rank, self.world = seed, workers, rank, world
        self.probabilities: np.ndarray | None = None
        if sampler:
            targets = np.nan_to_num(targets_of(data.labels, task))
            probabilities = (targets * class_weights(data, task)).sum(axis=1) + (targets.sum(axis=1) == 0)
            self.probabilities = probabilities / probabilities.sum()
            if extra is not None:  # what has no label is drawn evenly
                shares = np.append(self.probabilities.astype(np.float64) * len(data), np.ones(len(extra)))
                self.probabilities = shares / shares.sum()

    def _order(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng((self.seed, epoch, 0x0D))
        count = len(self.views)
        if self.probabilities is not None:
            return rng.choice(count, count, p=self.probabilities)
        return rng.permutation(count)

    def _batches(self, start: int, stop: int) -> Iterator[list[Item]]:
        order, known = np.empty(0, int), -1
        for step in range(start, stop):
            epoch, place = divmod(step, self.steps_per_epoch)
            if epoch != known:
                order, known = self._order(epoch), epoch
            batch = order[place * self.batch_size : (place + 1) * self.batch_size]
            yield [(epoch, int(position)) for position in batch[self.rank :: self.world]]

    def batches(self, start: int, stop: int) -> Iterator[tuple[Tensor, ...]]:
        """Images (n, C, H, W), targets (n, K) and columns (n, T), if any, of steps `start` to `stop`; all float32."""
        loader = DataLoader(
            self.views,
            batch_sampler=list(self._batches(start, stop)),
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
            prefetch_factor=4 if self.workers else None,
        )
        yield from loader


def mix(images: Tensor, targets: Tensor, alpha: float, seed: tuple[int, ...], *columns: Tensor) -> tuple[Tensor, ...]:
    """Mixup (Zhang et al. 2018): each image with a random other of the batch, labels and columns alike."""
    rng = np.random.default_rng(seed)
    share = float(rng.beta(alpha, alpha))
    partner = torch.from_numpy(rng.permutation(len(images))).to(images.device)
    return tuple(one * share + one[partner] * (1 - share) for one in (images, targets, *columns))
