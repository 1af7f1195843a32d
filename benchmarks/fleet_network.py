"""An update over bad lines: one device and one server in network namespaces of their own, the line between them shaped.

    python benchmarks/fleet_network.py [--kilobytes 150] [--seeds 0 1 2] [--save]

Needs root and `ip` (iproute2). The line is `tc netem`, or `tests/support/user_netem.py` where the kernel has none; the
result says which. For each line and seed, the whole of `edgedx install --from` is timed: Python's start,
metadata, bundle, golden samples. `on the line` are the bytes that reached the device, with headers and what came twice.
After each, the active slot is opened with all its hashes: neither half nor other than before or after.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from bad_lines import Line, bad_line, has_netem, why_not
from bundles import GOLDEN, MODEL, golden, manifest, model
from fleets import FleetPlace

from edgedx.core.bundle.manifest import write_bundle
from edgedx.core.files import write_json
from edgedx.device.install.active import open_any
from edgedx.lab.fleet.publish import publish
from edgedx.lab.run.stage import machine

LINES: dict[str, dict[str, Any]] = {
    "1 Mbit/s": {"kbit": 1000, "delay_ms": 30},
    "64 kbit/s": {"kbit": 64, "delay_ms": 100},
    "64 kbit/s, 20 % lost": {"kbit": 64, "delay_ms": 100, "loss": 20},
    "64 kbit/s, cut for 10 s thrice": {"kbit": 64, "delay_ms": 100, "cuts": 3},
}
LIMIT_S = 600.0


def main() -> None:
    """Measure every line with every seed, and print; ``--save`` writes benchmarks/results/fleet_network.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kilobytes", type=int, default=150)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    if reason := why_not():
        sys.exit(reason)
    rows = []
    with tempfile.TemporaryDirectory() as base:
        template = _template(Path(base) / "template", given.kilobytes)
        for name, line in LINES.items():
            found = [_measure(Path(base), template, name, dict(line), seed) for seed in given.seeds]
            rows.append({"line": name, "runs": found, **_middle(found)})
            print(json.dumps({key: value for key, value in rows[-1].items() if key != "runs"}), flush=True)
    report = {
        "schema_version": 1,
        "kind": "fleet over bad lines",
        "line_made_by": "tc netem" if has_netem() else "tests/support/user_netem.py on TUN devices",
        "bundle_bytes": rows[0]["runs"][0]["bundle_bytes"],
        "seeds": given.seeds,
        "rows": rows,
        "machine": machine(),
        "date": time.strftime("%Y-%m-%d"),
    }
    if given.save:
        write_json(Path(__file__).parent / "results" / "fleet_network.json", report)


def _template(folder: Path, kilobytes: int) -> Path:
    folder.mkdir()
    place = FleetPlace(folder, pytest.MonkeyPatch())
    place.join()
    place.publish("1")
    place.install()
    network = model()
    noise = np.random.default_rng(0).bytes(1000 * kilobytes)
    write_bundle(folder / "2.edgedx", manifest(version="2"), {MODEL: network, GOLDEN: golden(network), "n": noise},
                 [place.release])  # fmt: skip
    publish(place.repo, folder / "2.edgedx", place.ring, ring=100)
    return folder


def _measure(base: Path, template: Path, name: str, line: dict[str, Any], seed: int) -> dict[str, Any]:
    folder = base / f"{len(list(base.iterdir()))}"
    shutil.copytree(template, folder, symlinks=True)
    root, cuts = folder / "device", line.pop("cuts", 0)
    size = next((folder / "repo" / "targets" / "bundles").glob("*tiny-2-*")).stat().st_size
    with bad_line(folder / "repo", folder / "asked") as between:
        between.shape(**line, seed=seed)
        before, begun, calls = between.received(), time.monotonic(), 1
        command = [sys.executable, "-m", "edgedx", "install", "--from", Line.url, "--root", str(root)]
        process = between.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(cuts):
            time.sleep(7)
            between.cut(10)
            between.shape(**line, seed=seed)
        while process.poll() is None and time.monotonic() - begun < LIMIT_S:
            time.sleep(0.1)
        if process.poll() is None:
            process.kill()
        while process.wait() != 0 and time.monotonic() - begun < LIMIT_S:  # as the timer would, the next night
            process, calls = between.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), calls + 1
        seconds, received = time.monotonic() - begun, between.received() - before
        asked = between.asked()
    version = open_any(root).manifest.version
    return {
        "seed": seed, "seconds": round(seconds, 1), "version": version, "calls": calls, "bundle_bytes": size,
        "on_the_line": received, "requests": len(asked), "resumed": sum("bytes=" in one for one in asked),
    }  # fmt: skip


def _middle(found: list[dict[str, Any]]) -> dict[str, Any]:
    seconds = [one["seconds"] for one in found]
    return {
        "updated": sum(one["version"] == "2" for one in found),
        "of": len(found),
        "seconds_median": statistics.median(seconds),
        "seconds_least": min(seconds),
        "seconds_most": max(seconds),
        "line_bytes_per_bundle_byte": round(
            statistics.median(one["on_the_line"] / one["bundle_bytes"] for one in found), 2
        ),
    }


if __name__ == "__main__":
    main()
