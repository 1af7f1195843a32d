"""Transfer against scratch and against feature extraction, on runs of any recipe.

Epochs until the best val AUC that training from scratch ever reaches, and DeLong's test on the official test set.

    python benchmarks/transfer.py --transfer runs/benchmark/seed-0 --scratch runs/scratch runs/scratch20 \\
                                  [--frozen runs/frozen] [--name breast]

Make the runs with

    edgedx finetune pneumonia-mnist --out runs/benchmark/seed-0
    edgedx finetune pneumonia-mnist --out runs/scratch --from-scratch
    edgedx finetune pneumonia-mnist --out runs/scratch20 --from-scratch --set train.epochs=20
    edgedx finetune pneumonia-mnist --out runs/frozen --set train.epochs=0 --set train.frozen_epochs=7

and of another recipe in the same way, such as ``edgedx finetune benchmarks/modalities/breast.yaml --set data.folds=null
--set preprocess.size=[96,96] --set train.epochs=9``. The result is ``results/transfer.json``, with --name breast
``results/transfer-breast.json``.

The first pair sees the same number of images; the second gives the scratch model time to converge; the last trains the
new head alone (feature extraction). An epoch of the new head counts as one, although its base is frozen and it costs a
sixth of the others.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from edgedx.core.files import read_json, write_json
from edgedx.core.settings.recipe import load_recipe
from edgedx.lab.data.cases_file import SUMMARY
from edgedx.lab.evidence.compare.compare import compare as significance_of
from edgedx.lab.evidence.compare.files import report_of
from edgedx.lab.evidence.compare.lineup import line_up
from edgedx.lab.run.renew import RECIPE
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import machine


def epochs(run: Path) -> list[float]:
    """Val AUC after each epoch, over all phases."""
    history: list[dict[str, Any]] = Run(run).teacher.metrics["history"]
    return [line["val_auc"] for line in history]


def compare(transfer: Path, scratch: Path) -> dict[str, Any]:
    """One run from scratch against the transfer run."""
    curve, own = epochs(transfer), epochs(scratch)
    goal = max(own)
    return {
        "scratch_val_auc": own,
        "scratch_best": goal,
        "scratch_epochs": own.index(goal) + 1,
        "transfer_epochs": next((number + 1 for number, value in enumerate(curve) if value >= goal), None),
        "scratch_test_auc": _test_auc(scratch),
    }


def _test_auc(run: Path) -> float:
    return float(Run(run).teacher.metrics["test"]["auc"]["value"])


def about(run: Path) -> dict[str, Any]:
    """What was learned, from how many images."""
    recipe = load_recipe(str(Run(run).path / RECIPE))
    splits = read_json(Run(run).data / SUMMARY)["splits"]
    return {"recipe": recipe.name, "size": recipe.preprocess.size, "seed": recipe.train.seed, "splits": splits}


def significance(runs: list[Path]) -> dict[str, Any]:
    """DeLong and McNemar of the first run's teacher against those of the others."""
    found = significance_of(line_up([Run(run).teacher.path for run in runs]), baseline=str(runs[0] / "teacher"))
    return {key: value for key, value in report_of(found).items() if key in ("sentences", "pairs")}  # no paths


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--transfer", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True, nargs="+", help="One run or several, of other lengths.")
    parser.add_argument("--name", help="Of the result, where it is not PneumoniaMNIST's.")
    parser.add_argument("--frozen", type=Path, help="Run whose base stayed as it was pretrained.")
    options = parser.parse_args()
    rows = [compare(options.transfer, scratch) for scratch in options.scratch]
    curve = epochs(options.transfer)
    report = {
        "schema_version": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        **about(options.transfer),
        "transfer_val_auc": curve,
        "transfer_test_auc": _test_auc(options.transfer),
        "scratch": rows,
    }
    if options.frozen:
        report["frozen_val_auc"], report["frozen_test_auc"] = epochs(options.frozen), _test_auc(options.frozen)
    others = [*options.scratch, *([options.frozen] if options.frozen else [])]
    report["against_transfer"] = significance([options.transfer, *others])
    name = f"transfer-{options.name}.json" if options.name else "transfer.json"
    write_json(Path(__file__).parent / "results" / name, report)
    print(f"transfer, {len(curve)} epochs: val AUC " + " ".join(f"{value:.4f}" for value in curve))
    for row in rows:
        print(f"scratch, {len(row['scratch_val_auc'])} epochs: " + " ".join(f"{v:.4f}" for v in row["scratch_val_auc"]))
        print(
            f"  its best ({row['scratch_best']:.4f}) after {row['scratch_epochs']}, transfer {row['transfer_epochs']}"
        )
        print(f"  test AUC {row['scratch_test_auc']:.4f}, transfer {report['transfer_test_auc']:.4f}")
    if options.frozen:
        curve, best = report["frozen_val_auc"], max(report["frozen_val_auc"])
        print(f"frozen base, {len(curve)} epochs: val AUC " + " ".join(f"{value:.4f}" for value in curve))
        print(f"  its best {best:.4f}; test AUC {report['frozen_test_auc']:.4f}")
    for sentence in report["against_transfer"]["sentences"]:
        print(sentence)


if __name__ == "__main__":
    main()
