"""What a federation's learning rate, running mean and number of rounds are worth, one thing changed at a time.

    EDGEDX_DATA=... python benchmarks/federated_schedule.py [--rounds 6] [--side 64]

The two hospitals of ``federated.py`` (X-rays of children and of adults), FedAvg. ``anew`` puts back what edgedx did at
first: each round begins its warm-up and its cosine anew. All ways train as many epochs at each site.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from federated import Changes, arguments, chest, judged, show, trained

from edgedx.core.files import write_json
from edgedx.lab.federated.flower import need_flower
from edgedx.lab.run.stage import machine, versions


def ways_of(rounds: int) -> dict[str, Changes]:
    """Settings by way."""
    own: Changes = {"federated": {"fixed_statistics": 0.0}}
    return {
        "anew": own,
        "anew, no warm-up": {**own, "train": {"warmup_epochs": 0.0}},
        "one schedule": own,
        "one schedule, no mean": {**own, "train": {"ema": 0.0}},
        "one schedule, fixed statistics": {"federated": {"fixed_statistics": 0.5}},
        "one schedule, fixed statistics, 4 times the rounds": {
            "federated": {"fixed_statistics": 0.5, "rounds": 4 * rounds, "epochs": 0.25}
        },
    }


@contextmanager
def schedule_of(way: str) -> Iterator[None]:
    """Rounds that begin anew, where the way says so."""
    if not way.startswith("anew"):
        yield
        return
    with patch("edgedx.lab.federated.site.part_of", lambda number, rounds: (0.0, 1.0)):
        yield


def main() -> None:
    """Run, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments(parser, Path(__file__).parent / "results" / "federated_schedule.json")
    parser.add_argument("--ways", type=int, nargs="+", help="Only these of the list in the source, from 0.")
    options = parser.parse_args()
    need_flower()
    recipe, parts = chest(options)
    every = list(ways_of(options.rounds).items())
    ways = dict(every[one] for one in options.ways or range(len(every)))
    logits: dict[str, Any] = {}
    for way in [*(f"alone:{site}" for site in parts), *ways]:
        with schedule_of(way):
            logits[way] = trained(way, recipe, parts, options.work / "chest-models", ways)
        if way in ways:
            report = {
                "schema_version": 1, "date": time.strftime("%Y-%m-%d"), "machine": machine(), "versions": versions(),
                "side": options.side, "rounds": options.rounds, "seed": options.seed, "ways": ways,
                "sets": {"chest": {"sites": judged(recipe, parts, logits)}},
            }  # fmt: skip
            write_json(options.out, report)
    show(report)


if __name__ == "__main__":
    main()
