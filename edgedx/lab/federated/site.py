"""What one hospital does: it trains what it is sent on its own images, and judges it on its own test images.

All training is `lab.train.loop.fit`, one call a round.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgedx.core.errors import DataError
from edgedx.core.progress import tell
from edgedx.core.settings.recipe import Recipe
from edgedx.core.stats.metrics import fit_temperature
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.data.predict import predict
from edgedx.lab.feed.targets import class_weights
from edgedx.lab.network.checkpoint import load_state, save_state
from edgedx.lab.network.torch_runner import TorchRunner
from edgedx.lab.train.loop import fit
from edgedx.lab.train.phase import Phase, Training
from edgedx.lab.train.short_figures import operating_points, summary
from edgedx.lab.train.tasks import Classify, TrainingTask
from edgedx.lab.update.elastic import Elastic, anchor_of

from .start import empty_model
from .weights import load_into, local_names, shared_names, tensors_of

SETTLED_STEPS = 20
"""Of a site, before its batch-norm statistics are fixed; after 4 a network from random weights came out constant."""
LOCAL = "local.safetensors"
"""What stays at a site, kept between rounds and over a restart."""


class Site:
    """A hospital's images, and what of the model stays with them.

    Parameters
    ----------
    data : Dataset
        With train, val and test; nothing of it leaves but what `train` and `judge` return.
    folder : Path, optional
        Where the part of the model that stays here is kept.

    Raises
    ------
    DataError
        A split is empty.
    """

    def __init__(self, name: str, recipe: Recipe, data: Dataset, folder: Path | None = None) -> None:
        self.name, self.recipe, self.data = name, recipe, data
        self.parts = {split: data.subset(split) for split in ("train", "val", "test")}
        if empty := [split for split, part in self.parts.items() if not len(part)]:
            raise DataError(
                f"site {name} has no images in {' and '.join(empty)}",
                next_step="give it more patients, or leave it out",
            )
        self.model = empty_model(recipe)
        self.local_names = local_names(self.model, recipe.federated)
        self.kept = folder / LOCAL if folder is not None else None
        self.local: dict[str, Tensor] | None = None
        self.history: list[dict[str, Any]] = []
        if self.kept is not None and self.kept.is_file():
            self.local = load_state(self.kept)[0]

    def forget(self) -> None:
        """Remove what was kept of an earlier federation."""
        self.local = None
        if self.kept is not None:
            self.forget_in(self.kept.parent)

    @staticmethod
    def forget_in(folder: Path) -> None:
        """The same, of a site that is no more."""
        if (folder / LOCAL).is_file():
            (folder / LOCAL).unlink()
            with suppress(OSError):  # something else is in it
                folder.rmdir()

    @property
    def shared(self) -> list[str]:
        """Names of what travels."""
        return shared_names(self.model, self.recipe.federated)

    def train(self, sent: Mapping[str, Tensor], number: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """One round: take what was sent, train on the images of here, return what travels and what is told of it.

        Parameters
        ----------
        sent : mapping of str to Tensor
            All of the model; layers that stay here are taken from it once, so that all sites begin alike.
        number : int
            Of the round, from 1.
        """
        options, own = self.recipe.train, self.recipe.federated
        recipe = self.recipe.model_copy(
            update={"train": options.model_copy(update={"seed": options.seed * 1000 + number, "patience": 0})}
        )
        self._become(sent, self.local)
        part = part_of(number, own.rounds)
        fixed = part[0] >= 1 - own.fixed_statistics and not self.local_names
        phases = [Phase("all layers", own.epochs, options.learning_rate, part=part, fixed_statistics=fixed)]
        if number == 1 and options.frozen_epochs and self.recipe.model.weights != "none":
            phases.insert(0, Phase("new head", options.frozen_epochs, options.frozen_learning_rate, frozen=True))
        train = self.parts["train"]
        steps = (number - 1) * own.epochs * max(1, len(train) // options.batch_size)
        if fixed and steps < SETTLED_STEPS and own.rounds * (1 - own.fixed_statistics) > number - 2:  # the first such
            tell(
                f"{self.name}: batch-norm statistics are fixed after {steps} steps here, which may be too few for them "
                "to settle; more rounds, or federated.fixed_statistics: 0"
            )
        title = f"{self.name}, round {number}"
        outcome = fit(Training(self.model, self._task(), train, self.parts["val"], recipe, phases, title=title))
        self.model.to("cpu")
        now = tensors_of(self.model)
        self.local = {name: now[name].detach().clone() for name in self.local_names}
        if self.kept is not None and self.local:
            save_state(self.kept, self.local, {"round": number})
        self.history += [{**line, "phase": f"round {number}: {line['phase']}"} for line in outcome.history]
        last = outcome.history[-1]
        told = {"images": len(train), "loss": last["loss"], "val_loss": last["val_loss"], "val_auc": last["val_auc"]}
        return {name: now[name].detach().clone() for name in self.shared}, told

    def judge(self, sent: Mapping[str, Tensor]) -> dict[str, Any]:
        """Figures on the test images of here: of what was sent and, where layers stay here, of the model with those."""
        figures = {"": self._figures(sent, None)}
        if self.local:
            figures["own_"] = self._figures({name: sent[name] for name in self.shared}, self.local)
        told: dict[str, Any] = {"images": len(self.parts["test"]), "patients": len(set(self.parts["test"].patients))}
        for prefix, auc in figures.items():
            told |= {f"{prefix}{key}": math.nan if auc[key] is None else float(auc[key]) for key in auc}
        return told

    def finished(self, sent: Mapping[str, Tensor]) -> nn.Module:
        """The model for the patients of here: what was sent, with the layers that stayed."""
        own = self.local or {}
        self._become({name: value for name, value in sent.items() if name not in own}, own)
        return self.model.eval()

    def _become(self, sent: Mapping[str, Tensor], local: Mapping[str, Tensor] | None) -> None:
        load_into(self.model, sent)
        if local:
            load_into(self.model, local)

    def _figures(self, sent: Mapping[str, Tensor], local: Mapping[str, Tensor] | None) -> dict[str, float | None]:
        """AUC on test with its interval over patients; None where one class is not there."""
        self._become(sent, local)
        self.model.eval()
        logits = {
            split: predict(TorchRunner(self.model), self.parts[split], self.recipe.preprocess)
            for split in ("val", "test")
        }
        return auc_with_interval(self.recipe, logits, self.parts["val"].labels, self.parts["test"])

    def _task(self) -> TrainingTask:
        options, own = self.recipe.train, self.recipe.federated
        weights = None
        if options.imbalance == "loss":
            # A class that hardly stands at this site has no say of its own, where `class_weights` would give it all.
            weights = np.minimum(class_weights(self.parts["train"], self.recipe.task), 20.0).astype(np.float32)
        labels = Classify(self.recipe.task, weights, options.label_smoothing)
        if own.method != "fedprox":
            return labels
        # FedProx is elastic weight consolidation that holds every weight alike.
        return Elastic(
            labels, anchor_of(self.model), {n: torch.ones(()) for n in anchor_of(self.model)}, own.proximal_weight
        )


def part_of(number: int, rounds: int) -> tuple[float, float]:
    """Where a round lies in the one schedule of all of them: a learning rate that began anew each time would undo what
    sites have in common already."""
    return (number - 1) / rounds, number / rounds


def auc_with_interval(
    recipe: Recipe, logits: Mapping[str, np.ndarray], val_labels: np.ndarray, test: Dataset
) -> dict[str, float | None]:
    """AUC, low and high on a part, as every report of edgedx gives it."""
    kind = recipe.task.kind
    if kind != "multilabel" and len(set(test.labels.tolist())) < 2:
        return {"auc": None, "low": None, "high": None}
    temperature = fit_temperature(logits["val"], val_labels, kind)
    point = operating_points(recipe, logits["val"], val_labels, temperature)[0]
    auc = summary(recipe.task, logits["test"], test.labels, test.patients, temperature, point)["auc"]
    return {"auc": auc["value"], "low": auc["low"], "high": auc["high"]}
