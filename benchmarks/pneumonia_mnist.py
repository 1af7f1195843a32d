"""PneumoniaMNIST over seeds: AUC of teacher, student and INT8 student on the official test set.

    python benchmarks/pneumonia_mnist.py --seeds 0 1 2 [--runs runs/benchmark] [--set train.epochs=6]
                                         [--teachers RUNS] [--on local|ray|slurm [--jobs 2]]

Stages that are finished are read, not repeated. With --teachers the teachers of earlier runs of the same recipe are
taken as they are, and only what comes after is made anew. With --on seeds are units of the launcher, each this command
with --one; the figures are then read here. Needs EDGEDX_DATA or the file in the cache. Writes
``benchmarks/results/pneumonia_mnist.json``.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from edgedx.cli.common import profile_for
from edgedx.core.files import write_json
from edgedx.core.settings.recipe import load_recipe
from edgedx.lab.compress.compress import compress
from edgedx.lab.launch.launch import launch, launcher_on
from edgedx.lab.launch.local import gpus_here
from edgedx.lab.launch.unit import Unit
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import machine, versions
from edgedx.lab.ship.deploy import deploy
from edgedx.lab.train.finetune import finetune

RESULTS = Path(__file__).parent / "results"


def one_seed(seed: int, runs: Path, overrides: list[str], teachers: Path | None) -> dict[str, Any]:
    """Run one seed and return its figures."""
    recipe = load_recipe("pneumonia-mnist", [f"train.seed={seed}", *overrides])
    run, profile = runs / f"seed-{seed}", profile_for("this")
    if teachers and not run.exists():
        for stage in ("data", "teacher"):
            shutil.copytree(teachers / f"seed-{seed}" / stage, run / stage)
    teacher = Run(run).teacher.record if teachers else finetune(recipe, run, resume=True)
    small = compress(recipe, run, profile, int8=True, resume=True)
    shipped = deploy(recipe, run, profile, force=True)
    int8 = next(entry for name, entry in small["metrics"]["variants"].items() if name.startswith("int8"))
    return {
        "seed": seed,
        "teacher_auc": teacher["metrics"]["test"]["auc"]["value"],
        "teacher_accuracy": teacher["metrics"]["test"]["accuracy"],
        "student_auc": small["student"]["test"]["auc"]["value"],
        "int8_auc": int8["test"]["auc"]["value"],
        "int8_accuracy": int8["test"]["accuracy"],
        "int8_megabytes": int8["bytes"] / 1e6,
        "macs_share": small["student"]["macs"] / small["student"]["teacher_macs"],
        "data_share": teacher["metrics"]["data_share"],
        "teacher_seconds": teacher["wall_seconds"],
        "gate_passed": shipped["metrics"]["gate"]["passed"],
        "val_auc_drop": shipped["metrics"]["gate"]["auc_drop"]["value"],
        "quantization": small["metrics"]["quantization"]["chosen"],
    }


def by_launcher(options: argparse.Namespace) -> None:
    """Have each seed run by a process of its own."""
    same = [word for one in options.overrides for word in ("--set", one)]
    same += ["--teachers", str(options.teachers)] if options.teachers else []
    units = [
        Unit(
            f"seed {seed}",
            options.runs / "launched" / f"seed-{seed}",
            ((sys.executable, __file__, "--seeds", str(seed), "--runs", str(options.runs), "--one", *same),),
        )
        for seed in options.seeds
    ]
    launch(units, launcher_on(options.on, jobs=options.jobs, gpus=gpus_here(), cores=options.cores), "seeds")


def main() -> None:
    """Run the seeds and print mean and spread."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmark"))
    parser.add_argument("--teachers", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--on", help="local, ray, ray://HOST:10001, slurm or slurm:PARTITION")
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--cores", type=int, default=4)
    parser.add_argument("--one", action="store_true", help="run the first seed, and write no figures")
    options = parser.parse_args()
    if options.one:
        one_seed(options.seeds[0], options.runs, options.overrides, options.teachers)
        return
    if options.on:
        by_launcher(options)
    rows = [one_seed(seed, options.runs, options.overrides, options.teachers) for seed in options.seeds]
    report = {
        "schema_version": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": versions(),
        "seeds": rows,
        "summary": {
            key: {"mean": statistics.mean(values), "sd": statistics.stdev(values) if len(values) > 1 else 0.0}
            for key in ("teacher_auc", "student_auc", "int8_auc", "teacher_accuracy", "int8_accuracy", "int8_megabytes")
            for values in [[row[key] for row in rows]]
        },
    }
    report["summary"]["drop_teacher_to_int8"] = {
        "mean": statistics.mean(row["teacher_auc"] - row["int8_auc"] for row in rows),
        "worst": max(row["teacher_auc"] - row["int8_auc"] for row in rows),
    }
    write_json(RESULTS / "pneumonia_mnist.json", report)
    for row in rows:
        figures = "  ".join(f"{name} {row[name + '_auc']:.4f}" for name in ("teacher", "student", "int8"))
        print(f"seed {row['seed']}: AUC {figures}")
    for key, value in report["summary"].items():
        print(f"{key:<22} " + "  ".join(f"{name} {number:.4f}" for name, number in value.items()))


if __name__ == "__main__":
    main()
