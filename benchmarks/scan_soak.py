"""Memory and descriptors of a scanner after many images against after few.

    python benchmarks/scan_soak.py BUNDLE [--few 500] [--many 10000] [--keep]

Small PNG and DICOM files, all different, are kept in stock for one scanner. Memory is read when the stock is used up:
resident (RSS) and private (USS) of the scanner, and of it with its decoders. After every `few` images the inbox is
emptied, so that both looks find as many files in it; with --keep none is taken away, and what a scanner must remember
of each file in its inbox is counted, too.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from scanner_process import ScannerProcess

from edgedx.core.files import write_json
from edgedx.dicom.writing.make import write_dicom
from edgedx.lab.run.stage import machine

_STOCK = 200


def feed(scanner: ScannerProcess, given: int, until: int, rng: np.random.Generator) -> None:
    """Let files arrive until there are so many, and wait for their results."""
    done = scanner.results()
    while given < until:
        if given - done >= _STOCK:
            time.sleep(0.05)
            if not scanner.alive():
                raise RuntimeError(scanner.log()[-4000:])
            done = scanner.results()
            continue
        pixels = rng.integers(0, 256, (64, 64), dtype=np.uint8)
        if given % 2:
            content = bytes(cv2.imencode(".png", pixels)[1].tobytes())
        else:
            write_dicom(scanner.staging / "one", pixels, kind="CR")
            content = (scanner.staging / "one").read_bytes()
        scanner.put(f"{given:06d}", content)
        given += 1
    if not scanner.wait_for(until, 120.0):
        raise RuntimeError(scanner.log()[-4000:])


def empty(scanner: ScannerProcess) -> None:
    """Take what was read out of the inbox, once the ledger says so, too."""
    time.sleep(1.0)
    for path in scanner.inbox.iterdir():
        path.unlink()


def memory(scanner: ScannerProcess) -> dict[str, float]:
    """In MB, the middle of several looks a second apart; and open descriptors."""
    looks = []
    for _ in range(5):
        time.sleep(1.0)
        own = scanner.process.memory_full_info()
        others = [one.memory_full_info() for one in scanner.process.children(recursive=True)]
        looks.append(
            (own.rss, own.uss, own.rss + sum(one.rss for one in others), own.uss + sum(one.uss for one in others))
        )
    names = ("rss_mb", "uss_mb", "rss_with_decoders_mb", "uss_with_decoders_mb")
    middle = np.median(looks, axis=0) / 1e6
    return dict(zip(names, map(float, middle), strict=True)) | {"descriptors": scanner.process.num_fds()}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--few", type=int, default=500)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--report", type=Path, default=Path(__file__).parent / "results" / "scan_soak.json")
    options = parser.parse_args()
    if options.many % options.few:
        parser.error("--many is a multiple of --few")
    rng, begun = np.random.default_rng(0), time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        scanner = ScannerProcess(options.bundle, Path(name), ["--settle", "0.1", "--interval", "0.1"])
        scanner.start()
        try:
            scanner.wait_until_warm()
            feed(scanner, 0, options.few, rng)
            few = memory(scanner)
            for given in range(options.few, options.many, options.few):
                if not options.keep:
                    empty(scanner)
                feed(scanner, given, given + options.few, rng)
            many = memory(scanner)
        finally:
            status = scanner.stop()
    ratios = {key: many[key] / few[key] for key in few}
    report = {
        "schema_version": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "seconds": round(time.monotonic() - begun, 1),
        "inbox": "kept" if options.keep else "emptied",
        "exit_status": status,
        f"after_{options.few}": few,
        f"after_{options.many}": many,
        "ratios": ratios,
    }
    write_json(options.report, report)
    for key in few:
        print(
            f"{key:22s} {few[key]:8.1f} after {options.few}, {many[key]:8.1f} after {options.many}: {ratios[key]:.3f}"
        )
    return 0 if status == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
