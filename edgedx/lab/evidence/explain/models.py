"""A model as methods of explanation ask it: a black box, and, of a checkpoint, torch cut at its last feature map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgedx.core.errors import UsageError
from edgedx.core.preprocess import Canvas, normalise
from edgedx.core.stats.cases import calibrated_probabilities
from edgedx.core.stats.points import label_at
from edgedx.device.runtime.runner import Runner
from edgedx.lab.judge.subject import Subject
from edgedx.lab.run.card import CARD

_BATCH = 64


@dataclass(frozen=True)
class Explainable:
    """An opened model.

    Attributes
    ----------
    name : str
        Short, and no other model's of this call.
    runner : Runner
        Active. Columns beside the image count as absent.
    cut : Cut or None
        The network in torch (see `explain_torch`); None of a graph, which has no gradients.
    """

    name: str
    subject: Subject
    runner: Runner
    cut: Any = None

    def _logits(self, canvases: Canvas) -> np.ndarray:
        return self.runner.infer(self.inputs(canvases)).logits

    def margins(self, canvases: Canvas) -> np.ndarray:
        """What is explained, (N, K): logits, less their mean where softmax would not see what all classes share."""
        logits = self._logits(canvases).astype(np.float64)
        return logits if self.subject.task == "multilabel" else logits - logits.mean(axis=1, keepdims=True)

    def probabilities(self, canvases: Canvas) -> np.ndarray:
        """Calibrated probabilities, (N, K)."""
        logits = [self._logits(canvases[at : at + _BATCH]) for at in range(0, len(canvases), _BATCH)]
        return calibrated_probabilities(np.concatenate(logits), self.subject.task, self.subject.temperature)

    def inputs(self, canvases: Canvas) -> np.ndarray:
        """Network inputs, (N, C, H, W) float32."""
        return normalise(canvases, self.subject.preprocess)


@contextmanager
def opened(subjects: Sequence[Subject], device: str = "cpu") -> Iterator[list[Explainable]]:
    """Open all models; the first is the reference that the others are compared with.

    Raises
    ------
    UsageError
        They do not answer the same question about the same images.
    """
    first = subjects[0]
    for other in subjects[1:]:
        same = (first.task, first.classes, first.preprocess.digest())
        if (other.task, other.classes, other.preprocess.digest()) != same:
            raise UsageError(
                f"{other.path} has other classes, or sees images otherwise, than {first.path}",
                next_step="explain them one by one",
            )
    with ExitStack() as stack:
        yield [
            Explainable(name, subject, stack.enter_context(subject.runner), _cut(subject, device))
            for name, subject in zip(_names(subjects), subjects, strict=True)
        ]


def _cut(subject: Subject, device: str) -> Any:
    if not (subject.path / CARD).is_file():
        return None
    from edgedx.lab.network.checkpoint import load_checkpoint
    from edgedx.lab.network.column_head import image_part

    from .cut import Cut

    model = image_part(load_checkpoint(subject.path).model)
    return Cut(model, subject.task, subject.preprocess.input_shape).to(device).eval()


def _names(subjects: Sequence[Subject]) -> list[str]:
    """teacher, student; with the run before it where two are called the same, with a number where that is no help."""
    short = [subject.name for subject in subjects]
    long = [
        f"{subject.run.name}/{subject.name}" if subject.run is not None and short.count(subject.name) > 1 else name
        for subject, name in zip(subjects, short, strict=True)
    ]
    return [f"{name} ({1 + long[:position].count(name)})" if long.count(name) > 1 else name
            for position, name in enumerate(long)]  # fmt: skip


def classes_to_explain(model: Explainable, probabilities: np.ndarray, wanted: str | None) -> np.ndarray:
    """The class of each image, (N,) int64: `wanted`, else what `model` decides at its first operating point.

    Of several findings at once it is the likeliest that was decided for, else the likeliest.
    """
    subject = model.subject
    if wanted is not None:
        return np.full(len(probabilities), subject.classes.index(wanted))
    chosen = []
    for row in probabilities:
        decision = label_at(subject.task, subject.classes, subject.positive, subject.points[0].threshold, row).split(
            "|"
        )
        decided = [index for index, name in enumerate(subject.classes) if name in decision] or range(
            len(subject.classes)
        )
        chosen.append(max(decided, key=lambda index: row[index]))
    return np.array(chosen, np.int64)
