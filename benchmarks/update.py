"""A model of one site learns from another: what it gains there and forgets here, by four methods.

    EDGEDX_DATA=... python benchmarks/update.py

Pairs: chest X-rays of children, then of adults (cxr_pneumonia_kermany, chest-xray3); skin lesions of an Australian
practice, then of a Vienna clinic (skin_ham10000 by ``source``, four diagnoses that both have); brain MRI of the
published Training folder, then of Testing (brain_tumour_mri4, whose further sources are not named). Each teacher is
trained on the first, goes on learning from the second by the code of `edgedx update`, and both are judged on held-out
images of both: AUC with paired 95 % intervals over patients. Students are not made here: what is compared are the
methods. Finished trainings are kept in ``--work`` and not repeated.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgedx.core.files import read_json, write_json
from edgedx.core.settings.recipe import Recipe, parse_recipe
from edgedx.core.stats.cases import Cases, Predictions, predictions_of_logits
from edgedx.core.stats.paired import compare
from edgedx.core.stats.points import OperatingPoint
from edgedx.lab.data.dataset import Dataset, build_dataset, load_dataset
from edgedx.lab.data.predict import predict
from edgedx.lab.judge.teacher_answers import cases_of
from edgedx.lab.network.checkpoint import load_checkpoint
from edgedx.lab.network.torch_runner import TorchRunner
from edgedx.lab.run.stage import machine, versions
from edgedx.lab.train.finetune import fit_teacher
from edgedx.lab.train.finish import finish
from edgedx.lab.update.learn import learn, rehearsed

METHODS = ("naive", "rehearsal", "distil", "ewc", "naive as long")
"""The last trains for as many steps as rehearsal, which shows more images in an epoch."""
PNEUMONIA = {"kind": "binary", "classes": ["normal", "pneumonia"], "positive": "pneumonia"}
SKIN = {"kind": "multiclass", "classes": ["bcc", "bkl", "mel", "nv"]}
BRAIN = {"kind": "multiclass", "classes": ["glioma", "meningioma", "no_tumour", "pituitary"]}
COLOUR = {"colour": "rgb", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
Side = dict[str, Any]
PAIRS: dict[str, tuple[dict[str, Any], Side, Side]] = {
    "chest, children to adults": (
        PNEUMONIA,
        {"path": "cxr_pneumonia_kermany"},
        {"path": "chest-xray3", "label_names": {"no_findings": "normal"}},
    ),
    "skin, Queensland to Vienna": (
        SKIN,
        {"path": "skin_ham10000", "patient_column": "group_id", "where": ("source", "rosendahl")},
        {"path": "skin_ham10000", "patient_column": "group_id", "where": ("source", "vidir_modern")},
    ),
    "brain, Training to Testing": (
        BRAIN,
        {"path": "brain_tumour_mri4", "patient_column": "group_id", "where": ("source_file", "Training/")},
        {"path": "brain_tumour_mri4", "patient_column": "group_id", "where": ("source_file", "Testing/")},
    ),
}


def recipe_of(task: dict[str, Any], side: Side, options: argparse.Namespace, seed: int) -> Recipe:
    """The recipe of one side of a pair."""
    data = {key: value for key, value in side.items() if key != "where"}
    column = side.get("where", ("",))[0]
    colour = COLOUR if task is SKIN else {}
    raw = {
        "name": "update",
        "title": "benchmark",
        "task": task,
        "data": {
            "source": "csv", "fractions": [0.5, 0.1, 0.4], "near_duplicates": "ignore", "seed": seed, **data,
            "subgroup_columns": [column] if column else [],
        },
        "preprocess": {"size": [options.side, options.side], "window": "none", "bits": 8, **colour},
        "model": {"backbone": "tf_efficientnet_lite0"},
        "train": {"epochs": options.epochs, "batch_size": 32, "seed": seed},
        "update": {"epochs": options.update_epochs},
    }  # fmt: skip
    return parse_recipe(raw)


def data_of(recipe: Recipe, side: Side, folder: Path) -> Dataset:
    """One side's images, those of its source alone."""
    build_dataset(recipe, folder)
    data = load_dataset(folder, recipe.task.kind, recipe.preprocess)
    column, start = side.get("where", ("", ""))
    return data.take([row for row, group in enumerate(data.subgroups) if group.get(column, "").startswith(start)])


def joined(old: Dataset, new: Dataset) -> tuple[Dataset, np.ndarray]:
    """Both as one data set, and which images are new."""
    canvases = np.concatenate([np.asarray(part.canvases[part.rows]) for part in (old, new)])
    both = replace(
        old,
        names=[*old.names, *new.names],
        patients=[*old.patients, *new.patients],
        labels=np.concatenate([old.labels, new.labels]),
        splits=[*old.splits, *new.splits],
        canvases=canvases,
        rows=np.arange(len(canvases)),
        subgroups=[*old.subgroups, *new.subgroups],
    )
    return both, np.arange(len(canvases)) >= len(old)


