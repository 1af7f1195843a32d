"""Units side by side on this machine, each with its GPU or its share of the cores."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from edgedx.core.progress import Bar

from .unit import BLINK_S, Unit, start, stop


def gpus_here() -> list[str]:
    """GPUs of this machine that work may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return named.split(",")[:count] if named else [str(index) for index in range(count)]


def cores_and_gpus() -> int:
    """Units at the same time on this machine: one for each GPU, without GPUs one for two cores."""
    return len(gpus_here()) or _by_cores()


def _by_cores() -> int:
    return max(1, (os.cpu_count() or 1) // 2)


@dataclass(frozen=True)
class Local:
    """This machine.

    Parameters
    ----------
    jobs : int
        Units at the same time; 0: one for each GPU, without GPUs one for two cores.
    gpus : sequence of str
        Which the units may use, by turns.
    """

    jobs: int = 0
    gpus: Sequence[str] = ()

    def run(self, units: Sequence[Unit], bar: Bar) -> list[Unit]:
        """Run all, and return those that failed."""
        jobs = min(self.jobs or len(self.gpus) or _by_cores(), len(units))
        slots, waiting, failed = list(range(jobs)), list(units), list[Unit]()
        running: list[tuple[int, subprocess.Popen[bytes], Unit, int]] = []
        try:
            while waiting or running:
                while waiting and slots:
                    unit, slot = waiting.pop(0), slots.pop(0)
                    running.append((slot, self._start(unit, 0, slot, jobs), unit, 0))
                for one in list(running):
                    slot, process, unit, number = one
                    if process.poll() is None:
                        continue
                    running.remove(one)
                    bar.advance()
                    if process.returncode == 0 and number + 1 < len(unit.commands):
                        running.append((slot, self._start(unit, number + 1, slot, jobs), unit, number + 1))
                        continue
                    if process.returncode:
                        failed.append(unit)
                        bar.advance(len(unit.commands) - number - 1)
                    slots.append(slot)
                time.sleep(BLINK_S)
        except BaseException:
            stop([process for _, process, _, _ in running])
            raise
        return failed

    def _start(self, unit: Unit, number: int, slot: int, jobs: int) -> subprocess.Popen[bytes]:
        """OpenMP threads of two processes would fight for the same cores."""
        more = {"CUDA_VISIBLE_DEVICES": self.gpus[slot % len(self.gpus)]} if self.gpus else {}
        if "OMP_NUM_THREADS" not in os.environ:
            more["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // jobs))
        return start(unit, unit.commands[number], more, new=number == 0)
