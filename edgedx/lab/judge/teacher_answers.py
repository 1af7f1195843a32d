"""What a run's teacher said to its data set, as the gate takes it. No model is loaded: the teacher kept its logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import ValidationError

from edgedx.core.errors import CheckpointError
from edgedx.core.files import read_json
from edgedx.core.settings.recipe import Recipe, Task
from edgedx.core.stats.cases import Answers, Cases, answers_of_logits
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.run.card import CARD, ModelCard
from edgedx.lab.run.stage import read_record
from edgedx.lab.train.short_figures import operating_points


def cases_of(part: Dataset, task: Task) -> Cases:
    """A split as the gate takes it."""
    return Cases(part.names, part.patients, part.labels, part.subgroups, task.kind, task.classes, task.positive)


def teacher_answers(recipe: Recipe, run: Path, data: Dataset, split: str, point: str) -> Answers:
    """What the run's teacher said to a split when it was finished, at its own operating point called `point`.

    Where the teacher stored no such point, it is chosen now, on its val logits.

    Raises
    ------
    CheckpointError
        It is missing, or answered another data set.
    """
    folder = run / "teacher"
    card = _card(folder)
    if (answered := read_record(folder)["inputs"].get("data")) != data.digest:
        raise CheckpointError(
            f"{folder} was trained on data set {str(answered)[:12]}, not on {data.digest[:12]}: no comparison",
            next_step="fine-tune again, or restore run/data",
        )
    try:
        with np.load(folder / "logits.npz", allow_pickle=False) as archive:
            logits = {name: archive[name] for name in ("val", split)}
    except (OSError, KeyError, ValueError, EOFError) as error:
        raise CheckpointError(f"{folder}/logits.npz cannot be read: {error}", next_step="fine-tune again") from error
    part = data.subset(split)
    if logits[split].shape != (len(part), len(recipe.task.classes)):
        raise CheckpointError(
            f"{folder}/logits.npz holds {logits[split].shape} logits for {len(part)} images of {split}",
            next_step="fine-tune again",
        )
    known = {one.name: one for one in card.operating_points}
    chosen = known.get(point)
    if chosen is None:
        asked = recipe.model_copy(update={"gate": recipe.gate.model_copy(update={"points": [point]})})
        (chosen,) = operating_points(asked, logits["val"], data.subset("val").labels, card.temperature)
    return answers_of_logits(cases_of(part, recipe.task), logits[split], card.temperature, chosen)


def _card(folder: Path) -> ModelCard:
    try:
        return ModelCard.model_validate(read_json(folder / CARD))
    except ValidationError as error:
        raise CheckpointError(
            f"{folder / CARD} is not a model card of this version", next_step="fine-tune again"
        ) from error
