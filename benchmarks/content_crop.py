"""Does `preprocess.crop: content` help, and does the border tell less of the class after it? No network is trained.

    python benchmarks/content_crop.py [--sets kermany brain] [--side 128]

For each set of ``benchmarks/modalities/`` with the whole images and with their content: the AUC of each class by a
logistic regression on frozen features of the pretrained backbone, and by one on the border alone (the outer
sixteenth), both cross-validated by group, with 95 % intervals over groups; and how many images are cut at all.
Minutes of a core a set.
Finished sets are kept. Needs EDGEDX_DATA. Writes ``benchmarks/results/content_crop.json``.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from edgedx.core.files import read_json, write_json
from edgedx.core.settings.recipe import load_recipe
from edgedx.lab.data.dataset import build_dataset, load_dataset
from edgedx.lab.data.start.border import border_tells
from edgedx.lab.data.start.confounders import questions
from edgedx.lab.evidence.compare.baseline_features import frozen_features
from edgedx.lab.run.stage import machine, versions

HERE = Path(__file__).parent
RESULT = HERE / "results" / "content_crop.json"
SETS = ("kermany", "chest3", "covid", "brain", "fundus", "breast", "ct-lung")


def judged(name: str, side: int) -> dict[str, Any]:
    """AUCs of one set, whole and cut."""
    found: dict[str, Any] = {}
    canvases = {}
    for crop in ("none", "content"):
        changes = [f"preprocess.size=[{side},{side}]", f"preprocess.crop={crop}", "data.folds=null"]
        recipe = load_recipe(str(HERE / "modalities" / f"{name}.yaml"), changes)
        with tempfile.TemporaryDirectory() as scratch:
            build_dataset(recipe, Path(scratch) / "data")
            data = load_dataset(Path(scratch) / "data", recipe.task.kind, recipe.preprocess)
            features = frozen_features(data, recipe)
            labels, classes = data.labels.astype(float), recipe.task.classes
            rows = data.rows.tolist()
            border = border_tells(data.canvases, rows, recipe.preprocess.bits, labels, classes, data.patients)
            canvases[crop] = np.array(data.canvases[data.rows])
        make = lambda: make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))  # noqa: E731
        frozen = [one.judge("frozen features", features, make) for one in questions(labels, classes, data.patients)]
        found[crop] = {
            kind: {
                "mean_auc": statistics.mean(one.auc for one in several),
                "classes": [one.to_dict() for one in several],
            }
            for kind, several in (("frozen", frozen), ("border", border))
        }
        found["images"] = len(data)
    changed = (canvases["none"] != canvases["content"]).reshape(len(canvases["none"]), -1).any(axis=1)
    return {**found, "cut": float(changed.mean())}


def main() -> None:
    """Judge, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--side", type=int, default=128)
    options = parser.parse_args()
    kept = read_json(RESULT) if RESULT.is_file() else {}
    sets = kept["sets"] if kept.get("side") == options.side else {}
    for name in options.sets:
        if name not in sets:
            sets[name] = judged(name, options.side)
            report = {
                "schema_version": 1,
                "date": time.strftime("%Y-%m-%d"),
                "machine": machine(),
                "versions": versions(),
            }
            write_json(RESULT, {**report, "side": options.side, "sets": sets})
        own = sets[name]
        print(
            f"{name:<10} cut {own['cut']:.0%} of {own['images']}  "
            + "  ".join(
                f"{kind}: {own['none'][kind]['mean_auc']:.3f} -> {own['content'][kind]['mean_auc']:.3f}"
                for kind in ("frozen", "border")
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
