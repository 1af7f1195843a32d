"""Figures of `benchmarks/modalities.py`: each model's answers are written once, as tables; figures come from these."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgedx.core.files import read_json, write_text
from edgedx.core.settings.recipe import Recipe
from edgedx.core.table import null_for_nan, plain_cell, read_table
from edgedx.lab.compress.control import FOLDER as CONTROL
from edgedx.lab.data.reading.rows import locate
from edgedx.lab.data.start.shortcuts import shortcuts_of_run
from edgedx.lab.evidence.compare.baselines import FOLDER as BASELINES
from edgedx.lab.evidence.compare.compare import compare
from edgedx.lab.evidence.compare.lineup import Lineup, line_up
from edgedx.lab.evidence.compare.significance import holm, two_sided
from edgedx.lab.evidence.robustness.files import REPORT as ROBUSTNESS
from edgedx.lab.judge.disparity import disparity
from edgedx.lab.judge.evaluation import evaluate
from edgedx.lab.judge.evaluation_files import predictions_csv
from edgedx.lab.judge.figures import figures_with_intervals
from edgedx.lab.judge.subject import open_subject
from edgedx.lab.run.device_build import CompiledVariant
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import RECORD, read_record

SHIPPED, TENSORRT, COMMITTEE = "int8-u8s8", "int8-trt", "committee"
FLOOR = "frozen-logistic"
CLASSICAL = ("pixels", "hog")
RESAMPLES = 1000
OVERALL = ("auc_roc", "balanced_accuracy", "accuracy", "ece", "brier")
KAPPA = "quadratic_kappa"
FIXED = ("sensitivity_at_specificity_0.90", "sensitivity_at_specificity_0.95")
QUESTIONS = {  # what is asked: the second less the first
    "teacher over the floor": (FLOOR, "teacher"),
    "INT8 over the floor": (FLOOR, SHIPPED),
    "INT8 over the best classical baseline": ("classical", SHIPPED),
    "INT8 over the teacher": ("teacher", SHIPPED),
    "committee over the teacher": ("teacher", COMMITTEE),
    "INT8 in TensorRT's scheme over the teacher": ("teacher", TENSORRT),
}
ALONE = {  # of the first seed or fold, the only one that these are trained for
    "student over the same without a teacher": ("without-teacher", "student"),
    "teacher over the same from random weights": ("from-scratch", "teacher"),
}
CORRECTED = ("teacher over the floor", "INT8 over the floor")
_Z = 1.959964


def variants(run: Run) -> dict[str, CompiledVariant]:
    """All that was compiled of a run's student, by name."""
    return {name: one for build in run.builds for name, one in build.variants.items()}


def _models(run: Run, scratch: Run) -> dict[str, Path]:
    """Name to path of every finished model that is judged."""
    found = {model.path.name: model.path for model in (run.teacher, run.student) if model.finished}
    if (run.student.path / CONTROL / RECORD).is_file():
        found["without-teacher"] = run.student.path / CONTROL
    if scratch.teacher.finished:
        found["from-scratch"] = scratch.teacher.path
    return found | {name: one.path for name, one in variants(run).items() if name.startswith("int8")}


def judge(run: Run, scratch: Run, others: Sequence[Run] = ()) -> None:
    """Write ``judged/NAME.csv`` of every model that has none, or an older one; `others` are of the committee."""
    for name, path in _models(run, scratch).items():
        table = run.path / "judged" / f"{name}.csv"
        record = path / RECORD if path.is_dir() else path.parent / RECORD
        if not table.is_file() or table.stat().st_mtime < record.stat().st_mtime:
            found = evaluate(open_subject(path), resamples=2)  # for the answers; figures come from the tables
            write_text(table, predictions_csv(found.asked.cases, found.answers))
    for other in others:
        judge(other, scratch=other)
    tables = [one.path / "judged" / "teacher.csv" for one in (run, *others)]
    if others and all(table.is_file() for table in tables):
        lineup = line_up(tables)
        mean = np.mean([one.probabilities for one in lineup.answers.values()], axis=0)
        likeliest = [lineup.cases.classes[index] for index in mean.argmax(axis=1)]
        together = replace(next(iter(lineup.answers.values())), probabilities=mean, decisions=likeliest)
        write_text(run.path / "judged" / f"{COMMITTEE}.csv", predictions_csv(lineup.cases, together))


def judged(run: Run) -> bool:
    """Whether a run's INT8 student has answered."""
    return (run.path / "judged" / f"{SHIPPED}.csv").is_file()


