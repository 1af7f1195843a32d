"""What a teacher is worth: one pruned student, trained on labels alone, with KD, with DKD, and with KD and CRD.

    python benchmarks/distillation.py --run runs/chest-xray3 --seeds 0 1 2 [--arms kd dkd crd] [--set student.epochs=30]

RUN holds a trained teacher (`edgedx finetune`). Every arm of a seed begins at the same pruned student, which is
checked by hash, and trains for as many steps; the arm on labels alone is what `edgedx compress --ablate` calls the
control. DKD is left out where the task has fewer than three classes. Differences are paired: the same test images, the
same seed. Their intervals are 95 % bootstrap by patient of the mean over seeds, so they tell what other patients would
change; the spread over seeds stands beside them. Students that are finished are read, not repeated. Writes
``benchmarks/results/distillation-NAME.json``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgedx.core.files import sha256_file, write_json
from edgedx.core.settings.recipe import Recipe, load_recipe
from edgedx.core.stats.resample import Draws, draw
from edgedx.core.stats.weighted import mean_of
from edgedx.lab.compress.control import calibrated
from edgedx.lab.compress.student import make_student
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.data.prepare import open_data
from edgedx.lab.network.checkpoint import Checkpoint, load_checkpoint
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import machine, versions
from edgedx.lab.train.short_figures import area_of_logits, auc_of_logits

ARMS = {
    "kd": ["student.method=kd", "student.feature=none"],
    "dkd": ["student.method=dkd", "student.feature=none"],
    "crd": ["student.method=kd", "student.feature=crd"],
}
LABELS = "labels"


def one_seed(
    seed: int, run: Path, out: Path, arms: list[str], teacher: Checkpoint, overrides: list[str]
) -> dict[str, Any]:
    """Train the arms of one seed; the folder and figures of each."""
    rows: dict[str, Any] = {}
    starts = set()
    for arm in arms:
        recipe = load_recipe(str(run / "recipe.yaml"), [f"train.seed={seed}", *overrides, *ARMS[arm]])
        folder = out / f"seed-{seed}" / arm / "student"
        # The first arm brings the control along.
        data = open_data(recipe, run)
        record = make_student(recipe, teacher, data, folder, ablate=arm == arms[0], resume=True)
        starts.add(sha256_file(folder / "pruned" / "model.safetensors"))
        rows[arm] = {"folder": folder, "seconds": record["wall_seconds"], **_short(record["metrics"])}
        if arm == arms[0]:
            rows[LABELS] = {"folder": folder / "control", "steps": record["metrics"]["distillation"]["steps"]}
        print(f"seed {seed}, {arm}: test AUC {record['metrics']['test']['auc']['value']:.4f}", flush=True)
    if len(starts) != 1:
        raise SystemExit(f"seed {seed}: the arms did not begin at one pruned student; this comparison would be void")
    return rows


def _short(metrics: dict[str, Any]) -> dict[str, Any]:
    distillation = metrics["distillation"]
    return {
        "macs_share": metrics["macs"] / metrics["teacher_macs"],
        "steps": distillation["steps"],
        "temperature": distillation["temperature"],
        "method": distillation["method"],
    }


def judge(recipe: Recipe, part: Dataset, split: str, seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """AUC of each arm by seed, and its paired difference to labels alone."""
    arms = [LABELS, *(arm for arm in seeds[0] if arm != LABELS)]
    logits = {arm: [calibrated(rows[arm]["folder"], split) for rows in seeds] for arm in arms}
    found: dict[str, Any] = {}
    for arm in arms:
        areas = [auc_of_logits(recipe.task, own, part.labels) for own in logits[arm]]
        spread = statistics.stdev(areas) if len(areas) > 1 else None
        found[arm] = {"auc": areas, "mean": statistics.mean(areas), "sd": spread}
        if arm != LABELS:
            pairs = list(zip(logits[arm], logits[LABELS], strict=True))
            found[arm]["gain_by_seed"] = [own - other for own, other in zip(areas, found[LABELS]["auc"], strict=True)]
            found[arm]["gain"] = _mean_gain(recipe, part, pairs).interval().to_dict()
    return found


def _mean_gain(recipe: Recipe, part: Dataset, pairs: list[tuple[np.ndarray, np.ndarray]]) -> Draws:
    """Mean AUC of all seeds less that of their counterparts, on the same resamples of patients."""
    arms = {
        name: mean_of([area_of_logits(recipe.task, logits, part.labels) for logits in arm])
        for name, arm in zip(("one", "other"), zip(*pairs, strict=True), strict=True)
    }
    draws = draw(arms, part.patients)
    return draws["one"].minus(draws["other"])


def main() -> None:
    """Train, judge, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="Folder with recipe.yaml, data and teacher.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--out", type=Path, help="Where the students go; RUN/candidates/distillation if not named.")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    recipe = Run(options.run).recipe(options.overrides)
    arms = [arm for arm in options.arms if arm != "dkd" or recipe.task.kind == "multiclass"]
    teacher = load_checkpoint(Run(options.run).teacher.path)
    out = options.out or options.run / "candidates" / "distillation"
    begun = time.monotonic()
    seeds = [one_seed(seed, options.run, out, arms, teacher, options.overrides) for seed in options.seeds]
    data = open_data(recipe, options.run)
    report = {
        "schema_version": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": versions(),
        "recipe": recipe.name,
        "overrides": options.overrides,
        "student": recipe.student.model_dump(mode="json"),
        "data": {"digest": data.digest, "train": len(data.subset("train")), "test": len(data.subset("test"))},
        "seeds": options.seeds,
        "arms": {arm: {k: v for k, v in seeds[0][arm].items() if k != "folder"} for arm in seeds[0]},
        "teacher_auc": {split: teacher.card.metrics[f"{split}_auc"] for split in ("val", "test")},
        "wall_seconds": round(time.monotonic() - begun, 1),
        **{split: judge(recipe, data.subset(split), split, seeds) for split in ("val", "test")},
    }
    write_json(Path(__file__).parent / "results" / f"distillation-{recipe.name}.json", report)
    print(f"{recipe.name}: teacher test AUC {report['teacher_auc']['test']:.4f}; {seeds[0][LABELS]['steps']} steps")
    for arm, entry in report["test"].items():
        spread = f" (sd {entry['sd']:.4f})" if entry["sd"] is not None else ""
        line = f"{arm:<7} test AUC {entry['mean']:.4f}{spread}"
        if "gain" in entry:
            gain = entry["gain"]
            line += f", against labels alone {gain['value']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}]"
        print(line)


if __name__ == "__main__":
    main()
