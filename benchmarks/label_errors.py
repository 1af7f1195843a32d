"""Label errors planted in real data: how many the list of `edgedx update` finds, and how many of its names are right.

    EDGEDX_DATA=... python benchmarks/label_errors.py [--cleanlab PYTHON]

As in an update: a teacher is trained on half of the patients with the labels as published; of the other half 5 or 10 %
get another class, drawn evenly, and the list is made from the teacher's features out of fold. "frozen" uses the
pretrained network instead, which never saw the task. Errors that the sets have anyway count as false names, so
precision is a lower bound. ``--cleanlab`` names a Python that has the package cleanlab (AGPL-3.0, so no part of
edgedx); it is given the same probabilities. Finished sets are kept in ``--work`` and not repeated.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgedx.core.files import read_json, write_json
from edgedx.core.settings.recipe import Recipe, parse_recipe
from edgedx.lab.data.dataset import Dataset, build_dataset, load_dataset
from edgedx.lab.network.backbone import build_model
from edgedx.lab.network.torch_runner import TorchRunner
from edgedx.lab.network.weights import load_weights
from edgedx.lab.run.stage import machine, versions
from edgedx.lab.train.finetune import fit_teacher
from edgedx.lab.update.confident import likely_wrong
from edgedx.lab.update.label_check import out_of_fold

SETS: dict[str, dict[str, Any]] = {
    "cxr_pneumonia_kermany": {
        "task": {"kind": "binary", "classes": ["normal", "pneumonia"], "positive": "pneumonia"},
        "patient": "patient_id",
        "colour": "grey",
    },
    "brain_tumour_mri4": {
        "task": {"kind": "multiclass", "classes": ["glioma", "meningioma", "no_tumour", "pituitary"]},
        "patient": "group_id",
        "colour": "grey",
    },
    "skin_ham10000": {
        "task": {"kind": "multiclass", "classes": ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]},
        "patient": "group_id",
        "colour": "rgb",
    },
}
COLOURS = {"grey": {}, "rgb": {"colour": "rgb", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}}
SHARES, SEEDS = (0.05, 0.10), (0, 1, 2)
_CLEANLAB = """
import json, sys, numpy as np
from cleanlab.filter import find_label_issues
import cleanlab
found = {"version": cleanlab.__version__}
with np.load(sys.argv[1]) as archive:
    names = sorted({name.rpartition(":")[0] for name in archive.files})
    for name in names:
        issues = find_label_issues(archive[name + ":labels"], archive[name + ":chance"])
        found[name] = np.flatnonzero(issues).tolist()
