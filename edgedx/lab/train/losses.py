"""The losses of a phase, kept where they are computed, and watched without making the device wait."""

from __future__ import annotations

import torch
from torch import Tensor


class Losses:
    """One loss a step.

    Parameters
    ----------
    steps : int
        Of the phase.
    """

    def __init__(self, steps: int, device: torch.device) -> None:
        self.values = torch.zeros(steps, device=device)
        self.checked = 0
        self.noted = 0
        self.asked: tuple[int, Tensor, torch.cuda.Event] | None = None

    def note(self, step: int, loss: Tensor) -> None:
        """Keep the loss of a step."""
        self.values[step] = loss
        if self.noted == 0:
            self.checked = step  # a resumed phase begins somewhere
        self.noted = step + 1

    def first_bad(self, *, wait: bool = False) -> int | None:
        """The first step whose loss is not finite, as far as is known.

        On a GPU the answer comes some steps later, when those have been computed anyway; with `wait` it is complete.
        """
        if wait or self.values.device.type == "cpu":
            return self._look(self.checked, self.values[self.checked : self.noted].cpu())
        if self.asked is not None:
            first, copied, done = self.asked
            if not done.query():
                return None
            self.asked = None
            return self._look(first, copied)
        wanted = self.values[self.checked : self.noted]
        copied = torch.empty(wanted.shape, pin_memory=True).copy_(wanted, non_blocking=True)
        done = torch.cuda.Event()
        done.record()
        self.asked = self.checked, copied, done
        return None

    def mean(self, start: int, stop: int) -> float:
        """Over steps `start` to `stop`."""
        return float(self.values[start:stop].mean())

    def _look(self, first: int, values: Tensor) -> int | None:
        bad = (~torch.isfinite(values)).nonzero()
        self.checked = max(self.checked, first + len(values))
        return first + int(bad[0]) if len(bad) else None
