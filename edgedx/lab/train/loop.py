"""The only training loop. On Accelerate, so that ``torchrun`` spreads it over processes, GPUs and nodes."""

from __future__ import annotations

import ctypes
import math
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgedx.core.errors import RecipeError
from edgedx.core.progress import progress
from edgedx.core.settings.recipe_sections import Train
from edgedx.core.stats.metrics import log_loss
from edgedx.lab.data.predict import predict
from edgedx.lab.network.backbone import classifier
from edgedx.lab.network.checkpoint import load_state, pack_optimizer, save_state, unpack_optimizer
from edgedx.lab.network.column_head import head_of, image_part
from edgedx.lab.network.torch_runner import TorchRunner

from .feed import Feed, mix
from .phase import Outcome, Phase, Training
from .short_figures import auc_of_logits


class Diverged(RecipeError):
    """The loss is not finite any more; weights of after that are not kept."""


COLUMN_RATE = 10.0
"""Learning rate of the head of columns against the classifier's: a few weights that begin at zero, and no feature below
them to harm. At the same rate a small data set ends before they have learned what the columns say."""


def fit(training: Training, *, state: Path | None = None, resume: bool = False, keep_state: bool = False) -> Outcome:
    """Train a model in place; it ends with the averaged (EMA) weights, or the best where patience is set.

    Every random draw derives from (seed, step), so a run that was killed and resumed from `state` ends with the
    same weights as one that was not (on the same CPU).

    Parameters
    ----------
    state : Path, optional
        File for the training state, written after each epoch and every ``train.checkpoint_minutes``.
    resume : bool
        Continue from `state` where it exists.
    keep_state : bool
        Leave `state` behind, for the caller to remove when it has kept the result: a kill in between repeats nothing.
    """
    _keep_freed_memory()
    loop = _Loop(training, state)
    outcome = loop.run(resume)
    if state is not None and not keep_state and loop.accelerator.is_main_process:
        state.unlink(missing_ok=True)
    return outcome