def answers(model: Any, part: Dataset, recipe: Recipe, cases: Cases) -> Predictions:
    """Of a model to a split; uncalibrated, as only the order of images is compared."""
    logits = predict(TorchRunner(model), part, recipe.preprocess)
    return predictions_of_logits(cases, logits, 1.0, OperatingPoint(name="argmax", threshold={}))


def run_pair(name: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """One pair, one seed: the teacher once, then each method."""
    task, first, second = PAIRS[name]
    folder = options.work / f"{name.replace(',', '').replace(' ', '-')}-{seed}"
    recipe = recipe_of(task, first, options, seed)
    old = data_of(recipe, first, folder / "old")
    new = data_of(recipe_of(task, second, options, seed), second, folder / "new")
    both, is_new = joined(old, new)
    teacher = folder / "teacher"
    if not (teacher / "model.json").is_file():
        model, origin, outcome = fit_teacher(recipe, old, state=folder / "teacher.safetensors", resume=True)
        finish(model, recipe, old, teacher, outcome, role="teacher", weights_from=origin)
    result: dict[str, Any] = {
        "epochs": {"teacher": recipe.train.epochs, "update": recipe.update.epochs},
        "train": {"old": len(old.subset("train")), "new": len(new.subset("train"))},
        "judged": {"old": len(old.subset("test")), "new": len(new.subset("test"))},
        "methods": {},
    }
    for method in METHODS:
        kept = folder / f"{method.replace(' ', '-')}.json"
        if not kept.is_file():
            write_json(kept, one_method(recipe, method, teacher, old, both, is_new, folder))
        result["methods"][method] = read_json(kept)
    return result


def one_method(
    recipe: Recipe, method: str, teacher: Path, old: Dataset, both: Dataset, is_new: np.ndarray, folder: Path
) -> dict[str, Any]:
    """Learn on by one method, and compare with the teacher."""
    name, _, longer = method.partition(" ")
    changes: dict[str, Any] = {"method": name}
    if longer:
        train = np.flatnonzero([split == "train" for split in both.splits])
        fresh = is_new[train]
        changes["epochs"] = recipe.update.epochs * len(rehearsed(train, fresh, recipe.update.new_share)) / fresh.sum()
    chosen = recipe.model_copy(update={"update": recipe.update.model_copy(update=changes)})
    begun = time.monotonic()
    start = load_checkpoint(teacher, dropout=recipe.model.dropout)
    model, _ = learn(
        chosen, start, old.subset("train"), both, is_new, state=folder / f"{method.replace(' ', '-')}.safetensors"
    )
    seconds = time.monotonic() - begun
    before, result = load_checkpoint(teacher).model, {}
    is_test = np.array([split == "test" for split in both.splits])
    for where, rows in (("old", is_test & ~is_new), ("new", is_test & is_new)):
        part = both.take(np.flatnonzero(rows))
        cases = replace(cases_of(part, recipe.task), subgroups=[{}] * len(part))
        found = compare(cases, answers(before, part, recipe, cases), answers(model, part, recipe, cases)).whole.auc
        result[where] = {
            "before": found.teacher.to_dict(), "after": found.student.to_dict(), "lost": found.drop.to_dict(),
        }  # fmt: skip
    return {**result, "seconds": round(seconds, 1)}


def told(one: dict[str, Any], sign: int) -> str:
    """A change with its interval."""
    low, high = sorted((sign * one["low"], sign * one["high"]))
    return f"{sign * one['value']:+.3f} [{low:+.3f}, {high:+.3f}]"


def main() -> None:
    """Run all pairs and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark/update"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--update-epochs", type=float, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "update.json")
    options = parser.parse_args()
    pairs = {name: {str(seed): run_pair(name, seed, options) for seed in options.seeds} for name in PAIRS}
    report = {
        "schema_version": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": versions(),
        "side": options.side,
        "pairs": pairs,
    }
    write_json(options.out, report)
    for name, seeds in pairs.items():
        for seed, one in seeds.items():
            base = one["methods"]["naive"]
            old, new = (base[where]["before"]["value"] for where in ("old", "new"))
            print(f"{name}, seed {seed}: before, old {old:.3f}, new {new:.3f}")
            for method, found in one["methods"].items():
                gain, lost = told(found["new"]["lost"], -1), told(found["old"]["lost"], -1)
                print(f"  {method:<14} new {gain}  old {lost}  {found['seconds']:.0f} s")


if __name__ == "__main__":
    main()
