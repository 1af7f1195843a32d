"""What a training will cost, told after its first steps; and whether torch's compiler pays for itself in it."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Literal

import torch

from edgedx.core.progress import tell

from .step import WARM_UP, Step

_SKIPPED, _TIMED = 1, 2  # steps that set things up, and those that are timed; on a CPU each takes long
_SKIPPED_ON_GPU, _TIMED_ON_GPU = WARM_UP + 2, 8  # capturing included
_GAIN = 0.25  # share of a step's time that compiling has been seen to save; what it does save is measured
_SECONDS_A_TENSOR = 0.4  # of compiling, for each tensor of weights, forward and backward
_WORTH_TELLING = 2.0  # seconds


class Compiling:
    """Watches the first steps of a phase, tells its cost, and compiles where that is asked for or pays.

    Parameters
    ----------
    option : str
        ``train.compile``. On a CPU ``auto`` never compiles: there it took three minutes and made a step slower
        (`benchmarks/training_speed.py`).
    steps, done : int
        Of the phase, and those of an earlier process.
    decided : bool, optional
        What an earlier process of this very training decided, whose numbers go on.

    Attributes
    ----------
    compiled : bool or None
        None while it is not decided.
    """

    def __init__(
        self,
        step_by: Step,
        option: Literal["auto", "on", "off"],
        steps: int,
        done: int,
        decided: bool | None,
        title: str,
        *,
        quiet: bool,
    ) -> None:
        self.step_by, self.steps, self.title, self.quiet = step_by, steps, title, quiet
        self.compiled = decided
        if decided is None and (option != "auto" or not step_by.captures):
            self.compiled = option == "on"
        if self.compiled:
            step_by.compile()
        on_gpu = step_by.device.type == "cuda"
        self.skipped, self.timed = (_SKIPPED_ON_GPU, _TIMED_ON_GPU) if on_gpu else (_SKIPPED, _TIMED)
        self.since = time.perf_counter()
        self.began, self.first = self.since, done
        self.pace: float | None = None  # seconds a step, before compiling
        self.watching = True

    def after(self, step: int) -> None:
        """To be called after each step."""
        if not self.watching:
            return
        count = step - self.first + 1
        if count == self.skipped:
            self._wait()
            self.since = time.perf_counter()
        elif count == self.skipped + self.timed:
            self._wait()
            self._decide(step + 1, (time.perf_counter() - self.since) / self.timed)

    def _decide(self, done: int, pace: float) -> None:
        self.watching = False
        left = self.steps - done
        if self.pace is None:
            self._tell(left, pace)
            if self.compiled is None:
                tensors = len(self.step_by.clipped)
                self.compiled = left * pace * _GAIN > tensors * _SECONDS_A_TENSOR
                if self.compiled:
                    self._say(f"compiling, to save up to {left * pace * _GAIN:.0f} s")
                    self.step_by.compile()
                    self.pace, self.first, self.began, self.watching = pace, done, time.perf_counter(), True
            return
        took = self.since - self.began
        if pace >= self.pace:
            self.compiled = False
            self.step_by.eager()
            verdict = "not kept"
        else:
            verdict = f"pays after {took / (self.pace - pace):,.0f} of {left:,} steps"
        self._say(f"compiled in {took:.0f} s, {1e3 * self.pace:.1f} to {1e3 * pace:.1f} ms a step; {verdict}")

    def _tell(self, left: int, pace: float) -> None:
        if left * pace < _WORTH_TELLING:
            return
        images = self.step_by.feed.batch_size / pace
        self._say(
            f"{left:,} more steps take about {timedelta(seconds=round(left * pace))} "
            f"({images:,.0f} images/s on {device_name(self.step_by.device)}), and looking at val after each epoch"
        )

    def _wait(self) -> None:
        if self.step_by.device.type == "cuda":
            torch.cuda.synchronize(self.step_by.device)

    def _say(self, sentence: str) -> None:
        if not self.quiet:
            tell(f"{self.title}: {sentence}")


def device_name(device: torch.device) -> str:
    """For people."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} CPU thread(s)"
