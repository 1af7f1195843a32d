"""chest-xray3 by five folds, twice: drawn by image, as published, and drawn by patient, which is honest.

    python benchmarks/chest_xray3.py [--runs runs/chest-xray3-folds] [--jobs 2] [--set train.epochs=20]

Teacher, student and INT8 student of every fold; accuracy and macro AUC with their spread over folds, sensitivity of
each class, and what the leak of image-level folds is worth. Published, on image-level folds of the whole set: 87.02 %
accuracy (DarkCovidNet, Ozturk et al. 2020), 89.70 % (PMC8958100); the set here lacks about a fifth of the patients.
Finished folds are read, not repeated. Needs EDGEDX_DATA. Writes ``benchmarks/results/chest_xray3.json``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from edgedx.core.files import write_json
from edgedx.core.settings.recipe import load_recipe
from edgedx.lab.evidence.compare.crossval import CrossValidation, crossval
from edgedx.lab.run.stage import machine, read_record, versions

PROTOCOLS = {"by image": ["data.patient_column=null"], "by patient": []}


def one_protocol(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Cross-validate under one protocol; the report, and the seconds that its stages took when they ran."""
    recipe = load_recipe("chest-xray3", [*PROTOCOLS[name], *options.overrides])
    plan = CrossValidation(
        recipe, options.runs / name.replace(" ", "-"), options.folds, compress=True, int8=True, jobs=options.jobs
    )
    report = crossval(plan)
    stages = ("teacher", "student", "int8")
    report["stage_seconds"] = {
        stage: [read_record(plan.run(fold) / stage)["wall_seconds"] for fold in range(plan.folds)] for stage in stages
    }
    report["epochs"] = {
        "teacher": f"{recipe.train.frozen_epochs} + {recipe.train.epochs}",
        "student": recipe.student.epochs,
        "size": recipe.preprocess.size,
        "macs": recipe.student.macs,
    }
    return report


def main() -> None:
    """Run both protocols, write and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/chest-xray3-folds"))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--protocols", nargs="+", choices=list(PROTOCOLS), default=list(PROTOCOLS))
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    found = {name: one_protocol(name, options) for name in options.protocols}
    report = {
        "schema_version": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": versions(),
        "overrides": options.overrides,
        "protocols": found,
    }
    if len(found) == len(PROTOCOLS):
        one, two = (found[name]["subjects"] for name in PROTOCOLS)
        report["leakage"] = {
            name: {figure: one[name]["mean"][figure] - two[name]["mean"][figure] for figure in ("accuracy", "auc_roc")}
            for name in one
        }
    write_json(Path(__file__).parent / "results" / "chest_xray3.json", report)
    for protocol, own in found.items():
        for name, figures in own["subjects"].items():
            mean, sd = figures["mean"], figures["sd"]
            each = ", ".join(f"{key[15:]} {value:.3f}" for key, value in mean.items() if key.startswith("sensitivity"))
            print(
                f"{protocol:<11} {name:<10} accuracy {mean['accuracy']:.4f} sd {sd['accuracy']:.4f}  "
                f"macro AUC {mean['auc_roc']:.4f} sd {sd['auc_roc']:.4f}  sensitivity {each}"
            )
    for name, worth in report.get("leakage", {}).items():
        print(f"leakage is worth {worth['accuracy']:+.4f} accuracy, {worth['auc_roc']:+.4f} AUC to the {name}")


if __name__ == "__main__":
    main()
