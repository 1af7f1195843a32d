"""Batches for training: drawn, augmented and normalised the same way on any device and any number of processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from edgedx.core.preprocess import PreprocessSpec
from edgedx.core.settings.columns import spans
from edgedx.core.settings.recipe_sections import Task
from edgedx.core.settings.recipe_training import Augment
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.network.inputs import Normaliser, widen

from .augment import DRAWS, augment, draw, look_closer
from .canvases import Places, canvases_for, sent
from .targets import class_weights, targets_of


@dataclass(frozen=True)
class Batch:
    """What a step is made from, on the training's device.

    Attributes
    ----------
    canvases : Tensor
        See `Canvases.batches`.
    draws : Tensor of shape (n, DRAWS + columns), float32
        Random numbers of each view.
    targets : Tensor of shape (n, K), float32
        NaN for images without labels.
    columns : Tensor of shape (n, T), float32, optional
    boxes : Tensor of shape (n, 4), float32, optional
        See `Dataset.boxes`.
    share : Tensor of shape ()
        What mixup leaves of each image; 1 without.
    partner : Tensor of shape (n,), int64
        The image of the batch that it is mixed with.
    """

    canvases: Tensor
    draws: Tensor
    targets: Tensor
    columns: Tensor | None
    share: Tensor
    partner: Tensor
    boxes: Tensor | None = None

    def named(self) -> dict[str, Tensor]:
        """All that is there, by field."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


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
    mixup : float
        Alpha of the Beta distribution; 0: images are not mixed.
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
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
        extra: Dataset | None = None,
        absent: float = 0.0,
        mixup: float = 0.0,
    ) -> None:
        self.device = torch.device(device)
        self.spec, self.options, self.absent, self.mixup = spec, options, absent, mixup
        self.seed, self.rank, self.world = seed, rank, world
        parts = [data] if extra is None else [data, extra]
        self.count, self.fitted = sum(map(len, parts)), data.fitted
        self.batch_size = min(batch_size, self.count)
        self.steps_per_epoch = self.count // self.batch_size
        self.canvases = canvases_for(parts, self.device)
        unknown = np.full((self.count - len(data), len(task.classes)), np.nan, np.float32)
        self.targets = torch.from_numpy(np.concatenate([targets_of(data.labels, task), unknown])).to(self.device)
        self.columns = None if data.columns is None else self._columns(parts)
        self.boxes = None if data.boxes is None else self._boxes(data.boxes)
        # Column that each place of an encoded row belongs to: a column is absent as a whole.
        owners = [number for number, (first, end) in enumerate(spans(data.fitted)) for _ in range(first, end)]
        self.owners = torch.tensor(owners, dtype=torch.int64, device=self.device)
        self.normalise = Normaliser(spec, self.device)
        self.probabilities = _probabilities(data, task, self.count - len(data)) if sampler else None

    def raw(self, start: int, stop: int) -> Iterator[Batch]:
        """What the steps `start` to `stop` are made from; the same whatever step was the first."""
        step = start
        while step < stop:
            epoch, place = divmod(step, self.steps_per_epoch)
            until = min(stop, (epoch + 1) * self.steps_per_epoch)
            order = self._order(epoch)
            plan = [self._share_of(order, number) for number in range(place, place + until - step)]
            # Everything that an epoch draws goes to the device at once: between steps nothing is waited for.
            draws = sent(draw(self.seed, epoch, self.count, len(self.fitted) + (self.boxes is not None)), self.device)
            every = sent(np.stack(plan), self.device)
            shares, partners = (sent(part, self.device) for part in self._mixing(step, every.shape))
            for number, canvases in enumerate(self.canvases.batches(plan)):
                places = every[number]
                yield Batch(
                    canvases,
                    draws.index_select(0, places),
                    self.targets.index_select(0, places),
                    None if self.columns is None else self.columns.index_select(0, places),
                    shares[number],
                    partners[number],
                    None if self.boxes is None else self.boxes.index_select(0, places),
                )
            step = until

    def views(self, batch: Batch) -> tuple[Tensor, ...]:
        """Network inputs (n, C, H, W), targets (n, K) and columns (n, T), if any: float32, augmented, not yet mixed."""
        peak = float((1 << self.spec.bits) - 1)
        canvases = widen(batch.canvases)
        if batch.boxes is not None:
            canvases = look_closer(canvases, batch.boxes, batch.draws[:, -1] < self.options.roi)
        images = self.normalise(augment(canvases, self.options, batch.draws, peak))
        if batch.columns is None:
            return images, batch.targets
        kept = batch.draws[:, DRAWS : DRAWS + len(self.fitted)].index_select(1, self.owners) >= self.absent
        return images, batch.targets, batch.columns * kept

    def batches(self, start: int, stop: int) -> Iterator[tuple[Tensor, ...]]:
        """`views` of `raw`."""
        return (self.views(batch) for batch in self.raw(start, stop))

    def _order(self, epoch: int) -> Places:
        rng = np.random.default_rng((self.seed, epoch, 0x0D))
        if self.probabilities is not None:
            return rng.choice(self.count, self.count, p=self.probabilities)
        return rng.permutation(self.count)

    def _share_of(self, order: Places, number: int) -> Places:
        return order[number * self.batch_size : (number + 1) * self.batch_size][self.rank :: self.world]

    def _mixing(self, first: int, shape: torch.Size) -> tuple[np.ndarray, np.ndarray]:
        """Share and partners of each of so many steps, from `first` on."""
        shares, partners = np.ones(shape[0], np.float32), np.tile(np.arange(shape[1]), (shape[0], 1))
        if self.mixup:
            for number in range(shape[0]):
                rng = np.random.default_rng((self.seed, first + number, self.rank))
                shares[number], partners[number] = rng.beta(self.mixup, self.mixup), rng.permutation(shape[1])
        return shares, partners

    def _boxes(self, boxes: np.ndarray) -> Tensor:
        """Of all images; those without labels have none."""
        none = np.full((self.count - len(boxes), 4), np.nan, np.float32)
        return torch.from_numpy(np.concatenate([boxes, none])).to(self.device)

    def _columns(self, parts: list[Dataset]) -> Tensor:
        return torch.from_numpy(np.concatenate([part.columns for part in parts])).to(self.device)  # type: ignore[misc]


def mix(share: Tensor, partner: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Mixup (Zhang et al. 2018): each image with another of the batch, labels and columns alike."""
    return tuple(one * share + one[partner] * (1 - share) for one in tensors)


def _probabilities(data: Dataset, task: Task, unlabelled: int) -> np.ndarray:
    """How often each position is drawn: every class alike; what has no label as if each were drawn evenly."""
    targets = np.nan_to_num(targets_of(data.labels, task))
    weights = (targets * class_weights(data, task)).sum(axis=1) + (targets.sum(axis=1) == 0)
    shares = weights.astype(np.float64) / weights.sum()
    if unlabelled:
        shares = np.append(shares * len(data), np.ones(unlabelled))
    return shares / shares.sum()
