"""What a thousand devices cost a static web server, by measured bytes and a simulation: told as such.

    python benchmarks/fleet_plan.py [--devices 1000] [--megabytes 4] [--nights 60] [--save]

Measured here: requests and bytes of a check that finds nothing, and of one that finds a release, over loopback with a
real repository of 30 releases; TLS and TCP are added by rule (7 kB a connection, 5 %). Simulated: devices that ask once
a night, each at a moment of its own within 4 hours, on a line of 64 kbit/s with a fifth of the packets lost (goodput of
benchmarks/results/fleet_network.json), that cannot be reached on some nights, are cut at random moments, and go on the
next night where they were. A night lasts 20 hours, as the unit has it. Nothing of this ran on a thousand machines.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from fleets import FleetPlace, web

from edgedx.core.files import read_json, write_json
from edgedx.lab.run.stage import machine

RESULTS = Path(__file__).parent / "results"
CONNECTION_BYTES, OVERHEAD = 7000, 1.05
NIGHT_S, SPREAD_S = 20 * 3600.0, 4 * 3600.0
AWAY, CUTS_PER_HOUR = 0.15, 2.0
"""Share of nights on which a device cannot be reached, and how often its line breaks for good (until the next try)."""


def main() -> None:
    """Measure, simulate, print; ``--save`` writes benchmarks/results/fleet_plan.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--megabytes", type=float, default=4.0)
    parser.add_argument("--nights", type=int, default=60)
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    sizes = _measured()
    goodput = _goodput()
    bundle = int(given.megabytes * 1e6)
    runs = [_simulate(given.devices, bundle, goodput, given.nights, seed) for seed in range(5)]
    release = OVERHEAD * (bundle + sizes["a_release"]["bytes_without_bundle"])
    day = given.devices * (1 - AWAY) * (OVERHEAD * sizes["nothing_new"]["bytes"] + CONNECTION_BYTES)
    report: dict[str, Any] = {
        "schema_version": 1,
        "kind": "plan of a fleet: measured bytes, simulated devices",
        "devices": given.devices,
        "bundle_bytes": bundle,
        "measured": sizes,
        "goodput_bytes_per_second": round(goodput),
        "assumed": {"away": AWAY, "cuts_per_hour": CUTS_PER_HOUR, "night_hours": 20, "spread_hours": 4,
                    "connection_bytes": CONNECTION_BYTES, "overhead": OVERHEAD},
        "a_night_without_news": {
            "requests": round(given.devices * (1 - AWAY) * sizes["nothing_new"]["requests"]),
            "megabytes": round(day / 1e6, 1),
            "requests_per_second": round(given.devices * sizes["nothing_new"]["requests"] / SPREAD_S, 2),
        },
        "a_release_to_all": {
            "gigabytes": round(given.devices * release / 1e9, 2),
            "hours_of_one_device": round(bundle / goodput / 3600, 2),
            **_spread(runs),
        },
        "machine": machine(),
        "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip
    print(json.dumps(report, indent=1))
    if given.save:
        write_json(RESULTS / "fleet_plan.json", report)


def _measured() -> dict[str, dict[str, int]]:
    """Requests and bytes of bodies, as the server counts them."""
    with tempfile.TemporaryDirectory() as base:
        place = FleetPlace(Path(base), pytest.MonkeyPatch())
        place.join()
        for number in range(1, 31):
            place.publish(str(number))
        with web(place.repo) as (url, server):
            place.install(url)
            place.publish("31")
            server.asked.clear()
            server.sent = 0
            done = place.install(url)
            new = {"requests": len(server.asked), "bytes_without_bundle": server.sent - done.release.length}
            server.asked.clear()
            server.sent = 0
            assert place.install(url).outcome == "current"
            old = {"requests": len(server.asked), "bytes": server.sent}
    return {"nothing_new": old, "a_release": new}


def _goodput() -> float:
    rows = read_json(RESULTS / "fleet_network.json")
    bad = next(one for one in rows["rows"] if "lost" in one["line"])
    good = next(one for one in rows["rows"] if one["line"].startswith("1 Mbit"))
    start = good["seconds_median"] - 8 * rows["bundle_bytes"] * OVERHEAD / 1e6  # Python, golden samples
    return float(rows["bundle_bytes"] / (bad["seconds_median"] - start))


def _simulate(devices: int, bundle: int, goodput: float, nights: int, seed: int) -> list[float]:
    """Hours from the release to each device's update; infinite where the nights were not enough."""
    draw, hours = random.Random(seed), []
    for _ in range(devices):
        offset, have, done = draw.uniform(0, SPREAD_S), 0.0, float("inf")
        for night in range(nights):
            if draw.random() < AWAY:
                continue
            lasts = min(NIGHT_S, draw.expovariate(CUTS_PER_HOUR / 3600)) if CUTS_PER_HOUR else NIGHT_S
            needed = (bundle - have) / goodput
            if needed <= lasts:
                done = (night * 86400 + offset + needed) / 3600
                break
            have += lasts * goodput
        hours.append(done)
    return hours


def _spread(runs: list[list[float]]) -> dict[str, Any]:
    def at(share: float) -> list[float]:
        return [sorted(hours)[int(share * len(hours)) - 1] for hours in runs]

    return {
        f"hours_to_{round(100 * share)}_percent": {"median": round(statistics.median(at(share)), 1),
                                                   "least": round(min(at(share)), 1), "most": round(max(at(share)), 1)}
        for share in (0.5, 0.9, 0.99)
    }  # fmt: skip


if __name__ == "__main__":
    main()
