"""Transfer against scratch on PneumoniaMNIST: epochs until the best val AUC that training from scratch ever reaches.

    python benchmarks/transfer.py --transfer runs/benchmark/seed-0 --scratch runs/scratch/seed-0

Both runs see the same number of images; make them with

    edgedx finetune pneumonia-mnist --out runs/benchmark/seed-0
    edgedx finetune pneumonia-mnist --out runs/scratch/seed-0 --from-scratch
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from edgedx.core.files import read_json, write_json
from edgedx.lab.stage import machine


def epochs(run: Path) -> list[float]:
    """Val AUC after each epoch, over all phases."""
    history: list[dict[str, Any]] = read_json(run / "teacher" / "metrics.json")["history"]
    return [line["val_auc"] for line in history]


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--transfer", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    options = parser.parse_args()
    transfer, scratch = epochs(options.transfer), epochs(options.scratch)
    goal = max(scratch)
    own = scratch.index(goal) + 1
    reached = next((number + 1 for number, value in enumerate(transfer) if value >= goal), None)
    report = {
        "schema_version": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "transfer_val_auc": transfer,
        "scratch_val_auc": scratch,
        "scratch_best": goal,
        "scratch_epochs": own,
        "transfer_epochs": reached,
        "test_auc": {
            name: read_json(run / "teacher" / "metrics.json")["test"]["auc"]["value"]
            for name, run in (("transfer", options.transfer), ("scratch", options.scratch))
        },
    }
    write_json(Path(__file__).parent / "results" / "transfer.json", report)
    print("epoch     " + "  ".join(f"{number + 1:>6}" for number in range(max(len(transfer), len(scratch)))))
    for name, values in (("transfer", transfer), ("scratch", scratch)):
        print(f"{name:<9} " + "  ".join(f"{value:.4f}" for value in values))
    print(f"scratch reaches its best ({goal:.4f}) after {own} epochs, transfer after {reached}")
    print(f"test AUC  {report['test_auc']}")


if __name__ == "__main__":
    main()