class _Loop:
    """The state of one training while it runs."""

    def __init__(self, training: Training, state: Path | None) -> None:
        from accelerate import Accelerator

        recipe = training.recipe
        self.training, self.state = training, state
        self.recipe, self.options, self.phases = recipe, recipe.train, training.phases
        self.auxiliary = getattr(training.task, "auxiliary", None)  # tasks without tensors of their own need not say so
        self.accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=_precision(self.options))
        self.model, self.task, self.val = training.model, training.task, training.val
        self.device = self.accelerator.device
        self.model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.task.to(self.device)
        self.feed = Feed(
            training.train,
            recipe.task,
            recipe.preprocess,
            recipe.augment,
            batch_size=self.options.batch_size,
            sampler=self.options.imbalance == "sampler",
            seed=self.options.seed,
            workers=_workers(self.options),
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
            extra=training.extra,
            absent=recipe.columns.absent,
        )
        self.outcome = Outcome()
        self.average: Any = None
        self.best: tuple[float, dict[str, Tensor]] | None = None
        self.stale = 0
        self.waited = self.worked = 0.0
        self.steps_done = 0

    def run(self, resume: bool) -> Outcome:
        """All phases, from the saved state where there is one."""
        tensors, facts = ({}, {}) if not (resume and self.state and self.state.exists()) else load_state(self.state)
        if facts:
            self.model.load_state_dict(_section(tensors, "model"))
            if self.auxiliary is not None:
                self.auxiliary.load_state_dict(_section(tensors, "task"))
            self.outcome.history = facts["history"]
            if facts["best"] is not None:
                self.best, self.stale = (facts["best"], _section(tensors, "best")), facts["stale"]
        for number, phase in enumerate(self.phases):
            if facts and number < facts["phase"]:
                continue
            resuming = bool(facts) and number == facts["phase"]
            self._phase(number, phase, tensors if resuming else {}, facts if resuming else {})
        if self.best is not None:
            self.model.load_state_dict(self.best[1])
        self.model.eval()
        total = self.waited + self.worked
        self.outcome.data_share = self.waited / total if total else 0.0
        self.outcome.images_per_s = self.steps_done * self.feed.batch_size / total if total else 0.0
        return self.outcome

    def _phase(self, number: int, phase: Phase, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        from timm.utils import ModelEmaV3

        first = sum(self._steps(earlier) for earlier in self.phases[:number])
        steps, done = self._steps(phase), int(facts.get("step", 0))
        if facts.get("stopped"):
            done = steps  # patience had run out, and the process was killed before the end
        _freeze(self.model, phase.frozen)
        optimizer = _optimizer(self.model, self.options, phase, self.auxiliary)
        rates = [group["lr"] for group in optimizer.param_groups]
        # A short phase would otherwise end before the average forgets its start.
        decay = min(self.options.ema, 1 - 10 / max(steps, 11)) if not phase.frozen else 0.0
        self.average = ModelEmaV3(self.model, decay=decay, use_warmup=True) if decay else None
        if tensors:
            unpack_optimizer(optimizer, tensors, facts["optimizer"])
            if self.average is not None:
                self.average.module.load_state_dict(_section(tensors, "average"))
        trained, optimizer = self.accelerator.prepare(self.model, optimizer)
        saved = time.monotonic()
        losses: list[Tensor] = []
        quiet = not self.accelerator.is_main_process
        ahead = self.training.ahead + sum(self._steps(later) for later in self.phases[number + 1 :])
        with progress(f"{self.training.title}: {phase.name}", steps, done=done, quiet=quiet, ahead=ahead) as bar:
            batches = self.feed.batches(first + done, first + steps)
            began = epoch_began = time.perf_counter()
            for step in range(done, steps):
                batch = next(batches)
                got = time.perf_counter()
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * _schedule(step, steps, self.options.warmup_epochs * self.feed.steps_per_epoch)
                losses.append(self._step(trained, optimizer, batch, first + step, phase))
                if len(losses) > 1:  # of the step before: it is computed, so that a GPU is not waited for
                    self._refuse_divergence(losses[-2], phase, step)
                self.steps_done += 1
                self.waited += got - began
                self.worked += time.perf_counter() - got
                if (step + 1) % self.feed.steps_per_epoch == 0 or step + 1 == steps:
                    self._refuse_divergence(losses[-1], phase, step + 1)
                    score, val_loss = self._evaluate()
                    line = {
                        "phase": phase.name,
                        "epoch": round((step + 1) / self.feed.steps_per_epoch, 2),
                        "loss": float(torch.stack(losses).mean()),
                        "val_loss": val_loss,
                        "val_auc": score,
                        "learning_rate": optimizer.param_groups[-1]["lr"],
                        "seconds": round(time.perf_counter() - epoch_began, 1),
                    }
                    losses, epoch_began = [], time.perf_counter()
                    self.outcome.history.append(line)
                    bar.advance(1, f"loss {line['loss']:.3f}  val AUC {score:.4f}")
                    stop = self._watch(score) and not phase.frozen
                    self._save(number, step + 1, optimizer, stopped=stop)
                    saved = time.monotonic()
                    if self.training.watch is not None:
                        self.training.watch(line)
                    if stop:
                        break
                else:
                    bar.advance(1)
                    if time.monotonic() - saved > 60 * self.options.checkpoint_minutes:
                        self._refuse_divergence(losses[-1], phase, step + 1)
                        # Mid-epoch losses are not kept: a resumed epoch reports the mean of what it trained itself.
                        self._save(number, step + 1, optimizer)
                        saved = time.monotonic()
                began = time.perf_counter()
        if self.average is not None:
            self.model.load_state_dict(self.average.module.state_dict())
        self.accelerator.free_memory()

    def _refuse_divergence(self, loss: Tensor, phase: Phase, step: int) -> None:
        if torch.isfinite(loss):
            return
        epoch, rate = step / self.feed.steps_per_epoch, phase.learning_rate
        raise Diverged(
            f"{phase.name}: the loss of step {step} (epoch {epoch:.1f}) is not a number: training has diverged at a "
            f"learning rate of {rate:g}",
            next_step=f"try {rate / 10:g}: train.learning_rate (frozen_learning_rate of a new head), or of a student "
            "student.learning_rate; with bf16 also train.precision=fp32",
        )

    def _steps(self, phase: Phase) -> int:
        return phase.length(self.feed.steps_per_epoch)

    def _step(self, trained: nn.Module, optimizer: Any, batch: tuple[Tensor, ...], step: int, phase: Phase) -> Tensor:
        rank = self.accelerator.process_index
        torch.manual_seed((self.options.seed * 1_000_003 + step) * 64 + rank)  # dropout, from the step alone
        images = batch[0].to(self.device, non_blocking=True, memory_format=torch.channels_last)
        targets, *columns = (one.to(self.device, non_blocking=True) for one in batch[1:])
        if mixup := self.recipe.augment.mixup:
            images, targets, *columns = mix(images, targets, mixup, (self.options.seed, step, rank), *columns)
        _train_mode(self.model, phase.frozen)
        with self.accelerator.autocast():
            loss, _ = self.task(trained, images, targets, *columns)
        self.accelerator.backward(loss)
        if self.options.clip_norm:
            self.accelerator.clip_grad_norm_(trained.parameters(), self.options.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        if self.average is not None:
            self.average.update(self.model, step=step)
        return loss.detach()

    def _evaluate(self) -> tuple[float, float]:
        """AUC and log loss on val; computed by the main process and given to the others, so that all decide alike."""
        from accelerate.utils import broadcast_object_list

        figures = [0.0, 0.0]
        if self.accelerator.is_main_process:
            judged = self.average.module if self.average is not None else self.model
            logits = predict(TorchRunner(judged, self.device), self.val, self.recipe.preprocess)
            task, labels = self.recipe.task, self.val.labels
            figures = [auc_of_logits(task, logits, labels), log_loss(logits, labels, task.kind)]
        broadcast_object_list(figures)
        return figures[0], figures[1]

    def _watch(self, score: float) -> bool:
        """Remember the best weights where patience is set; True when it has run out."""
        if not self.options.patience:
            return False
        if self.best is None or score > self.best[0]:
            judged = self.average.module if self.average is not None else self.model
            self.best = (score, {key: value.detach().clone() for key, value in judged.state_dict().items()})
            self.stale = 0
        else:
            self.stale += 1
        return self.stale >= self.options.patience

    def _save(self, number: int, step: int, optimizer: Any, *, stopped: bool = False) -> None:
        if self.state is None or not self.accelerator.is_main_process:
            return
        tensors = {f"model.{key}": value for key, value in self.model.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average.{key}": value for key, value in self.average.module.state_dict().items()}
        if self.auxiliary is not None:
            tensors |= {f"task.{key}": value for key, value in self.auxiliary.state_dict().items()}
        if self.best is not None:
            tensors |= {f"best.{key}": value for key, value in self.best[1].items()}
        moments, numbers = pack_optimizer(optimizer.optimizer if hasattr(optimizer, "optimizer") else optimizer)
        facts = {
            "phase": number,
            "step": step,
            "optimizer": numbers,
            "history": self.outcome.history,
            "best": self.best[0] if self.best else None,
            "stale": self.stale,
            "stopped": stopped,
        }
        save_state(self.state, tensors | moments, facts)


def _section(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key[len(name) + 1 :]: value for key, value in tensors.items() if key.startswith(f"{name}.")}


def _freeze(model: nn.Module, frozen: bool) -> None:
    model.requires_grad_(not frozen)
    for head in _heads(model):
        head.requires_grad_(True)


def _train_mode(model: nn.Module, frozen: bool) -> None:
    model.train(not frozen)
    for head in _heads(model):
        head.train()


def _heads(model: nn.Module) -> list[nn.Module]:
    """What answers: the classifier, and the head of the columns where there is one."""
    columns = head_of(model)
    return [classifier(model), *([columns] if columns is not None else [])]


def _optimizer(model: nn.Module, options: Train, phase: Phase, auxiliary: nn.Module | None) -> torch.optim.Optimizer:
    from timm.optim import param_groups_layer_decay

    groups: Any = (
        [{"params": list(classifier(model).parameters()), "lr": phase.learning_rate}]
        if phase.frozen
        else param_groups_layer_decay(image_part(model), options.weight_decay, layer_decay=options.layer_decay)
    )
    if (columns := head_of(model)) is not None and (parameters := list(columns.parameters())):
        groups.insert(0, {"params": parameters, "lr_scale": COLUMN_RATE})
    if auxiliary is not None and (heads := list(auxiliary.parameters())):
        groups.append({"params": heads})
    for group in groups:
        group["lr"] = phase.learning_rate * group.get("lr_scale", 1.0)
    if options.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, nesterov=True, weight_decay=options.weight_decay)
    if options.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, alpha=0.9, momentum=0.9, eps=1e-3, weight_decay=options.weight_decay)
    return torch.optim.AdamW(groups, weight_decay=options.weight_decay)


def _schedule(step: int, steps: int, warmup: float) -> float:
    warmup = min(warmup, steps / 4)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, steps - warmup)))


def _precision(options: Train) -> str:
    if options.precision == "auto":
        return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no"
    return {"fp32": "no", "bf16": "bf16"}[options.precision]


def _workers(options: Train) -> int:
    if options.workers >= 0:
        return options.workers
    return min(8, os.cpu_count() or 1) if torch.cuda.is_available() else 0


def _keep_freed_memory() -> None:
    """Tell glibc to keep freed memory: each step takes the same gigabyte again, and its page faults cost a fifth."""
    if platform.libc_ver()[0] == "glibc":
        trim_threshold, mmap_max = -1, -4
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)
