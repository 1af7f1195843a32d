"""How many training steps a command still has before it, for the time left that its bars show."""

from __future__ import annotations

from edgedx.lab.train.phase import Phase


class RemainingSteps:
    """Phases in the order in which they are trained; each has a name of its own."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.phases: list[tuple[Phase, int]] = []

    def add(self, phase: Phase, images: int) -> None:
        """Plan a phase over `images` an epoch."""
        self.phases.append((phase, self.steps(phase, images)))

    def steps(self, phase: Phase, images: int) -> int:
        """Length of a phase over `images` an epoch."""
        return phase.length(images // min(self.batch_size, images))

    def ahead(self, phase: Phase) -> int:
        """Steps of all phases after this one."""
        place = [phase for phase, _ in self.phases].index(phase)
        return sum(steps for _, steps in self.phases[place + 1 :])
