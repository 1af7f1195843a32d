"""How fast an archive is read, against what decoding alone allows on the same core, and with two processes against one.

    python benchmarks/archive.py BUNDLE [--images 600] [--side 1024] [--rounds 3] [--save]

`images` uncompressed chest phantoms of `side` x `side` pixels and 12 bits, all of different content (as in
scan_throughput.py). By turns, `rounds` times: decoder processes that do nothing else, one and two of them; `edgedx
archive` with one and with two processes, each with its decoder. Its seconds are those between its workers' first
and last row, without the start of their processes, which is told beside it. One process is held to one core, two to
two. What follows for more cores and for a million studies is arithmetic: images a second of a core, times cores; it
holds as long as the storage gives the bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from scan_throughput import decode_alone, drawings, write_images

from edgedx.core.bundle.manifest import Bundle, open_bundle
from edgedx.core.files import write_json
from edgedx.lab.run.stage import machine

_ROOT = Path(__file__).resolve().parent.parent
_OF_CORES = """
import os, sys, time
os.sched_setaffinity(0, set(map(int, sys.argv[1].split(","))))
from pathlib import Path
from edgedx.lab.archive.archive import Archive, archive
archive(Archive(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), size=int(sys.argv[5]), jobs=int(sys.argv[6]),
                units=int(sys.argv[6])))
"""


def read_archive(studies: Path, bundle: Bundle, images: int, jobs: int, cores: list[int]) -> dict[str, float]:
    """One run; images a second of its workers, and with their start."""
    size = images // jobs
    with tempfile.TemporaryDirectory() as out:
        begun = time.time()
        command = [sys.executable, "-c", _OF_CORES, ",".join(map(str, cores)), str(studies), str(bundle.path), out]
        subprocess.run([*command, str(size), str(jobs)], check=True, capture_output=True)
        ended = time.time()
        facts = [json.loads(line) for path in Path(out, "units").glob("*/output.txt") for line in _figures(path)]
    first, last = min(one["begun"] for one in facts), max(one["ended"] for one in facts)
    return {"images_per_s": images / (last - first), "with_start_per_s": images / (ended - begun)}


def _figures(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.startswith("{")]


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", nargs="?", type=Path, const=_ROOT / "benchmarks/results/archive.json")
    options = parser.parse_args()
    bundle = open_bundle(options.bundle)
    cores = sorted(os.sched_getaffinity(0))[:2]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        studies = Path(folder, "studies")
        made = drawings(Path(folder), "uncompressed", options.side, bundle.manifest.accept)
        paths = write_images(studies, made, options.images, "study")
        for _ in range(options.rounds):
            row: dict[str, Any] = {}
            for jobs in (1, 2):
                os.sched_setaffinity(0, set(cores[:jobs]))
                row[f"decoding_{jobs}"] = decode_alone(bundle, paths, jobs)[0]
                os.sched_setaffinity(0, set(cores))
                row[f"archive_{jobs}"] = read_archive(studies, bundle, options.images, jobs, cores[:jobs])
            rows.append(row)
            print(json.dumps(row), flush=True)
    one, two = ([row[f"archive_{jobs}"]["images_per_s"] for row in rows] for jobs in (1, 2))
    shares = [row["archive_1"]["images_per_s"] / row["decoding_1"] for row in rows]
    scaling = [after / before for before, after in zip(one, two, strict=True)]
    figures = {
        "images_per_s_of_a_core": {"median": median(one), "low": min(one), "high": max(one)},
        "of_decoding_alone": {"median": median(shares), "low": min(shares), "high": max(shares)},
        "two_against_one": {"median": median(scaling), "low": min(scaling), "high": max(scaling)},
        "arithmetic": {
            "hours_for_a_million_on_two_cores": 1e6 / median(two) / 3600,
            "hours_for_a_million_on_64_cores": 1e6 / (median(one) * 64 * median(scaling) / 2) / 3600,
        },
    }
    print(json.dumps(figures, indent=2))
    if options.save:
        settings = {"images": options.images, "side": options.side}
        write_json(
            options.save,
            {
                "schema_version": 1,
                "machine": machine(),
                "date": time.strftime("%Y-%m-%d"),
                **settings,
                "rounds": rows,
                **figures,
            },
        )


if __name__ == "__main__":
    main()
