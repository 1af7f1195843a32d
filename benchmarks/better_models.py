"""What makes a better teacher: each change alone against the recipe as it stands, over seeds.

    python benchmarks/better_models.py --sets skin chest3 fundus --seeds 0 1 [--choices mixup focal] [--side 96]

A set is a recipe of ``benchmarks/modalities/``; of sets that are cut into folds, seed k is fold k. The figure that may
choose is AUC on val; figures of test are told beside it and choose nothing. Differences are paired: the same split, the
same seed. Teachers that are finished are read, not repeated. At the end, of what is there: several teachers together,
and one that also answers for mirror images, as `edgedx compress --teacher` and ``student.teacher_flips`` ask them.
Writes ``benchmarks/results/better_models.json`` and prints the table.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from modalities import ORDER, Plan, Repeat

from edgedx.core.files import read_json, write_json
from edgedx.lab.compress.committee import Committee, Mirrored
from edgedx.lab.data.predict import predict
from edgedx.lab.data.prepare import open_data
from edgedx.lab.network.checkpoint import load_checkpoint
from edgedx.lab.network.torch_runner import TorchRunner
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import machine, versions
from edgedx.lab.train.finetune import finetune
from edgedx.lab.train.short_figures import summary

RESULT = Path(__file__).parent / "results" / "better_models.json"
AS_IT_IS = "as it is"
CHOICES: dict[str, list[str]] = {
    AS_IT_IS: [],
    "larger": [],  # 1.67 times the side, see `changes_of`
    "longer": [],  # twice the epochs
    "no dropout": ["model.dropout=0", "model.stochastic_depth=0"],
    "stopped early": ["train.patience=3"],
    "for few labels": ["train.frozen_epochs=5", "train.layer_decay=0.75", "train.patience=3"],
    "balanced softmax": ["train.imbalance=balanced-softmax"],
    "classes not weighted": ["train.imbalance=none"],
    "classes drawn evenly": ["train.imbalance=sampler"],
    "focal": ["train.focal=2"],
    "mixup": ["augment.mixup=0.2"],
    "more weight decay": ["train.weight_decay=0.1"],
    "twice the learning rate": ["train.learning_rate=2e-3"],
    "half the learning rate": ["train.learning_rate=5e-4"],
    "deeper layers slower": ["train.layer_decay=0.75"],
    "head learned longer first": ["train.frozen_epochs=5"],
    "head alone": ["train.frozen_epochs=15", "train.epochs=0"],
    "half the epochs": [],
    "no mean of weights": ["train.ema=0"],
    "content crop": ["preprocess.crop=content"],
}
LONG, SLOW, HEAD = "head learned longer first", "half the learning rate", "head alone"
TOGETHER = {  # means of teachers that are trained for their own sake; nothing more is trained
    "itself and mixup": (AS_IT_IS, "mixup"),
    "itself, mixup, balanced softmax": (AS_IT_IS, "mixup", "balanced softmax"),
    "itself, long head, half the rate": (AS_IT_IS, LONG, SLOW),
    "long head, half the rate, head alone": (LONG, SLOW, HEAD),
    "all of these rows": tuple(name for name in CHOICES if name != "larger"),
}
MIRRORED = "test-time flips"
FIGURES = ("auc", "balanced_accuracy", "accuracy")


def changes_of(choice: str, repeat: Repeat) -> list[str]:
    """Overrides of a choice."""
    if choice == "larger":
        side = round(repeat.recipe.preprocess.size[0] * 5 / 3 / 32) * 32
        return [f"preprocess.size=[{side},{side}]"]
    if factor := {"longer": 2, "half the epochs": 0.5}.get(choice):
        return [f"train.epochs={round(factor * repeat.recipe.train.epochs)}"]
    return CHOICES[choice]


def run_of(choice: str, repeat: Repeat, folder: Path) -> Run:
    """Where the teacher of a choice is."""
    return Run(folder / repeat.name / choice.replace(" ", "-") / str(repeat.number))


def one(choice: str, repeat: Repeat, folder: Path) -> dict[str, Any]:
    """Train a teacher, or read it; its figures on val and test, and seconds."""
    overrides = tuple(changes_of(choice, repeat))
    recipe = replace(repeat, plan=replace(repeat.plan, overrides=overrides)).recipe
    run = run_of(choice, repeat, folder)
    run.keep_recipe(recipe)
    record = finetune(recipe, run, resume=True)
    found = {part: _short(record["metrics"][part]) for part in ("val", "test")}
    return {**found, "seconds": record["wall_seconds"], "epochs": recipe.train.epochs}


def together(choice: str, repeat: Repeat, folder: Path) -> dict[str, Any] | None:
    """Figures of several finished teachers as one, or of one with its mirror images; None where one is lacking."""
    names = TOGETHER.get(choice, (AS_IT_IS,))
    there = [run for name in names if (run := run_of(name, repeat, folder)).teacher.finished]
    recipe, lacking = repeat.recipe, len(there) < len(names)
    if len(there) < (2 if choice in TOGETHER else 1) or (lacking and choice != "all of these rows"):
        return None
    if choice == MIRRORED and not (recipe.augment.flip_horizontal or recipe.augment.flip_vertical):
        return None
    members = [load_checkpoint(run.teacher.path) for run in there]
    model = Committee(members) if choice in TOGETHER else Mirrored(members[0].model, recipe.augment)
    data = open_data(recipe, there[0])
    temperature, (point,) = members[0].card.temperature, members[0].card.operating_points[:1]
    found: dict[str, Any] = {"teachers": len(members)}
    for part in ("val", "test"):
        own = data.subset(part)
        logits = predict(TorchRunner(model.eval(), "cpu"), own, recipe.preprocess)
        scale = 1.0 if choice in TOGETHER else temperature
        found[part] = _short(summary(recipe.task, logits, own.labels, own.patients, scale, point, resamples=2))
    return found


def _short(metrics: dict[str, Any]) -> dict[str, float]:
    sensitivity = [value for value in metrics["class_sensitivity"].values() if value is not None]
    return {
        "auc": metrics["auc"]["value"],
        "balanced_accuracy": statistics.mean(sensitivity),
        "accuracy": metrics["accuracy"],
    }


def gains(by_seed: dict[str, dict[str, Any]], base: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Mean, least and greatest of the paired differences from the recipe as it stands."""
    found: dict[str, Any] = {}
    for part in ("val", "test"):
        for figure in FIGURES:
            each = [by_seed[seed][part][figure] - base[seed][part][figure] for seed in by_seed if seed in base]
            if each:
                found[f"{part}_{figure}"] = [statistics.mean(each), min(each), max(each)]
    return found


