"""How soon does `edgedx monitor` see that something has changed, and how often does it cry wolf?

    python benchmarks/drift.py DATASETS RUN RUN RUN --evidently PYTHON

DATASETS holds the sets; each RUN is named as its set, was made by the recipe of `edgedx init` (here with
``preprocess.size=[96,96] train.epochs=4 student.epochs=4``) and deployed. Their bundles answer the held-out images
(val and test), once as they are and once for each change of pixels; all else is drawn from these answers.

A simulated clinic draws 40 images a day with replacement, as if the held-out images were all there are. So are its
bundle's reference (as many images as val has) and its own first 500: both have their sampling noise. Every day the
code of `edgedx monitor` looks at the last 280 images, and at its charts. Stable: 200 clinics for a year each. Changed:
after a stable week, each of eight changes, in 100 clinics, until 1,000 images. PYTHON is an interpreter with Evidently
(0.7.23 wants pandas below 3).

Beside it, once a week, on the same numbers and images: KS with p < 0.05 on any stream, no correction; MMD on the
network's features, with the threshold of one false alarm a year by permutation; Evidently's DataDriftPreset as it
comes (drift: half of the columns), and its "any column". Writes ``benchmarks/results/drift.json``. An hour of one core.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from drift_clinic import A_DAY, WEEK, Clinic, day_counts, window_of
from drift_images import Material, gather
from drift_others import Mmd, columns_of, evidently, plain_ks

from edgedx.core.files import read_json, write_json
from edgedx.core.stats.binomial import wilson
from edgedx.core.stats.prevalence import corrected, prevalence_interval
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import machine, versions
from edgedx.lab.ship.reference import fit_correction, redraw_correction

CHANGES = (
    *("another set", "inverted polarity", "another detector", "another window", "turned by 90 degrees"),
    *("prevalence halved", "one view missing", "calibration image repeated"),
)
SOON, LATE = 200, 1000
DAYS = 365


def stable_year(material: Material, seed: int) -> dict[str, int]:
    """One clinic without a change: days with an alarm, and how often one began."""
    clinic = Clinic(material, seed)
    days = [clinic.draw("stable", A_DAY) for _ in range(7)]
    days += [clinic.draw("stable", A_DAY) for _ in range(DAYS)]
    suspect = clinic.may_alarm(window_of(days))
    windows = [
        bool(suspect[day]) and bool(clinic.findings(window_of(days[day : day + 7]))) for day in range(1, DAYS + 1)
    ]
    charts = clinic.chart_alarms([day_counts(one) for one in days[7:]])
    either = np.array(windows) | charts
    begun = int(either[0]) + int(np.sum(either[1:] & ~either[:-1]))
    return {"alarms": begun, "days": int(either.sum()), "window_days": sum(windows), "chart_days": int(charts.sum())}


def images_to_alarm(material: Material, change: str, seed: int) -> tuple[int | None, str]:
    """Changed images until the first alarm, in a clinic that was stable for a week; None: not within `LATE`."""
    clinic = Clinic(material, seed)
    days = [clinic.draw("stable", A_DAY) for _ in range(7)]
    counts = [day_counts(one) for one in days]
    for day in range(1, LATE // A_DAY + 1):
        days = [*days[1:], clinic.draw(change, A_DAY)]
        counts.append(day_counts(days[-1]))
        findings = clinic.findings(window_of(days))
        if findings or clinic.chart_alarms(counts)[-1]:
            return day * A_DAY, findings[0].stream if findings else "chart"
    return None, ""


def ours(material: Material, years: int, clinics: int, pool: Executor) -> dict[str, Any]:
    """False alarms, and what is found when."""
    stable = list(pool.map(partial(stable_year, material), range(10_000, 10_000 + years), chunksize=5))
    begun = np.array([one["alarms"] for one in stable])
    found: dict[str, Any] = {
        "years": years,
        "false_alarms_a_year": float(begun.mean()),
        "years_with_one": int((begun > 0).sum()),
        "alarm_days_a_year": {name: float(np.mean([one[name] for one in stable]))
                              for name in ("days", "window_days", "chart_days")},
    }  # fmt: skip
    changes = {}
    for change in CHANGES:
        until = list(pool.map(partial(images_to_alarm, material, change), range(clinics), chunksize=20))
        counts = [count for count, _ in until if count is not None]
        streams = [stream for _, stream in until if stream]
        changes[change] = {
            "clinics": clinics,
            **{f"within_{limit}": share(sum(count <= limit for count in counts), clinics) for limit in (SOON, LATE)},
            "median_images": float(np.median(counts)) if 2 * len(counts) > clinics else None,
            "first_stream": max(set(streams), key=streams.count) if streams else None,
        }
    return {**found, "changes": changes}


def others(material: Material, clinics: int, python: Path | None) -> dict[str, Any]:
    """The other ways, once a week: at 200 changed images, then each 280 until 1,000."""
    sizes = (SOON, WEEK, WEEK, LATE - SOON - 2 * WEEK)
    verdicts: dict[str, dict[str, list[list[bool]]]] = {}
    batches: list[dict[str, Any]] = []
    places: list[tuple[str, int]] = []
    for change in ("stable", *CHANGES):
        for seed in range(clinics):
            clinic = Clinic(material, 20_000 + seed)
            made = clinic.reference_columns
            mmd = Mmd(clinic.made_features, clinic.first_features[:WEEK], 1 / 52, seed)
            windows = []
            for size in sizes:
                drawn = clinic.draw(change, size)
                windows.append(columns_of(clinic, drawn))
                for method, alarm in (("ks", plain_ks(made, windows[-1])), ("mmd", mmd.alarm(clinic.last_features))):
                    by_clinic = verdicts.setdefault(method, {}).setdefault(change, [])
                    by_clinic.append([]) if size == SOON and len(windows) == 1 else None
                    by_clinic[-1].append(bool(alarm))
            batches.append({"reference": made, "windows": windows})
            places.append((change, seed))
    if python is not None:
        answers = iter(evidently(python, batches))
        for change, _ in places:
            several = [next(answers) for _ in sizes]
            for method, rule in (("evidently", lambda one: one["share"] >= 0.5),
                                 ("evidently, any column", lambda one: one["columns"] >= 1)):  # fmt: skip
                verdicts.setdefault(method, {}).setdefault(change, []).append([rule(one) for one in several])
    return {method: told(by_change) for method, by_change in verdicts.items()}


def told(by_change: dict[str, list[list[bool]]]) -> dict[str, Any]:
    """Verdicts by clinic and window to shares."""
    quiet = np.array(by_change["stable"])
    found: dict[str, Any] = {"clinics": len(quiet), "false_alarms_a_year": float(52 * quiet.mean()), "changes": {}}
    for change in CHANGES:
        seen = np.array(by_change[change])
        found["changes"][change] = {
            f"within_{SOON}": share(int(seen[:, 0].sum()), len(seen)),
            f"within_{LATE}": share(int(seen.any(axis=1).sum()), len(seen)),
        }
    return found


def share(hits: int, count: int) -> dict[str, float]:
    """A share with its 95 % interval."""
    interval = wilson(hits / count, count)
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def counting(material: Material, windows: int = 100, images: int = 300) -> dict[str, Any]:
    """Prevalence on test at the built share, a half, a quarter of it: error and coverage, corrected on val and not."""
    manifest, stable = material.bundle.manifest, material.answers["stable"]
    cut = material.bundle.manifest.doubt.ood[manifest.default_variant].images
    names, task = manifest.classes, manifest.task
    known, told = material.labels[:cut], stable.probabilities[:cut]
    fits = [fit_correction(known, told, names, task),
            *redraw_correction(known, told, material.patients[:cut], names, task, 0)]  # fmt: skip
    labels, raw = material.labels[cut:].astype(int), stable.probabilities[cut:]
    honest = [
        (corrected(raw, [by.scale[name] for name in names], [by.bias[name] for name in names], task),
         np.array([by.built[name] for name in names]))
        for by in fits
    ]  # fmt: skip
    built = np.bincount(material.labels[:cut].astype(int), minlength=len(manifest.classes)) / cut
    counts = np.bincount(labels, minlength=len(built))
    of = manifest.classes.index(manifest.positive) if manifest.positive else int(counts.argmax())
    rng, rows = np.random.default_rng(0), []
    for factor in (1.0, 0.5, 0.25):
        target = factor * built[of]
        weights = np.where(labels == of, target / counts[of], (1 - target) / (len(labels) - counts[of]))
        ways = {"corrected": honest, "correction taken for exact": honest[:1], "one temperature": [(raw, built)]}
        errors: dict[str, list[float]] = {name: [] for name in ways}
        covered: dict[str, list[bool]] = {name: [] for name in errors}
        for _ in range(windows):
            drawn = rng.choice(len(labels), images, p=weights / weights.sum())
            for name, several in ways.items():
                found = prevalence_interval([(chances[drawn], at) for chances, at in several])[of]
                errors[name].append(abs(found.value - target))
                covered[name].append(bool(found.low <= target <= found.high))
        figures = {
            name: {"mean_absolute_error": float(np.mean(errors[name])), "covered": float(np.mean(covered[name]))}
            for name in errors
        }
        rows.append({"class": manifest.classes[of], "true_share": float(target), **figures})
    return {"windows": windows, "images": images, "rows": rows}


def main() -> None:
    """Parse, simulate, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--evidently", type=Path, help="Python interpreter with evidently")
    parser.add_argument("--years", type=int, default=200)
    parser.add_argument("--clinics", type=int, default=100)
    parser.add_argument("--other-clinics", type=int, default=4)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "drift.json")
    options = parser.parse_args()
    sets: dict[str, Any] = read_json(options.out)["sets"] if options.out.is_file() else {}  # others are kept
    for run in options.runs:
        begun = time.perf_counter()
        material = gather(run, Run(run).recipe([]), options.datasets / run.name)
        with ProcessPoolExecutor(options.processes) as pool, ThreadPoolExecutor(1) as beside:
            pool.submit(int).result()  # its processes are there before a thread is
            waiting = beside.submit(others, material, options.other_clinics, options.evidently)
            monitor = ours(material, options.years, options.clinics, pool)
            compared = waiting.result()
        sets[run.name] = {
            "bundle": material.bundle.digest,
            "images": len(material.labels),
            "monitor": monitor,
            "others": compared,
            "prevalence": counting(material),
            "seconds": round(time.perf_counter() - begun, 1),
        }
        facts = {"benchmark": "drift", "machine": machine(), "versions": versions(), "images_a_day": A_DAY}
        write_json(options.out, {**facts, "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "sets": sets})
        print(
            run.name, sets[run.name]["monitor"]["false_alarms_a_year"], f"{sets[run.name]['seconds']:.0f} s", flush=True
        )
    print(f"written {options.out}")


if __name__ == "__main__":
    main()
