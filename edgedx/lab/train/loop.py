"""The only training loop: the same on a CPU and on a GPU, in one process and, by ``torchrun``, in several."""

from __future__ import annotations

import ctypes
import platform
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgedx.core.errors import RecipeError
from edgedx.core.progress import progress
from edgedx.core.stats.metrics import log_loss
from edgedx.lab.data.predict import predict
from edgedx.lab.feed.feed import Feed
from edgedx.lab.network.backbone import classifier
from edgedx.lab.network.checkpoint import load_state, pack_optimizer, save_state, unpack_optimizer
from edgedx.lab.network.column_head import head_of
from edgedx.lab.network.torch_runner import TorchRunner

from .compiling import Compiling
from .curves import Curves, Nowhere, open_curves
from .interrupt import held_interrupt
from .losses import Losses
from .phase import Outcome, Phase, Training
from .short_figures import auc_of_logits
from .step import Step, uses_bf16

_SAVING_SHARE = 0.05
"""Of the time; the state is saved after an epoch unless that would take more."""


class Diverged(RecipeError):
    """The loss is not finite any more; weights of after that are not kept."""


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
    finished = False
    try:
        outcome = loop.run(resume)
        finished = True
    finally:
        loop.curves.close(finished=finished)
    if state is not None and not keep_state and loop.main:
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
        self.accelerator = Accelerator(cpu=not torch.cuda.is_available())
        self.model, self.task, self.val = training.model, training.task, training.val
        # With several processes Accelerate numbers even the CPU, and torch copies from "cpu" to "cpu:0".
        self.device = self.accelerator.device if torch.cuda.is_available() else torch.device("cpu")
        self.together = self.accelerator.num_processes > 1 and not training.alone
        self.main = self.accelerator.is_main_process or training.alone
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
            device=self.device,
            rank=self.accelerator.process_index if self.together else 0,
            world=self.accelerator.num_processes if self.together else 1,
            extra=training.extra,
            absent=recipe.columns.absent,
            mixup=recipe.augment.mixup,
        )
        self.outcome = Outcome()
        self.best: tuple[float, dict[str, Tensor]] | None = None
        self.stale = 0
        self.waited = self.worked = 0.0
        self.steps_done = 0
        self.curves: Curves = Nowhere()
        self.saved, self.saving = time.monotonic(), 0.0

    def run(self, resume: bool) -> Outcome:
        """All phases, from the saved state where there is one."""
        tensors, facts = ({}, {}) if not (resume and self.state and self.state.exists()) else load_state(self.state)
        if facts:
            self.model.load_state_dict(_section(tensors, "model"))
            if self.auxiliary is not None:
                self.auxiliary.load_state_dict(_section(tensors, "task"))
            self.outcome.history = facts["history"]
            if facts["best"] is not None:
                best = {key: value.to(self.device) for key, value in _section(tensors, "best").items()}
                self.best, self.stale = (facts["best"], best), facts["stale"]
        if self.state is not None and self.main:
            begun = sum(self._steps(phase) for phase in self.phases[: facts["phase"]]) + facts["step"] if facts else 0
            self.curves = open_curves(self.recipe, self.state.parent, self.training.title, begun)
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
        first = sum(self._steps(earlier) for earlier in self.phases[:number])
        steps, done = self._steps(phase), int(facts.get("step", 0))
        if facts.get("stopped"):
            done = steps  # patience had run out, and the process was killed before the end
        _freeze(self.model, phase.frozen)
        trained = self.accelerator.prepare(self.model) if self.together else self.model
        step_by = Step(self.model, trained, self.task, self.feed, self.recipe, phase, first, steps)
        if tensors:
            unpack_optimizer(step_by.optimizer, tensors, facts["optimizer"])
            step_by.rates.attach(step_by.optimizer)
            if step_by.average is not None:
                step_by.average.module.load_state_dict(_section(tensors, "average"))
        quiet = not self.main
        title = f"{self.training.title}: {phase.name}"
        compiling = Compiling(step_by, self.options.compile, steps, done, facts.get("compiled"), title, quiet=quiet)
        losses, epoch_first = Losses(steps, self.device), done
        ahead = self.training.ahead + sum(self._steps(later) for later in self.phases[number + 1 :])
        _train_mode(self.model, phase)
        with (
            progress(title, steps, done=done, quiet=quiet, ahead=ahead) as bar,
            held_interrupt() as interrupted,
        ):
            batches = self.feed.raw(first + done, first + steps)
            began = epoch_began = time.perf_counter()
            for step in range(done, steps):
                batch = next(batches)
                got = time.perf_counter()
                losses.note(step, step_by(batch, step))
                compiling.after(step)
                self._refuse_divergence(losses.first_bad(), phase)
                self.steps_done += 1
                self.waited += got - began
                if (step + 1) % self.feed.steps_per_epoch == 0 or step + 1 == steps:
                    self._refuse_divergence(losses.first_bad(wait=True), phase)
                    judged = step_by.average.module if step_by.average is not None else self.model
                    score, val_loss = self._evaluate(judged)
                    _train_mode(self.model, phase)
                    line = {
                        "phase": phase.name,
                        "epoch": round((step + 1) / self.feed.steps_per_epoch, 2),
                        "loss": losses.mean(epoch_first, step + 1),
                        "val_loss": val_loss,
                        "val_auc": score,
                        "learning_rate": float(step_by.optimizer.param_groups[-1]["lr"]),
                        "seconds": round(time.perf_counter() - epoch_began, 1),
                    }
                    epoch_first, epoch_began = step + 1, time.perf_counter()
                    self.outcome.history.append(line)
                    self.curves.write(line, first + step + 1)
                    of = steps / self.feed.steps_per_epoch
                    told = f"epoch {line['epoch']:g} of {of:.3g}  loss {line['loss']:.3f}  val AUC {score:.4f}"
                    bar.advance(1, told)
                    stop = self._watch(judged, score) and not phase.frozen
                    if stop or step + 1 == steps or self._due(between=_SAVING_SHARE):
                        self._save(number, step + 1, step_by, compiling, stopped=stop)
                    if self.training.watch is not None:
                        self.training.watch(line)
                    if stop:
                        break
                else:
                    bar.advance(1)
                    if self._due():
                        self._refuse_divergence(losses.first_bad(wait=True), phase)
                        # Mid-epoch losses are not kept: a resumed epoch reports the mean of what it trained itself.
                        self._save(number, step + 1, step_by, compiling)
                if interrupted():
                    self._save(number, step + 1, step_by, compiling)
                    raise KeyboardInterrupt
                self.worked += time.perf_counter() - got
                began = time.perf_counter()
        if step_by.average is not None:
            self.model.load_state_dict(step_by.average.module.state_dict())
        self.accelerator.free_memory()

    def _refuse_divergence(self, bad: int | None, phase: Phase) -> None:
        if bad is None:
            return
        epoch, rate = (bad + 1) / self.feed.steps_per_epoch, phase.learning_rate
        raise Diverged(
            f"{phase.name}: the loss of step {bad + 1} (epoch {epoch:.1f}) is not a number: training has diverged at a "
            f"learning rate of {rate:g}",
            next_step=f"try {rate / 10:g}: train.learning_rate (frozen_learning_rate of a new head), or of a student "
            "student.learning_rate; with bf16 also train.precision=fp32",
        )

    def _steps(self, phase: Phase) -> int:
        return phase.length(self.feed.steps_per_epoch)

    def _evaluate(self, judged: nn.Module) -> tuple[float, float]:
        """AUC and log loss on val; computed by the main process and given to the others, so that all decide alike."""
        from accelerate.utils import broadcast_object_list

        figures = [0.0, 0.0]
        if self.main:
            # In the precision and by the batches of the training: a GPU has planned for those already.
            runner = TorchRunner(judged, self.device, bf16=uses_bf16(self.recipe, self.device))
            logits = predict(runner, self.val, self.recipe.preprocess, batch=self.feed.batch_size)
            task, labels = self.recipe.task, self.val.labels
            figures = [auc_of_logits(task, logits, labels), log_loss(logits, labels, task.kind)]
        if self.together:
            broadcast_object_list(figures)
        return figures[0], figures[1]

    def _watch(self, judged: nn.Module, score: float) -> bool:
        """Remember the best weights where patience is set; True when it has run out."""
        if not self.options.patience:
            return False
        if self.best is None or score > self.best[0]:
            self.best = (score, {key: value.detach().clone() for key, value in judged.state_dict().items()})
            self.stale = 0
        else:
            self.stale += 1
        return self.stale >= self.options.patience

    def _due(self, between: float = 0.0) -> bool:
        """Whether the state should be saved: the longest time has passed, or saving is cheap against what has."""
        passed = time.monotonic() - self.saved
        return passed > 60 * self.options.checkpoint_minutes or (between > 0 and self.saving <= between * passed)

    def _save(self, number: int, step: int, step_by: Step, compiling: Compiling, *, stopped: bool = False) -> None:
        if self.state is None or not self.main:
            return
        began = time.monotonic()
        tensors = {f"model.{key}": value for key, value in self.model.state_dict().items()}
        if step_by.average is not None:
            tensors |= {f"average.{key}": value for key, value in step_by.average.module.state_dict().items()}
        if self.auxiliary is not None:
            tensors |= {f"task.{key}": value for key, value in self.auxiliary.state_dict().items()}
        if self.best is not None:
            tensors |= {f"best.{key}": value for key, value in self.best[1].items()}
        moments, numbers = pack_optimizer(step_by.optimizer)
        facts = {
            "phase": number,
            "step": step,
            "optimizer": numbers,
            "compiled": compiling.compiled,
            "history": self.outcome.history,
            "best": self.best[0] if self.best else None,
            "stale": self.stale,
            "stopped": stopped,
        }
        save_state(self.state, tensors | moments, facts)
        self.saved = time.monotonic()
        self.saving = self.saved - began


def _section(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key[len(name) + 1 :]: value for key, value in tensors.items() if key.startswith(f"{name}.")}


def _freeze(model: nn.Module, frozen: bool) -> None:
    model.requires_grad_(not frozen)
    for head in _heads(model):
        head.requires_grad_(True)


def _train_mode(model: nn.Module, phase: Phase) -> None:
    model.train(not phase.frozen)
    for head in _heads(model):
        head.train()
    if phase.fixed_statistics:
        for layer in model.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.eval()


def _heads(model: nn.Module) -> list[nn.Module]:
    """What answers: the classifier, and the head of the columns where there is one."""
    columns = head_of(model)
    return [classifier(model), *([columns] if columns is not None else [])]


def _keep_freed_memory() -> None:
    """Tell glibc to keep freed memory: each step takes the same gigabyte again, and its page faults cost a fifth."""
    if platform.libc_ver()[0] == "glibc":
        trim_threshold, mmap_max = -1, -4
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)
