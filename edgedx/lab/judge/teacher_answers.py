"""What a run's teacher said to its data set, as the gate takes it. No model is loaded: the teacher kept its logits."""

from __future__ import annotations

from edgedx.core.errors import CheckpointError
from edgedx.core.settings.recipe import Recipe
from edgedx.core.settings.recipe_sections import Task
from edgedx.core.stats.cases import Cases, Predictions, predictions_of_logits
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.run.run import Run
from edgedx.lab.train.short_figures import operating_points


def cases_of(part: Dataset, task: Task) -> Cases:
    """A split as the gate takes it."""
    return Cases(
        part.names, part.patients, part.labels, part.subgroups, task.kind, task.classes, task.positive, task.ordered
    )


def teacher_predictions(recipe: Recipe, run: Run, data: Dataset, split: str, point: str) -> Predictions:
    """What the run's teacher said to a split when it was finished, at its own operating point called `point`.

    Where the teacher stored no such point, it is chosen now, on its val logits.

    Raises
    ------
    CheckpointError
        It is missing, or answered another data set.
    """
    teacher = run.teacher
    card = teacher.card
    logits = teacher.logits("val", split, digest=data.digest)
    part = data.subset(split)
    if logits[split].shape != (len(part), len(recipe.task.classes)):
        raise CheckpointError(
            f"{teacher} has logits of shape {logits[split].shape} for {len(part)} images of {split}",
            next_step="fine-tune again",
        )
    known = {one.name: one for one in card.operating_points}
    chosen = known.get(point)
    if chosen is None:
        asked = recipe.model_copy(update={"gate": recipe.gate.model_copy(update={"points": [point]})})
        (chosen,) = operating_points(asked, logits["val"], data.subset("val").labels, card.temperature)
    return predictions_of_logits(cases_of(part, recipe.task), logits[split], card.temperature, chosen)
