"""Quantization-aware training: the exported graph itself is trained while it rounds, distilled from the teacher."""

from __future__ import annotations

import copy
from pathlib import Path

from edgedx.core.settings.recipe import Recipe
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.network.checkpoint import Checkpoint
from edgedx.lab.network.column_head import ColumnHead, WithColumns
from edgedx.lab.train.distil import Distil
from edgedx.lab.train.loop import fit
from edgedx.lab.train.phase import Outcome, Phase, Training
from edgedx.lab.train.tasks import Classify

from .graph_torch import GraphModule
from .onnx_graph import with_weights
from .workbench import QuantizedModel, Workbench


def train_aware(
    bench: Workbench,
    start: QuantizedModel,
    teacher: Checkpoint,
    train: Dataset,
    state: Path,
    head: ColumnHead | None = None,
) -> tuple[QuantizedModel, Outcome]:
    """Train `start` on, with its layers, ranges and kept-float nodes, and write it again as it then is.

    Ranges follow the activations for the first half of the steps and stand still for the second.

    Parameters
    ----------
    state : Path
        Training state; where it exists, training goes on from there, and the weights come out the same.
    head : ColumnHead, optional
        Of the columns; it answers along and stays as it is, because it is not rounded.

    Raises
    ------
    UnsupportedModel
        The graph has an operator that `GraphModule` does not know.
    """
    recipe = gentle(bench.recipe)
    phase = Phase("quantization-aware", recipe.quantize.qat_epochs, recipe.quantize.qat_learning_rate)
    steps = phase.length(max(1, len(train) // recipe.train.batch_size))
    extremes = {name: (found.low, found.high) for name, found in bench.observed.histograms.items()}
    model = GraphModule(start.base, start.plan, extremes=extremes, follow=steps // 2)
    task = Distil(
        copy.deepcopy(teacher.model),  # the loop moves it to a GPU where there is one
        Classify.of(recipe, train),
        temperature=recipe.student.temperature,
        weight=recipe.student.distill_weight,
    )
    whole = model if head is None else WithColumns(model, head.fixed())
    outcome = fit(
        Training(whole, task, train, bench.val, recipe, [phase], title="rounding", alone=True),
        state=state,
        resume=True,
        keep_state=True,
    )
    model.to("cpu").eval()
    base = with_weights(start.base, model.weights())
    plan = start.plan.with_ranges(model.ranges())
    return bench.candidate(plan, start.calibrator, "training", base), outcome


def gentle(recipe: Recipe) -> Recipe:
    """The recipe for a network that has only to get used to rounding: in FP32, all layers at the same small rate."""
    changes = {"layer_decay": 1.0, "precision": "fp32", "patience": 0, "weight_decay": 0.0}
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=changes)})
