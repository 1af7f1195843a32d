"""The scanner: peak resident memory, images a second, and the same with a process started per file.

    python benchmarks/scan.py BUNDLE [--images 400] [--large 12] [--per-file 8]

Writes DICOM files (CR, 12 bit) of 512 x 512 and, in a run of their own, of 3000 x 2500 pixels as digital detectors
give them. Memory is the scanner's and its decoder child's together, sampled every 20 ms by psutil:
`sum` counts the pages that both share (libraries) twice, `proportional` once.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from edgedx.core.files import write_json
from edgedx.dicom.writing.make import write_dicom
from edgedx.lab.run.stage import machine


def fill(folder: Path, count: int, seed: int = 0, shape: tuple[int, int] = (512, 512)) -> Path:
    """Write `count` different images."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for number in range(count):
        pixels = rng.integers(0, 4096, shape, dtype=np.uint16)
        write_dicom(folder / f"{number:05d}.dcm", pixels, kind="CR", bits_stored=12, instance_number=number + 1)
    return folder


def scan(bundle: Path, inbox: Path, out: Path) -> tuple[float, dict[str, float]]:
    """Run `edgedx scan --once`; returns seconds and peak memory of its processes in MB."""
    command = [
        sys.executable,
        "-m",
        "edgedx",
        "scan",
        inbox,
        "--bundle",
        bundle,
        "--out",
        out,
        "--once",
        "--settle",
        "0.1",
    ]
    begun = time.perf_counter()
    process = psutil.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = dict.fromkeys(("scanner", "decoder", "sum", "proportional"), 0.0)
    while process.poll() is None:
        try:
            own = process.memory_full_info()
            children = [one.memory_full_info() for one in process.children()]
        except psutil.Error:
            continue
        resident = sum(one.rss for one in children)
        shared = own.pss + sum(one.pss for one in children)
        for name, value in zip(peak, (own.rss, resident, own.rss + resident, shared), strict=True):
            peak[name] = max(peak[name], value / 1e6)
        time.sleep(0.02)
    assert process.returncode == 0, process.returncode
    return time.perf_counter() - begun, peak


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--large", type=int, default=12)
    parser.add_argument("--per-file", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        seconds, peak = scan(options.bundle, fill(base / "inbox", options.images), base / "out")
        large = fill(base / "inbox-large", options.large, shape=(3000, 2500))
        large_seconds, large_peak = scan(options.bundle, large, base / "out-large")
        single = []
        for number in range(options.per_file):
            inbox = fill(base / f"inbox-{number}", 1, seed=number + 1)
            single.append(scan(options.bundle, inbox, base / f"out-{number}")[0])
    together, alone = options.images / seconds, options.per_file / sum(single)
    report = {
        "schema_version": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "images": options.images,
        "peak_mb": peak,
        "large_images": options.large,
        "large_peak_mb": large_peak,
        "large_seconds_with_start": large_seconds,
        "images_per_s": together,
        "images_per_s_one_process_each": alone,
        "ratio": together / alone,
    }
    write_json(Path(__file__).parent / "results" / "scan.json", report)
    for name, one in (("512x512", peak), ("3000x2500", large_peak)):
        print(
            f"peak      {name}: scanner {one['scanner']:.0f} MB, decoder {one['decoder']:.0f} MB, "
            f"together {one['sum']:.0f} MB ({one['proportional']:.0f} MB with shared pages counted once)"
        )
    print(
        f"speed     {together:.1f} images/s; {alone:.2f} images/s with a process for each; ratio {together / alone:.1f}"
    )


if __name__ == "__main__":
    main()