def _tables(run: Run) -> dict[str, Path]:
    of_models = {path.stem: path for path in sorted((run.path / "judged").glob("*.csv"))}
    return of_models | {path.parent.name: path for path in sorted((run.path / BASELINES).glob("*/test.csv"))}


def _best_classical(runs: list[Run]) -> str | None:
    """By the mean AUC on val; test chooses nothing."""
    areas: dict[str, list[float]] = {}
    for run in runs:
        for path in (run.path / BASELINES).glob(f"*/{RECORD}"):
            value = read_record(path.parent)["metrics"]["val"]["auc"]["value"]
            if path.parent.name.startswith(CLASSICAL) and value is not None:
                areas.setdefault(path.parent.name, []).append(value)
    return max(areas, key=lambda name: statistics.mean(areas[name]), default=None)


def of_set(recipe: Recipe, runs: list[Run], together: Path) -> dict[str, Any]:
    """Everything that is known of a set; folds are judged as one, seeds each by itself."""
    best = _best_classical(runs)
    folds = recipe.data.folds
    several = [_together(runs, together)] if folds else [_tables(run) for run in runs]
    groups = [_of_tables(recipe, tables, best) for tables in several]
    first = runs[0]
    found: dict[str, Any] = {
        "title": recipe.title,
        "task": recipe.task.kind,
        "classes": recipe.task.classes,
        "grouped_by": recipe.data.patient_column,
        "repeats": [int(run.name) for run in runs],
        "folds": folds,
        "images": groups[0]["images"],
        "groups": groups[0]["groups"],
        "best_classical": best,
        "results": groups,
        "summary": _summary(groups),
        "sizes": _sizes(first),
        "seconds": {stage: read_record(first.path / stage)["wall_seconds"] for stage in ("teacher", "student")},
        "epochs": _epochs(first),
        "shortcuts": shortcuts_of_run(first, first.recipe()).to_dict(),
    }
    tables = {
        name: path for name, path in _tables(first).items() if name in {one for two in ALONE.values() for one in two}
    }
    if len(tables) > 2:
        found["alone"] = _differences(line_up(list(tables.values())), None, ALONE)
    if (first.path / "bench.json").is_file():
        found["bench"] = _bench(read_json(first.path / "bench.json"))
    if (first.path / ROBUSTNESS).is_file():
        found["robustness"] = _robustness(read_json(first.path / ROBUSTNESS))
    return found


def _together(runs: list[Run], folder: Path) -> dict[str, Path]:
    """The tables of all folds as one, for models that all folds have."""
    several = [_tables(run) for run in runs]
    found = {}
    for name in set.intersection(*(set(tables) for tables in several)):
        lines: list[str] = []
        for tables in several:
            header, *rows = tables[name].read_text(encoding="utf-8").splitlines()
            lines += [*([] if lines else [header]), *rows]
        found[name] = folder / f"{name}.csv"
        write_text(found[name], "\n".join(lines) + "\n")
    return found


def _of_tables(recipe: Recipe, tables: dict[str, Path], best: str | None) -> dict[str, Any]:
    wanted = [name for name in tables if not name.startswith((*CLASSICAL, "frozen")) or name in (FLOOR, best)]
    lineup = line_up([tables[name] for name in wanted])
    parts = _subgroups(recipe)
    groups = [parts.get(name, {}) for name in lineup.cases.names]
    cases = replace(lineup.cases, subgroups=groups, ordered=recipe.task.ordered)
    subjects: dict[str, Any] = {}
    for name, answers in lineup.answers.items():
        figures = figures_with_intervals(cases, answers, resamples=RESAMPLES)
        own = {key: figures.overall[key].to_dict() for key in (*OVERALL, KAPPA) if key in figures.overall}
        judged_classes = [cases.positive] if cases.positive else list(cases.classes)
        for key in FIXED:
            own[key] = statistics.mean(figures.classes[one][key].value for one in judged_classes)
        own["sensitivity"] = {one: null_for_nan(figures.classes[one]["sensitivity"].value) for one in cases.classes}
        own["support"] = figures.support
        subjects[name] = own
    gaps = {name: _gaps(disparity(cases, lineup.answers[name], resamples=2).to_dict()["subgroups"])
            for name in ("teacher", SHIPPED) if parts}  # fmt: skip
    return {
        "images": len(cases),
        "groups": len(set(cases.patients)),
        "subjects": subjects,
        "differences": _differences(lineup, best),
        "subgroup_gaps": {
            column: {"teacher": gap, "INT8": gaps[SHIPPED][column], "widened": gaps[SHIPPED][column] - gap}
            for column, gap in gaps.get("teacher", {}).items()
            if column in gaps[SHIPPED]
        },
    }


