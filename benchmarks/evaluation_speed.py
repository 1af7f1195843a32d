"""How long figures and their intervals take beside inference: 10,000 images, 2,000 resamples of patients.

    python benchmarks/evaluation_speed.py [--images 10000] [--resamples 2000] [--repeats 5] [--run RUN]

Answers are drawn at random, as time does not depend on what they say: a binary task, three classes, and fourteen
findings (as many as ChestX-ray14 has), two images a patient. With --run its report is written
too, and told with its size.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgedx.core.files import write_json
from edgedx.core.stats.cases import Cases, predictions_of_logits
from edgedx.core.stats.points import OperatingPoint
from edgedx.lab.judge.figures import figures_with_intervals
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import machine

TASKS = {"binary": 2, "multiclass": 3, "multilabel": 14}


def seconds_of(task: str, images: int, resamples: int, seed: int) -> float:
    """Seconds for all figures with intervals of one model."""
    rng = np.random.default_rng(seed)
    classes = [f"c{number}" for number in range(TASKS[task])]
    patients = [f"p{number // 2}" for number in range(images)]
    logits = rng.normal(size=(images, len(classes)))
    if task == "multilabel":
        labels: Any = (rng.random(logits.shape) < 0.1).astype(float)
        point = OperatingPoint(name="youden", threshold=dict.fromkeys(classes, 0.5))
    else:
        labels = rng.integers(0, len(classes), images)
        point = OperatingPoint(name="argmax", threshold={})
    names = [str(number) for number in range(images)]
    cases = Cases(names, patients, labels, [{}] * images, task, classes, classes[1] if task == "binary" else None)
    begun = time.perf_counter()
    figures_with_intervals(cases, predictions_of_logits(cases, logits, 1.0, point), resamples=resamples)
    return time.perf_counter() - begun


def report_of(run: Path) -> dict[str, float]:
    """Seconds and bytes of a run's report."""
    from edgedx.lab.evidence.report.collect import collect
    from edgedx.lab.evidence.report.files import write_report
    from edgedx.lab.evidence.report.sections import find_evidence

    with tempfile.TemporaryDirectory() as folder:
        path, begun = Path(folder) / "report.html", time.perf_counter()
        found = collect(Run(run).recipe(), run)
        write_report(found, path, evidence=find_evidence(run))
        return {"seconds": time.perf_counter() - begun, "bytes": path.stat().st_size}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--run", type=Path)
    options = parser.parse_args()
    report: dict[str, Any] = {
        "schema_version": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "images": options.images,
        "resamples": options.resamples,
        "seconds": {},
    }
    for task in TASKS:
        times = [seconds_of(task, options.images, options.resamples, seed) for seed in range(options.repeats)]
        report["seconds"][task] = times
        print(f"{task:11s} {statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})")
    if options.run is not None:
        report["report"] = report_of(options.run)
        print(f"report      {report['report']['seconds']:.1f} s, {report['report']['bytes'] / 1e6:.2f} MB")
    write_json(Path(__file__).parent / "results" / "evaluation_speed.json", report)


if __name__ == "__main__":
    main()
