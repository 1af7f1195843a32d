"""What tuning is worth on PneumoniaMNIST: the tuned recipe against the recipe as it stands, both trained anew by seed.

    python benchmarks/tuning.py [--trials 8] [--epochs 1] [--seeds 1 2 3] [--out runs/tuning]

needs pneumoniamnist.npz below EDGEDX_DATA. Trials are judged on val with seed 0; then both recipes are trained with
seeds that no trial has seen, and test is looked at once, here. With few short trials, as by default, this shows that
the way works; it is no statement about what a long search would win. Repeat the command to go on after an interruption.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

from edgedx.core.files import write_json
from edgedx.core.settings.recipe import Recipe, load_recipe
from edgedx.lab.run.stage import machine, versions
from edgedx.lab.train.finetune import finetune
from edgedx.lab.tune.files import BEST
from edgedx.lab.tune.tune import Tuning, tune


def judged(recipe: Recipe, run: Path) -> dict[str, float]:
    """AUC on val and test of a teacher."""
    metrics = finetune(recipe, run, resume=True)["metrics"]
    return {split: float(metrics[split]["auc"]["value"]) for split in ("val", "test")}


def main() -> None:
    """Tune, train both by seed, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=1, help="Of phase 2, of trials and of what is judged.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="0 is that of the trials.")
    parser.add_argument("--out", type=Path, default=Path("runs/tuning"))
    options = parser.parse_args()
    overrides = [f"train.epochs={options.epochs}", f"tune.trials={options.trials}", "tune.startup=3"]
    recipe = load_recipe("pneumonia-mnist", overrides)
    found = tune(Tuning(recipe, options.out / "study"))
    recipes = {"as it stands": recipe, "tuned": load_recipe(str(options.out / "study" / BEST))}
    results: dict[str, dict[str, Any]] = {name: {"val": [], "test": []} for name in recipes}
    for name, one in recipes.items():
        for seed in options.seeds:
            own = one.model_copy(update={"train": one.train.model_copy(update={"seed": seed})})
            for split, value in judged(own, options.out / f"{name.replace(' ', '-')}-{seed}").items():
                results[name][split].append(value)
    report = {
        "schema_version": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": versions(),
        "epochs": options.epochs,
        "seeds": options.seeds,
        "study": {key: found[key] for key in ("trials", "training_seconds", "best", "as_it_stands", "importance")},
        "auc_by_seed": results,
    }
    write_json(Path(__file__).parent / "results" / "tuning.json", report)
    counts, best, own = found["trials"], found["best"], found["as_it_stands"]
    print(f"trials        {counts['ended']} ended, {counts['pruned']} pruned, {found['training_seconds']:.0f} s")
    print(f"on val        as it stands {own['val_auc']:.4f}, best trial {best['val_auc']:.4f} (optimistic)")
    for name, figures in results.items():
        shown = ", ".join(
            f"{split} {statistics.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})"
            for split, values in figures.items()
        )
        print(f"{name:<13} {shown}; seeds {' '.join(map(str, options.seeds))}")


if __name__ == "__main__":
    main()
