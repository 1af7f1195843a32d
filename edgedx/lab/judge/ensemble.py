"""Several models as one: the mean of their probabilities, each calibrated by its own temperature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgedx.core.errors import UsageError
from edgedx.core.files import read_json
from edgedx.core.stats.cases import calibrated_probabilities
from edgedx.core.stats.points import OperatingPoint
from edgedx.device.runtime.runner import Output, Runner
from edgedx.lab.data.dataset import SUMMARY
from edgedx.lab.run.run import Run
from edgedx.lab.train.short_figures import operating_points

from .evaluation import ask_split
from .subject import Subject

_TINY = 1e-300


def mean_of(members: Sequence[Subject]) -> Subject:
    """One subject that answers with the mean of what `members` answer.

    Where all members come from one split of one data set, its operating points are chosen on val, as those of a single
    model are; else the likeliest class decides, and only data from outside can be asked: the test images of one member
    may have trained another.

    Raises
    ------
    UsageError
        Fewer than two members, other classes, other preprocessing, or other columns.
    """
    if len(members) < 2:
        raise UsageError("an ensemble has two members or more", next_step="name several models")
    first = members[0]
    for one in members[1:]:
        if (one.task, one.classes, one.positive) != (first.task, first.classes, first.positive):
            raise UsageError(
                f"{one.path} answers {', '.join(one.classes)}, {first.path} {', '.join(first.classes)}",
                next_step="combine models of the same classes, in the same order",
            )
        if one.preprocess.digest() != first.preprocess.digest():
            raise UsageError(
                f"{one.path} sees images otherwise than {first.path}: size, colour, window or depth differ",
                next_step="combine models of the same preprocessing",
            )

        if one.columns != first.columns:
            raise UsageError(
                f"{one.path} takes other columns beside the image than {first.path}, or encodes them otherwise",
                next_step="combine models that were trained on the same data set",
            )

    together = len({_split_of(one.run) for one in members}) == 1
    whole = replace(
        first,
        name=f"mean of {len(members)}",
        ran="mean of the probabilities of " + ", ".join(str(one.path) for one in members),
        temperature=1.0,
        points=[OperatingPoint(name="argmax", threshold={})],
        synthetic=any(one.synthetic for one in members),
        runner=MeanRunner([(one.runner, one.temperature) for one in members], first.task),
        run=first.run if together else None,
        recipe=first.recipe if together else None,
    )
    if whole.recipe is None:
        return whole
    val = ask_split(whole, "val")
    return replace(whole, points=operating_points(whole.recipe, val.logits, np.asarray(val.cases.labels), 1.0))


def _split_of(run: Run | None) -> str | None:
    return None if run is None else str(read_json(run.data / SUMMARY)["digest"])


class MeanRunner(Runner):
    """Several runners as one, which gives the logits of the mean probabilities (`mean_logits`) and no features.

    Parameters
    ----------
    members : sequence of (Runner, temperature)
    """

    def __init__(self, members: Sequence[tuple[Runner, float]], task: str) -> None:
        self.members, self.task = members, task
        self.provider = " and ".join(runner.provider for runner, _ in members)

    def activate(self) -> None:
        """Activate all."""
        for runner, _ in self.members:
            runner.activate()

    def infer(
        self, batch: NDArray[np.float32], columns: NDArray[np.float32] | None = None, *, cam: bool = False
    ) -> Output:
        """Run a batch of shape (N, C, H, W), float32 (see `Runner.infer`)."""
        logits = [(runner.infer(batch, columns).logits, temperature) for runner, temperature in self.members]
        return Output(mean_logits(logits, self.task))  # type: ignore[arg-type]  # float64: no ties where float32 has them

    def deactivate(self) -> None:
        """Free all."""
        for runner, _ in self.members:
            runner.deactivate()


def mean_logits(answers: Sequence[tuple[NDArray[np.floating], float]], task: str) -> NDArray[np.float64]:
    """Logits whose probabilities at temperature 1 are the mean of those of all members.

    Parameters
    ----------
    answers : sequence of (logits of shape (N, K), temperature)
    """
    probabilities = np.mean(
        [calibrated_probabilities(logits, task, temperature) for logits, temperature in answers], axis=0
    )
    if task != "multilabel":
        return np.asarray(np.log(np.maximum(probabilities, _TINY)))
    against = np.mean([calibrated_probabilities(-logits, task, temperature) for logits, temperature in answers], axis=0)
    return np.asarray(np.log(probabilities) - np.log(against))  # 1 - chances would lose what is lacking to 1