def main() -> None:
    """Work through sets, seeds and choices; the JSON is written after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=ORDER, default=["skin", "chest3", "fundus"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--choices", nargs="*", choices=CHOICES, default=list(CHOICES))
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--seen", type=int, default=6000, help="images that a teacher sees")
    parser.add_argument("--runs", type=Path, default=Path("runs/better"))
    options = parser.parse_args()
    plan = Plan(options.runs, options.side, options.seen, options.seen, ())
    for seed in options.seeds:
        for choice in [*options.choices, *TOGETHER, MIRRORED]:
            for name in options.sets:
                ask = one if choice in CHOICES else together
                found = ask(choice, Repeat(plan, name, seed), plan.folder)
                if found is None:
                    continue
                # Read again: another process may work through other sets.
                sets: dict[str, Any] = read_json(RESULT)["sets"] if RESULT.is_file() else {}
                own = sets.setdefault(name, {})
                own.setdefault(choice, {})[str(seed)] = found
                print(f"{time.strftime('%H:%M')} {name}, {choice}, {seed}: val {found['val']}, test {found['test']}",
                      flush=True)  # fmt: skip
                write_json(RESULT, {
                    "schema_version": 1, "date": time.strftime("%Y-%m-%d"), "machine": machine(),
                    "versions": versions(), "side": options.side, "seen": options.seen, "sets": sets,
                    "gains": {name: {choice: gains(each, own[AS_IT_IS]) for choice, each in own.items()}
                              for name, own in sets.items() if AS_IT_IS in own},
                })  # fmt: skip
    for name, own in read_json(RESULT)["gains"].items():
        print(f"\n| {name} | val AUC | test AUC | test balanced accuracy | seeds |\n|---|---|---|---|---|")
        for choice, gain in own.items():
            cells = [f"{gain[key][0]:+.3f} ({gain[key][1]:+.3f} to {gain[key][2]:+.3f})"
                     for key in ("val_auc", "test_auc", "test_balanced_accuracy")]  # fmt: skip
            print(f"| {choice} | {' | '.join(cells)} | {len(read_json(RESULT)['sets'][name][choice])} |")


if __name__ == "__main__":
    main()