def _subgroups(recipe: Recipe) -> dict[str, dict[str, str]]:
    """Image to its values of the recipe's subgroup columns; of columns that follow from the class nothing is asked."""
    data = recipe.data
    columns = [name for name in data.subgroup_columns if name not in ("subtype", "license", "source_url")]
    if not columns:
        return {}
    rows, _ = read_table(locate(str(data.path)) / data.csv)
    return {plain_cell(row[data.image_column]): {name: row[name] or "" for name in columns} for row in rows}


def _gaps(subgroups: list[dict[str, Any]]) -> dict[str, float]:
    """By column, the AUC of the best subgroup less that of the worst."""
    areas: dict[str, list[float]] = {}
    for one in subgroups:
        if one["auc_roc"]["value"] is not None and one["value"] not in ("", "(empty)", "unknown"):
            areas.setdefault(one["column"], []).append(one["auc_roc"]["value"])
    return {column: max(values) - min(values) for column, values in areas.items() if len(values) > 1}


def _differences(
    lineup: Lineup, best: str | None, questions: Mapping[str, tuple[str, str]] = QUESTIONS
) -> dict[str, Any]:
    """AUC of the second less the first, 95 % interval by bootstrap over groups, and p: of two classes by DeLong's test
    over groups (Obuchowski 1997), of more by the normal approximation of that bootstrap, since the macro mean has no
    DeLong test."""
    found: dict[str, Any] = {}
    for question, (first, second) in questions.items():
        first = best or "" if first == "classical" else first
        if first not in lineup.answers or second not in lineup.answers:
            continue
        two = replace(lineup, answers={name: lineup.answers[name] for name in (first, second)})
        (pair,) = compare(two, baseline=first, resamples=RESAMPLES).pairs
        tests = [one for one in pair.tests if one.of == "ranking"]
        spread = (pair.auc.high - pair.auc.low) / (2 * _Z)
        p = tests[0].p if len(tests) == 1 else two_sided(pair.auc.value / spread) if spread > 0 else float("nan")
        found[question] = {"first": first, "second": second, **pair.auc.to_dict(), "p": null_for_nan(p)}
    return found


def correct(sets: dict[str, Any]) -> None:
    """Holm's correction over the sets; of several seeds the one with the middle p counts."""
    for question in CORRECTED:
        values = {}
        for name, own in sets.items():
            several = [one["differences"][question]["p"] for one in own["results"] if question in one["differences"]]
            if several and None not in several:
                values[name] = statistics.median_high(several)
        for name, p in zip(values, holm(list(values.values())), strict=True):
            sets[name].setdefault("p_holm", {})[question] = p


def _summary(groups: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each subject's figures mean, least and greatest over seeds."""
    found: dict[str, Any] = {}
    for name in groups[0]["subjects"]:
        having = [one["subjects"][name] for one in groups if name in one["subjects"]]
        found[name] = {
            key: _spread([one[key] if key in FIXED else one[key]["value"] for one in having])
            for key in (*OVERALL, KAPPA, *FIXED)
            if key in having[0]
        }
    return found


def _spread(values: list[float | None]) -> dict[str, float | None]:
    known = [value for value in values if value is not None]
    if not known:
        return {"mean": None, "least": None, "greatest": None}
    return {"mean": statistics.mean(known), "least": min(known), "greatest": max(known)}


def _sizes(run: Run) -> dict[str, Any]:
    student = read_record(run.student.path)["metrics"]
    return {
        "teacher_macs": student["teacher_macs"],
        "student_macs": student["macs"],
        "bytes": {name: one.path.stat().st_size for name, one in variants(run).items()},
    }


def _epochs(run: Run) -> dict[str, Any]:
    recipe = run.recipe()
    return {
        "teacher": [recipe.train.frozen_epochs, recipe.train.epochs],
        "student": recipe.student.epochs,
        "size": list(recipe.preprocess.size),
    }


def _bench(found: dict[str, Any]) -> dict[str, Any]:
    times = {row["name"]: row["p50_ms"] for row in found["rows"]}
    return {
        "machine": found["machine"],
        "p50_ms": times,
        "megabytes": {r["name"]: r["megabytes"] for r in found["rows"]},
    }


def _robustness(found: dict[str, Any]) -> dict[str, Any]:
    return {
        model["name"]: {
            "clean_auc": model["clean"]["auc"]["value"],
            "mean_auc": model["mean_auc"],
            "worst": {
                name: min(one["auc"]["value"] for one in several) for name, several in model["corrupted"].items()
            },
            "foreign_auroc": {
                name: one.get("mahalanobis", one["energy"])["auroc"] for name, one in model["foreign"].items()
            },
        }
        for model in found["models"]
    }
