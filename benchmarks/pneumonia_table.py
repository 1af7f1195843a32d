"""PneumoniaMNIST, official test set: every figure of teacher, INT8 student and classical baselines, with p-values.

    python benchmarks/pneumonia_table.py --runs runs/benchmark/seed-0 runs/benchmark/seed-1 runs/benchmark/seed-2

Each run is a finished one of the recipe pneumonia-mnist (`benchmarks/pneumonia_mnist.py` makes them); no seed is chosen
after the fact, all that are given are told. What is lacking of the classical baselines is trained into
FIRST/baselines, about two minutes of one core. Of several runs the mean of all teachers, and of all INT8 students, is
judged too. Teacher and INT8 student of each run are tested against the baseline with the best AUC on test, which is the
hardest to beat: DeLong's test, Holm's correction over the two. Writes ``benchmarks/results/pneumonia_table.json``
and ``.md``.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgedx.core.files import write_json, write_text
from edgedx.core.settings.recipe import Recipe, load_recipe
from edgedx.core.stats.cases import Cases, Predictions
from edgedx.core.stats.metrics import Interval
from edgedx.lab.evidence.compare.baselines import FOLDER, baselines
from edgedx.lab.evidence.compare.compare import compare
from edgedx.lab.evidence.compare.crossval import subjects_of
from edgedx.lab.evidence.compare.lineup import line_up
from edgedx.lab.evidence.compare.words import sentences
from edgedx.lab.judge.ensemble import mean_of
from edgedx.lab.judge.evaluation import evaluate
from edgedx.lab.judge.evaluation_files import predictions_csv
from edgedx.lab.judge.figures import Figures, figures_with_intervals
from edgedx.lab.judge.subject import open_subject
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import machine, versions

RESULTS = Path(__file__).parent / "results" / "pneumonia_table"
RESAMPLES = 2000
OVERALL = {
    "auc_roc": "AUC-ROC", "auc_pr": "AUC-PR", "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy",
    "macro_f1": "F1, macro", "ece": "ECE", "brier": "Brier score",
}  # fmt: skip
FINDING = {
    "sensitivity": "sensitivity = recall", "specificity": "specificity", "precision": "precision", "f1": "F1",
    "sensitivity_at_specificity_0.90": "sensitivity at specificity 0.90",
    "sensitivity_at_specificity_0.95": "sensitivity at specificity 0.95",
}  # fmt: skip


def row_of(cases: Cases, answers: Predictions) -> dict[str, Interval]:
    """Every figure of one subject, by the name it has in the table."""
    found: Figures = figures_with_intervals(cases, answers, resamples=RESAMPLES)
    finding = found.classes[str(cases.positive)]
    return {word: found.overall[name] for name, word in OVERALL.items()} | {
        word: finding[name] for name, word in FINDING.items()
    }


def markdown(rows: dict[str, dict[str, Interval]], said: dict[str, list[str]]) -> str:
    """A column for each figure, a row for each subject."""
    columns = list(next(iter(rows.values())))
    lines = ["# PneumoniaMNIST, official test set", ""]
    for name, own in said.items():
        lines += [f"{name}:", "", *[f"- {one}" for one in own], ""]
    lines += [f"| subject | {' | '.join(columns)} |", f"| --- |{' --- |' * len(columns)}"]
    lines += [f"| {name} | {' | '.join(str(row[column]) for column in columns)} |" for name, row in rows.items()]
    return "\n".join([*lines, ""])


def recipe_of(run: Path) -> Recipe:
    """The recipe of a run; benchmarks/pneumonia_mnist.py keeps none, so it is written beside its stages."""
    if not Run(run).exists:
        seed = Run(run).teacher.record["settings"]["train"]["seed"]
        Run(run).keep_recipe(load_recipe("pneumonia-mnist", [f"train.seed={seed}"]))
    return Run(run).recipe()


def networks_of(run: Path) -> list[Path]:
    """Teacher and INT8 student."""
    return [path for name, path in subjects_of(run) if name == "teacher" or name.startswith("int8")]


def ensembles_of(runs: list[Path]) -> list[Path]:
    """Tables of what the mean of all teachers, and of all INT8 students, answers; in the first run's folder."""
    found = []
    for members in zip(*(networks_of(run) for run in runs), strict=True):
        judged = evaluate(mean_of([open_subject(path) for path in members]), resamples=100)
        found.append(runs[0] / "ensembles" / f"mean-{members[0].stem}.csv")
        write_text(found[-1], predictions_csv(judged.asked.cases, judged.answers))
    return found


def main() -> None:
    """Judge, test, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    runs: list[Path] = parser.parse_args().runs
    begun = time.monotonic()
    recipes = [recipe_of(run) for run in runs]
    classical = set(baselines(recipes[0], runs[0]))
    groups = {run.name: networks_of(run) for run in runs}
    if len(runs) > 1:
        groups["mean over runs"] = ensembles_of(runs)
    lineup = line_up([*(path for own in groups.values() for path in own), runs[0] / FOLDER])
    rows = {name: row_of(lineup.cases, answers) for name, answers in lineup.answers.items()}
    best = max(classical, key=lambda name: rows[name]["AUC-ROC"].value)
    tested = {}
    for group, paths in groups.items():
        wanted = {str(path) for path in paths}
        kept = {name: own for name, own in lineup.answers.items() if lineup.paths[name] in wanted or name == best}
        tested[group] = compare(replace(lineup, answers=kept), baseline=best, resamples=RESAMPLES)
    said = {group: sentences(found) for group, found in tested.items()}
    report: dict[str, Any] = {
        "schema_version": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": versions(),
        "seconds": round(time.monotonic() - begun, 1),
        "images": len(lineup.cases),
        "subjects": {name: {word: one.to_dict() for word, one in row.items()} for name, row in rows.items()},
        "best_classical": best,
        "against_best_classical": {name: [one.to_dict() for one in own.pairs] for name, own in tested.items()},
        "sentences": said,
    }
    write_json(RESULTS.with_suffix(".json"), report)
    write_text(RESULTS.with_suffix(".md"), markdown(rows, said))
    for name, row in rows.items():
        print(f"{name:<18} " + "  ".join(f"{word} {row[word]}" for word in ("AUC-ROC", "accuracy", "specificity")))
    for group, told in said.items():
        for sentence in told:
            print(f"{group}: {sentence}")


if __name__ == "__main__":
    main()
