"""Cross-validation: each fold an ordinary run in a process of its own, then every image judged by a model that never
saw its patient."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgedx.core.errors import UsageError
from edgedx.core.files import write_json, write_text
from edgedx.core.settings.recipe import Recipe
from edgedx.core.stats.cases import Cases, Predictions
from edgedx.core.stats.resample import RESAMPLES
from edgedx.lab.judge.evaluation import Evaluation, evaluate
from edgedx.lab.judge.evaluation_files import predictions_csv
from edgedx.lab.judge.figures import Figures, figures_with_intervals
from edgedx.lab.judge.subject import open_subject
from edgedx.lab.launch.launch import launch, launcher_on
from edgedx.lab.launch.local import gpus_here
from edgedx.lab.launch.unit import Unit
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import machine, versions

FOLDS, REPORT = "folds", "crossval.json"
SHOWN = ("auc_roc", "accuracy", "balanced_accuracy", "macro_sensitivity", "macro_specificity", "macro_f1", "ece")
"""Figures whose mean and spread over folds are told."""


@dataclass(frozen=True)
class CrossValidation:
    """What a cross-validation does.

    Attributes
    ----------
    compress, int8 : bool
        Make the student of each fold too, and its INT8 form.
    device : str
        Profile that it is made for.
    jobs : int
        Folds at the same time on this machine, each a process; 0: one for each GPU, without GPUs one for two cores.
    on : str
        Where they run (`launch.launcher_on`).
    cores : int
        That each takes on a cluster.
    """

    recipe: Recipe
    out: Path
    folds: int
    compress: bool = False
    int8: bool = False
    device: str = "this"
    jobs: int = 0
    on: str = "local"
    cores: int = 4

    def run(self, fold: int) -> Path:
        """The run folder of a fold."""
        return self.out / FOLDS / f"fold-{fold}"

    def commands(self, fold: int, recipe: Path) -> list[list[str]]:
        """The commands of a fold, as a user would give them; finished stages are not repeated."""
        edgedx, run = [sys.executable, "-m", "edgedx"], str(self.run(fold))
        of_folds = ["--set", f"data.folds={self.folds}", "--set", f"data.fold={fold}"]
        results = [[*edgedx, "finetune", str(recipe), "--out", run, *of_folds, "--resume"]]
        if self.compress:
            int8 = "--int8" if self.int8 else "--no-int8"
            results.append([*edgedx, "compress", run, int8, "--device", self.device, "--resume"])
        return results


def crossval(plan: CrossValidation, *, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Train what is not yet trained, judge, write ``crossval.json`` and the answers, and return the report.

    Raises
    ------
    UsageError
        `plan.out` holds folds of another number.
    InputOutputError
        A fold failed; the others are finished, and kept.
    """
    if len(list((plan.out / FOLDS).glob("fold-*"))) > plan.folds:
        raise UsageError(f"{plan.out} holds more than {plan.folds} folds", next_step="name another --out")
    recipe = Run(plan.out).keep_recipe(plan.recipe)
    begun = time.monotonic()
    _train(plan, recipe)
    report = _judge(plan, resamples)
    report["wall_seconds"] = round(time.monotonic() - begun, 1)
    write_json(plan.out / REPORT, report)
    return report


def _train(plan: CrossValidation, recipe: Path) -> None:
    units = [
        Unit(f"fold {fold}", plan.run(fold), tuple(map(tuple, plan.commands(fold, recipe))))
        for fold in range(plan.folds)
    ]
    launch(units, launcher_on(plan.on, jobs=plan.jobs, gpus=gpus_here(), cores=plan.cores), "training folds")


def subjects_of(run: Path) -> Iterator[tuple[str, Path]]:
    """Name and path of every model of a fold that is worth judging; FP32 in ONNX is the student once more."""
    for model in (Run(run).teacher, Run(run).student):
        if model.finished:
            yield model.path.name, model.path
    for build in Run(run).builds:
        for variant in build.variants.values():
            if variant.entry["precision"] == "int8":
                yield variant.name, variant.here().path


def _judge(plan: CrossValidation, resamples: int) -> dict[str, Any]:
    results: dict[str, list[Evaluation]] = {}
    for fold in range(plan.folds):
        for name, path in subjects_of(plan.run(fold)):
            results.setdefault(name, []).append(evaluate(open_subject(path), resamples=resamples))
    results = {name: of_folds for name, of_folds in results.items() if len(of_folds) == plan.folds}
    subjects: dict[str, Any] = {}
    for name, of_folds in results.items():
        cases, answers = pooled(of_folds)
        _write_answers(plan.out / f"out-of-fold-{name}.csv", of_folds)
        subjects[name] = _spread([one.figures for one in of_folds]) | {
            "pooled": figures_with_intervals(cases, answers, resamples=resamples).to_dict()
        }
    return {
        "schema_version": 1,
        "recipe": plan.recipe.name,
        "synthetic": plan.recipe.synthetic,
        "folds": plan.folds,
        "grouped_by": "patient" if plan.recipe.data.patient_column else "image",
        "machine": machine(),
        "versions": versions(),
        "subjects": subjects,
        "against_teacher": {
            name: _differences([one.figures for one in results["teacher"]], [one.figures for one in of_folds])
            for name, of_folds in results.items()
            if name != "teacher"
        },
    }


def pooled(folds: Sequence[Evaluation]) -> tuple[Cases, Predictions]:
    """The test images of all folds as one set, each answered by the model of its fold."""
    cases, answers = [one.asked.cases for one in folds], [one.answers for one in folds]
    return (
        replace(
            cases[0],
            names=[name for one in cases for name in one.names],
            patients=[patient for one in cases for patient in one.patients],
            labels=np.concatenate([one.labels for one in cases]),
            subgroups=[group for one in cases for group in one.subgroups],
        ),
        replace(
            answers[0],
            probabilities=np.concatenate([one.probabilities for one in answers]),
            scores=np.concatenate([one.scores for one in answers]),
            decisions=[decision for one in answers for decision in one.decisions],
        ),
    )


def _write_answers(path: Path, folds: Sequence[Evaluation]) -> None:
    """As `evaluation.predictions_csv`, with the fold in front."""
    lines = []
    for fold, one in enumerate(folds):
        header, *rows = predictions_csv(one.asked.cases, one.answers).splitlines()
        lines += ([f"fold,{header}"] if fold == 0 else []) + [f"{fold},{row}" for row in rows]
    write_text(path, "\n".join(lines) + "\n")


def _spread(folds: Sequence[Figures]) -> dict[str, Any]:
    values = {name: [one.overall[name].value for one in folds] for name in SHOWN}
    for name in folds[0].classes:
        values[f"sensitivity of {name}"] = [one.classes[name]["sensitivity"].value for one in folds]
    return {
        "by_fold": values,
        "mean": {name: statistics.mean(of_folds) for name, of_folds in values.items()},
        "sd": {name: statistics.stdev(of_folds) for name, of_folds in values.items()},
    }


def _differences(teacher: Sequence[Figures], other: Sequence[Figures]) -> dict[str, Any]:
    """Mean and spread over folds of the other's figure less the teacher's."""
    results = {}
    for name in SHOWN[:2]:
        gaps = [two.overall[name].value - one.overall[name].value for one, two in zip(teacher, other, strict=True)]
        results[name] = {"by_fold": gaps, "mean": statistics.mean(gaps), "sd": statistics.stdev(gaps)}
    return results
