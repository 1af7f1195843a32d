"""May the updated model replace the deployed one? On old images, on new ones, at each site, and by subgroup."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np

from edgedx.core.settings.recipe import Recipe
from edgedx.core.stats.cases import Cases, Predictions, predictions_of_logits
from edgedx.core.stats.gate import GateCheck, Verdict, judge
from edgedx.core.stats.metrics import Interval
from edgedx.core.stats.paired import MIN_OF_A_CLASS
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.data.predict import predict
from edgedx.lab.judge.gate import limits_of_recipe
from edgedx.lab.judge.teacher_answers import cases_of
from edgedx.lab.run.device_build import CompiledVariant

from .combine import SINCE, SITE, is_new
from .fairness import Fairness, fairness

SPLIT = "test"
"""Judged on: no weight, threshold or temperature of either model was fitted on it."""
OLD, NEW = "the old images", "the new images"


@dataclass(frozen=True)
class UpdateVerdict:
    """What is decided, and the figures it rests on.

    Attributes
    ----------
    parts : dict of str to Verdict
        By what was judged on: old images, new images.
    sites : list of dict
        Each clinic's figures, or why it was not judged and how many images are missing.
    """

    parts: Mapping[str, Verdict]
    sites: list[dict[str, Any]]
    fairness: Fairness
    gaps: list[GateCheck]
    against: str

    @property
    def failed(self) -> list[str]:
        """Sentences of what did not hold."""
        of_parts = [check.sentence for part in self.parts.values() for check in part.checks if not check.passed]
        return [*of_parts, *(check.sentence for check in self.gaps if not check.passed)]

    @property
    def passed(self) -> bool:
        """Whether it may ship."""
        return not self.failed

    @property
    def sentence(self) -> str:
        """Plain: what was lost and won, or what did not hold."""
        if not self.passed:
            return "; ".join(self.failed)
        told = [f"{_change(self.change(name))} AUC on {name}" for name in self.parts]
        return f"against {self.against} the updated model {' and '.join(told)}; no check said no"

    def change(self, name: str) -> Interval | None:
        """AUC won on a part (negative: lost), from paired resamples of patients; None where nothing was judged."""
        comparison = self.parts[name].comparison
        if comparison is None:
            return None
        drop = comparison.whole.auc.drop
        return _negative(drop)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        old, new = self.change(OLD), self.change(NEW)
        return {
            "schema_version": 1,
            "passed": self.passed,
            "sentence": self.sentence,
            "against": self.against,
            "split": SPLIT,
            "forgetting": None if old is None else _negative(old).to_dict(),
            "gain": None if new is None else new.to_dict(),
            "parts": {name: part.to_dict() for name, part in self.parts.items()},
            "sites": self.sites,
            "fairness": {**self.fairness.to_dict(), "checks": [_plain(one) for one in self.gaps]},
        }


def _plain(check: GateCheck) -> dict[str, Any]:
    return {"name": check.name, "passed": check.passed, "sentence": check.sentence}


def _change(change: Interval | None) -> str:
    if change is None:
        return "is not judged by"
    return f"gains {change}" if change.value >= 0 else f"loses {_negative(change)}"


def _negative(one: Interval) -> Interval:
    """A loss as a gain, or the other way round; 0 stays 0 without a sign."""
    return Interval(0.0 - one.value, 0.0 - one.high, 0.0 - one.low)


def judge_update(
    recipe: Recipe, data: Dataset, deployed: CompiledVariant, updated: CompiledVariant, *, against: str
) -> UpdateVerdict:
    """Ask both, as they serve, every image of the update's test split, and decide.

    Parameters
    ----------
    against : str
        What the deployed model is called in sentences.
    """
    part = data.subset(SPLIT)
    new = is_new(part, recipe.version)
    cases = cases_of(part, recipe.task)
    before, after = (_answers(recipe, part, cases, variant) for variant in (deployed, updated))
    return decide(recipe, cases, new, before, after, against=against, ran=f"variant {updated.name}, ONNX Runtime")


def decide(
    recipe: Recipe,
    cases: Cases,
    new: np.ndarray,
    before: Predictions,
    after: Predictions,
    *,
    against: str = "the deployed model",
    ran: str = "",
) -> UpdateVerdict:
    """The decision on answers of both models.

    Parameters
    ----------
    new : ndarray of shape (N,), bool
        Which images came with the update.
    """
    limits = limits_of_recipe(recipe)
    parts = {
        name: judge(
            taken,
            _take(before, rows),
            _take(after, rows),
            limits,
            where=name,
            subject="the updated model",
            reference=against,
            ran=ran,
        )
        for name, rows in ((OLD, np.flatnonzero(~new)), (NEW, np.flatnonzero(new)))
        for taken in [_without(_cases(cases, rows), SINCE)]
    }
    fair = fairness(_without(cases, SINCE), before, after)
    gaps = fair.checks(recipe.update.max_gap_widening)
    return UpdateVerdict(
        parts, _sites(_cases(cases, np.flatnonzero(new)), parts[NEW], recipe.update.judge_share), fair, gaps, against
    )


def _answers(recipe: Recipe, part: Dataset, cases: Cases, variant: CompiledVariant) -> Predictions:
    logits = predict(OnnxRunner(variant.here().path, fused=variant.fused), part, recipe.preprocess)
    return predictions_of_logits(cases, logits, variant.temperature, variant.points[0])


def _cases(cases: Cases, rows: np.ndarray) -> Cases:
    return replace(
        cases,
        names=[cases.names[row] for row in rows],
        patients=[cases.patients[row] for row in rows],
        labels=np.asarray(cases.labels)[rows],
        subgroups=[cases.subgroups[row] for row in rows],
    )


def _take(answers: Predictions, rows: np.ndarray) -> Predictions:
    return replace(
        answers,
        probabilities=answers.probabilities[rows],
        scores=answers.scores[rows],
        decisions=[answers.decisions[row] for row in rows],
    )


def _without(cases: Cases, column: str) -> Cases:
    groups = [{name: value for name, value in one.items() if name != column} for one in cases.subgroups]
    return replace(cases, subgroups=groups)


def _sites(new: Cases, verdict: Verdict, share: float) -> list[dict[str, Any]]:
    """Each clinic of the new images: judged as a subgroup of them, or how many images it lacks."""
    comparison = verdict.comparison
    judged = {one.value: one for one in comparison.subgroups if one.column == SITE} if comparison else {}
    of_images = np.array([group.get(SITE, "") for group in new.subgroups])
    names = sorted(set(of_images.tolist()))
    if comparison and len(names) == 1:
        judged[names[0]] = comparison.whole
    failed = {check.name: check.sentence for check in verdict.checks if not check.passed}
    rows = []
    for name in names:
        here = of_images == name
        one: dict[str, Any] = {"site": name, "images": int(here.sum())}
        if name in judged:
            figure = judged[name].auc
            one |= {"auc": figure.to_dict(), "passed": f"subgroup {SITE} {name}" not in failed}
        else:
            one |= {"auc": None, "passed": None, "why": _too_few(new, here, share)}
        rows.append(one)
    return rows


def _too_few(new: Cases, here: np.ndarray, share: float) -> str:
    """How many answers a clinic lacks to be judged by itself, of the class that it has fewest of."""
    labels = np.asarray(new.labels)
    of_class = [labels[:, k] == 1 if new.task == "multilabel" else labels == k for k in range(len(new.classes))]
    counts = [int((rows & here).sum()) for rows in of_class]
    fewest = int(np.argmin(counts))
    more = ceil(max(MIN_OF_A_CLASS - counts[fewest], 1) / share)
    return (
        f"{counts[fewest]} images of {new.classes[fewest]} to judge on, {MIN_OF_A_CLASS} needed: about {more} more "
        "answers of it"
    )
