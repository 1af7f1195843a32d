"""One step of training, from a batch to changed weights, without once waiting for the device.

On a GPU a step of eager torch is bound by launching its thousand kernels. So the whole of it, from the augmentation to
the running mean, is captured once as a CUDA graph and then replayed. What differs from step to step (batch, learning
rate, weight of the mean, seed of dropout) lies in memory that the graph reads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from edgedx.core.progress import tell
from edgedx.core.settings.recipe import Recipe
from edgedx.lab.feed.canvases import sent
from edgedx.lab.feed.feed import Batch, Feed, mix

from .average import Average, weight_at
from .optimizer import Rates, make_optimizer, schedule
from .phase import Phase
from .tasks import TrainingTask

WARM_UP = 3
"""Steps that run before one is captured: libraries and optimizers set themselves up in them."""


class Step:
    """Trains a model by a batch; all that a phase changes beside the weights is in here.

    Parameters
    ----------
    model : nn.Module
        Trained in place, on the device of `feed`.
    trained : nn.Module
        The same, wrapped where several processes train it.
    first, steps : int
        Steps of earlier phases, and of this one.
    """

    def __init__(
        self,
        model: nn.Module,
        trained: nn.Module,
        task: TrainingTask,
        feed: Feed,
        recipe: Recipe,
        phase: Phase,
        first: int,
        steps: int,
    ) -> None:
        self.trained, self.task, self.feed, self.options = trained, task, feed, recipe.train
        self.device, self.first = feed.device, first
        self.bf16 = uses_bf16(recipe, self.device)
        auxiliary = getattr(task, "auxiliary", None)
        self.optimizer = make_optimizer(model, self.options, phase, auxiliary, self.device)
        self.rates = Rates(self.optimizer, self.device)
        self.clipped = [one for one in model.parameters() if one.requires_grad]
        # A short phase would otherwise end before the average forgets its start.
        decay = min(self.options.ema, 1 - 10 / max(steps, 11)) if not phase.frozen else 0.0
        self.average = Average(model) if decay else None
        warmup = self.options.warmup_epochs * feed.steps_per_epoch
        factors = schedule(steps, warmup, phase.part)
        pace = [(factor, weight_at(first + step, decay)) for step, factor in enumerate(factors)]
        self.pace = sent(np.array(pace, np.float32), self.device)
        self.now = self.pace[0].clone()
        self.loss: Callable[..., Tensor] = self._loss
        self.captures = self.device.type == "cuda" and trained is model  # several processes wait for each other
        self.graph: torch.cuda.CUDAGraph | None = None
        self.stream = torch.cuda.Stream(self.device) if self.captures else None
        self.warm = 0

    def __call__(self, batch: Batch, step: int) -> Tensor:
        """Train by `batch` as step number `step` of the phase; returns the loss, a scalar of this step alone."""
        seed = (self.options.seed * 1_000_003 + self.first + step) * 64 + self.feed.rank
        torch.manual_seed(seed)  # dropout, from the step alone
        self.now.copy_(self.pace[step])
        if self.stream is None:
            return self._work(batch)
        if self.graph is None and (self.warm < WARM_UP or not self.captures):
            self.warm += 1
            return self._aside(batch)
        if self.graph is None and not self._capture(batch):
            return self._aside(batch)
        assert self.graph is not None
        for kept, given in zip(self.batch.named().values(), batch.named().values(), strict=True):
            kept.copy_(given)
        self.graph.replay()
        return self.captured.clone()

    def compile(self) -> None:
        """Fuse the forward and backward pass with torch's compiler, from the next step on."""
        self.loss = torch.compile(self._loss, dynamic=False)
        self.graph, self.warm = None, 0

    def eager(self) -> None:
        """Undo `compile`."""
        self.loss, self.graph, self.warm = self._loss, None, 0

    def _work(self, batch: Batch) -> Tensor:
        self.rates.set(self.now[0])
        loss = self.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.options.clip_norm:
            nn.utils.clip_grad_norm_(self.clipped, self.options.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update(self.now[1])
        return loss.detach()

    def _loss(self, batch: Batch) -> Tensor:
        images, targets, *columns = self.feed.views(batch)
        if self.feed.mixup:
            images, targets, *columns = mix(batch.share, batch.partner, images, targets, *columns)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16, cache_enabled=False):
            loss, _ = self.task(self.trained, images, targets, *columns)
        return loss

    def _aside(self, batch: Batch) -> Tensor:
        """A step on the stream that will be captured: what backward leaves behind belongs to a stream."""
        assert self.stream is not None
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            loss = self._work(batch)
        current.wait_stream(self.stream)
        return loss

    def _capture(self, batch: Batch) -> bool:
        """Capture a step that works on copies of `batch`; nothing is computed. False where it cannot be captured."""
        self.batch = replace(batch, **{name: value.clone() for name, value in batch.named().items()})
        torch.cuda.synchronize(self.device)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                self.captured = self._work(self.batch)
        except RuntimeError as error:
            self.captures = False
            self.optimizer.zero_grad()
            reason = str(error).partition("\n")[0]
            tell(f"note: steps cannot be captured, so they run one kernel at a time: {reason}")
            return False
        self.graph = graph
        return True


def uses_bf16(recipe: Recipe, device: torch.device) -> bool:
    """Whether a training computes in bf16: by default on a GPU that has it; on CPUs it was slower wherever tried."""
    if recipe.train.precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return recipe.train.precision == "bf16"
