"""Does a threshold that a site chooses keep its promise? Coverage over 500 resampled sites of real data.

    python benchmarks/local_threshold.py RUN [RUN ...]

Each RUN was deployed (`edgedx deploy`); what its bundle says to its own test split is the population, whose sensitivity
and specificity at any threshold are known. A site is a sample of its patients, with all their images, drawn with
replacement: so many with the finding, and as many without. It chooses a threshold for a target as `edgedx threshold
propose` does; beside it the threshold that just reaches the target on the site's images (`naive`), and the bundle's
own. Counted is how often the population then has the target: by patient, all of whose images must be found, which is
what is promised, and by image. Also how often the 95 % intervals of the table hold what is true, at the bundle's own
threshold and at a prevalence of 10 %. Writes ``benchmarks/results/local_threshold.json``. A minute for each run.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgedx.core.bundle.manifest import open_bundle
from edgedx.core.files import write_json
from edgedx.core.preprocess import normalise
from edgedx.core.progress import progress
from edgedx.core.stats.binomial import safe_rank, wilson
from edgedx.core.stats.cases import calibrated_probabilities
from edgedx.core.stats.metrics import roc_auc, threshold_at_sensitivity
from edgedx.device.runtime.open_runner import open_runner
from edgedx.device.threshold.cutoffs import Finding, cutoff_at
from edgedx.device.threshold.propose import Target, lowest_of_patients, propose
from edgedx.lab.data.prepare import open_data
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import machine, versions

SITES = 500
TARGETS = (0.9, 0.95)
PATIENTS = (60, 100, 200)
PREVALENCE = 0.1
REPORT = Path(__file__).parent / "results" / "local_threshold.json"


def population(run: Run) -> tuple[Finding, float]:
    """What the run's bundle says to its test split, and the bundle's own threshold."""
    recipe, build = run.recipe([]), run.build(None)
    assert build.bundle is not None, f"{run} has no bundle: edgedx deploy"
    bundle = open_bundle(build.bundle)
    manifest = bundle.manifest
    assert manifest.positive is not None, "a binary task"
    part, place = open_data(recipe, run).subset("test"), manifest.classes.index(manifest.positive)
    with open_runner(bundle) as runner:
        logits = [runner.infer(normalise(batch, manifest.preprocess)).logits for batch in part.batches(64)]
    chances = calibrated_probabilities(np.concatenate(logits), manifest.task, manifest.temperature)[:, place]
    present = np.asarray(part.labels) == place
    own = manifest.operating_points[0].threshold[manifest.positive]
    return Finding(manifest.positive, present, chances, np.asarray(part.patients)), own


def site(everybody: Finding, count: int, rng: np.random.Generator) -> Finding:
    """`count` patients with the finding and as many without, drawn with replacement, with all their images."""
    rows, names = [], []
    for present in (True, False):
        numbers = np.unique(everybody.numbers[everybody.present == present])
        for place, number in enumerate(rng.choice(numbers, count)):
            own = np.flatnonzero((everybody.numbers == number) & (everybody.present == present))
            rows.append(own)
            names += [f"{present}{place}"] * own.size
    chosen = np.concatenate(rows)
    return Finding(everybody.name, everybody.present[chosen], everybody.score[chosen], np.array(names))


def coverage(everybody: Finding, count: int, target: float, seed: int, tick: Any) -> dict[str, Any]:
    """How often each way of choosing keeps the target in the population."""
    lowest = lowest_of_patients(everybody)
    chosen: dict[str, list[float]] = {"proposed": [], "naive": []}
    rng = np.random.default_rng(seed)
    for _ in range(SITES):
        drawn = site(everybody, count, rng)
        if safe_rank(count, target, 0.95):
            chosen["proposed"].append(propose(drawn, Target("sensitivity", target)).threshold)
        chosen["naive"].append(threshold_at_sensitivity(drawn.present, drawn.score, target))
        tick()
    return {way: _kept(everybody, lowest, values, target) for way, values in chosen.items() if values}


def _kept(everybody: Finding, lowest: np.ndarray, thresholds: list[float], target: float) -> dict[str, Any]:
    sick, well = everybody.score[everybody.present], everybody.score[~everybody.present]
    by_patient = np.array([(lowest >= value).mean() for value in thresholds])
    by_image = np.array([(sick >= value).mean() for value in thresholds])
    cleared = np.array([(well < value).mean() for value in thresholds])
    return {
        "kept_by_patient": wilson(float((by_patient >= target).mean()), len(thresholds)).to_dict(),
        "kept_by_image": wilson(float((by_image >= target).mean()), len(thresholds)).to_dict(),
        "sensitivity_by_image": _spread(by_image),
        "specificity": _spread(cleared),
        "threshold": _spread(np.array(thresholds)),
    }


def _spread(values: np.ndarray) -> dict[str, float]:
    low, middle, high = np.percentile(values, (5, 50, 95))
    return {"median": float(middle), "from": float(low), "to": float(high)}


def intervals(everybody: Finding, threshold: float, count: int, seed: int) -> dict[str, Any]:
    """How often the table's intervals hold the population's figures at one threshold."""
    truth = cutoff_at(everybody, threshold, prevalence=PREVALENCE)
    rng, held = np.random.default_rng(seed), dict.fromkeys(("sensitivity", "specificity", "ppv", "npv"), 0)
    for _ in range(SITES):
        found = cutoff_at(site(everybody, count, rng), threshold, prevalence=PREVALENCE)
        for name in held:
            here = getattr(found, name)
            held[name] += here.low <= getattr(truth, name).value <= here.high
    return {name: wilson(number / SITES, SITES).to_dict() for name, number in held.items()}


def measure(run: Run) -> dict[str, Any]:
    """One run."""
    everybody, own = population(run)
    lowest, begun = lowest_of_patients(everybody), time.perf_counter()
    cells = [(count, target) for count in PATIENTS for target in TARGETS]
    found: dict[str, Any] = {
        "images": everybody.score.size,
        "with_it": int(everybody.present.sum()),
        "patients_with_it": int(lowest.size),
        "auc": roc_auc(everybody.present, everybody.score),
        "own_threshold": {
            "threshold": own,
            "sensitivity_by_image": float((everybody.score[everybody.present] >= own).mean()),
            "specificity": float((everybody.score[~everybody.present] < own).mean()),
        },
        "sites": [],
    }
    with progress(run.path.name, len(cells) * SITES) as bar:
        for seed, (count, target) in enumerate(cells):
            kept = coverage(everybody, count, target, seed, bar.advance)
            found["sites"].append({"patients_with_it": count, "target": target, **kept})
    found["intervals"] = {str(count): intervals(everybody, own, count, 100 + count) for count in PATIENTS}
    found["seconds"] = round(time.perf_counter() - begun, 1)
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--report", type=Path, default=REPORT)
    asked = parser.parse_args()
    runs = [Run.of(path) for path in asked.runs]
    document = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": versions(),
        "sites": SITES,
        "confidence": 0.95,
        "runs": {run.recipe([]).name: measure(run) for run in runs},
    }
    write_json(asked.report, document)
    for name, one in document["runs"].items():
        print(f"{name}: {one['patients_with_it']} patients with it, AUC {one['auc']:.3f}, {one['seconds']} s")
        for row in one["sites"]:
            shown = {way: row[way]["kept_by_patient"]["value"] for way in ("proposed", "naive") if way in row}
            print(f"  {row['patients_with_it']} patients, {row['target']:g}: kept by {shown}")
        print(f"  intervals hold: {one['intervals']['100']}")


if __name__ == "__main__":
    main()