print(json.dumps(found))
"""


def recipe_for(name: str, side: int, epochs: int) -> Recipe:
    """Half of the patients train and choose (train and val), the other half is the new data (test)."""
    one = SETS[name]
    raw = {
        "name": "labels",
        "title": name,
        "task": one["task"],
        "data": {
            "source": "csv", "path": name, "patient_column": one["patient"], "fractions": [0.4, 0.1, 0.5],
            "near_duplicates": "ignore",
        },
        "preprocess": {"size": [side, side], "window": "none", "bits": 8, **COLOURS[one["colour"]]},
        "model": {"backbone": "tf_efficientnet_lite0"},
        "train": {"epochs": epochs, "batch_size": 32},
    }  # fmt: skip
    return parse_recipe(raw)


def planted(labels: np.ndarray, classes: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of which a share was changed, and which ones."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(labels))[: round(share * len(labels))]
    changed = labels.copy()
    changed[rows] = (labels[rows] + rng.integers(1, classes, len(rows))) % classes
    return changed, np.isin(np.arange(len(labels)), rows)


def features_of(model: Any, data: Dataset, recipe: Recipe) -> np.ndarray:
    """Pooled features (N, D)."""
    with TorchRunner(model, features=True) as runner:
        found = [runner.infer_canvases(batch, recipe.preprocess).features for batch in data.batches(64)]
    return np.concatenate(found).astype(np.float64)


def both_features(recipe: Recipe, data: Dataset, fresh: Dataset, path: Path) -> dict[str, np.ndarray]:
    """Features of the new images, by the trained teacher and by the pretrained network; kept: training takes long."""
    if not path.is_file():
        frozen = build_model(recipe.model.backbone, len(recipe.task.classes), recipe.preprocess)
        load_weights(frozen, recipe.model.backbone, "auto")
        teacher, _, outcome = fit_teacher(recipe, data)
        np.savez(
            path,
            teacher=features_of(teacher, fresh, recipe),
            frozen=features_of(frozen.eval(), fresh, recipe),
            teacher_val_auc=np.array(outcome.history[-1]["val_auc"]),
        )
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


def judge_set(name: str, side: int, epochs: int, cleanlab: str | None, work: Path) -> dict[str, Any]:
    """One set: features once, then each share and seed."""
    recipe = recipe_for(name, side, epochs)
    build_dataset(recipe, work / name / "data")
    data = load_dataset(work / name / "data", recipe.task.kind, recipe.preprocess)
    fresh = data.subset("test")
    both = both_features(recipe, data, fresh, work / name / "features.npz")
    result: dict[str, Any] = {
        "images": len(fresh),
        "classes": len(recipe.task.classes),
        "teacher_val_auc": float(both.pop("teacher_val_auc")),
        "lists": [],
    }
    arrays: dict[str, np.ndarray] = {}
    truth: dict[str, np.ndarray] = {}
    for kind, features in both.items():
        for share in SHARES:
            for seed in SEEDS:
                labels, wrong = planted(fresh.labels, len(recipe.task.classes), share, seed)
                chance = out_of_fold(features, labels, len(recipe.task.classes), fresh.patients, seed)
                assert chance is not None
                rows = [one.row for one in likely_wrong(labels, chance)]
                one = {"features": kind, "planted": share, "seed": seed, **figures(rows, wrong)}
                one["agreement"] = float((chance.argmax(axis=1) == labels).mean())
                result["lists"].append(one)
                key = f"{kind} {share} {seed}"
                arrays |= {f"{key}:labels": labels, f"{key}:chance": chance}
                truth[key] = wrong
    if cleanlab:
        result["cleanlab"] = beside(cleanlab, arrays, truth)
    return result


def figures(rows: list[int], wrong: np.ndarray) -> dict[str, float]:
    """Precision and recall of a list, and precision of as many first names as were planted."""
    hits = wrong[rows]
    count = int(wrong.sum())
    return {
        "named": len(rows),
        "precision": float(hits.mean()) if rows else 0.0,
        "recall": float(hits.sum() / count),
        "precision_at_planted": float(hits[:count].mean()) if rows else 0.0,
    }


def beside(python: str, arrays: dict[str, np.ndarray], truth: dict[str, np.ndarray]) -> dict[str, Any]:
    """cleanlab's default list from the same probabilities."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chances.npz"
        np.savez(path, **arrays)  # type: ignore[arg-type]
        done = subprocess.run([python, "-c", _CLEANLAB, str(path)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    version = found.pop("version")
    lists = []
    for key, rows in found.items():
        kind, share, seed = key.split(" ")
        one = figures(rows, truth[key])
        del one["precision_at_planted"]  # its list is not in order here
        lists.append({"features": kind, "planted": float(share), "seed": int(seed), **one})
    return {"version": version, "lists": lists}


def means(lists: list[dict[str, Any]], kind: str, share: float) -> dict[str, float]:
    """Mean over seeds."""
    mine = [one for one in lists if one["features"] == kind and one["planted"] == share]
    return {key: float(np.mean([one[key] for one in mine])) for key in ("named", "precision", "recall")}


def main() -> None:
    """Judge all sets and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark/label-errors"))
    parser.add_argument("--cleanlab", help="A Python with the package cleanlab, to compare with.")
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "label_errors.json")
    options = parser.parse_args()
    results = {}
    for name in SETS:
        kept = options.work / name / "result.json"
        if not kept.is_file():
            begun = time.monotonic()
            one = judge_set(name, options.side, options.epochs, options.cleanlab, options.work)
            write_json(kept, {**one, "seconds": round(time.monotonic() - begun, 1)})
        results[name] = read_json(kept)
    report = {
        "schema_version": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": versions(),
        "side": options.side,
        "epochs": options.epochs,
        "seeds": list(SEEDS),
        "sets": results,
    }
    write_json(options.out, report)
    print("set, features, planted: named, precision, recall (mean of seeds); cleanlab")
    for name, one in results.items():
        for kind in ("teacher", "frozen"):
            for share in SHARES:
                mine = means(one["lists"], kind, share)
                line = f"{name} {kind} {share:.0%} of {one['images']}: "
                line += f"{mine['named']:.0f}, {mine['precision']:.2f}, {mine['recall']:.2f}"
                if "cleanlab" in one:
                    other = means(one["cleanlab"]["lists"], kind, share)
                    line += f"; {other['named']:.0f}, {other['precision']:.2f}, {other['recall']:.2f}"
                print(line)


if __name__ == "__main__":
    main()
