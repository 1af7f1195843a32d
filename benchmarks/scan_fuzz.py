"""Hostile files into a running scanner: it keeps its process, and every file gets its final status.

    python benchmarks/scan_fuzz.py BUNDLE [--seconds 120] [--seed 0] [--report FILE]

Mutants of what pydicom's package holds and of the files below EDGEDX_FAULTS arrive as fast as they are read, the
unchanged files first. Exit status 1 where the scanner died, a file was lost or kept no final status.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from dicom_mutations import mutants, seeds
from scanner_process import ScannerProcess, account

from edgedx.core.files import sha256_bytes, write_json
from edgedx.lab.run.stage import machine

# Many mutants end early; a scanner that waits minutes for the rest of each would starve the others here.
_BACKLOG = 64  # files that wait for the scanner: enough that it never does
_PATIENCE = 240.0  # seconds without any result: three attempts at a file that hangs the decoder take half of it


def main() -> int:
    """Fuzz, drain, stop, count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path, default=Path(__file__).parent / "results" / "scan_fuzz.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scanner = ScannerProcess(
            options.bundle, Path(name), ["--settle", "0.1", "--interval", "0.1", "--patience", "0"]
        )
        started = scanner.start().pid
        scanner.wait_until_warm()
        given, begun = _feed(scanner, options.seconds, options.seed), time.monotonic()
        drained = scanner.wait_for(len(given), _PATIENCE)
        took, died = options.seconds + time.monotonic() - begun, not scanner.alive()
        status = scanner.stop()
        found = account(scanner.inbox, scanner.out, given, ended=True)
        log = scanner.log()
    report = {
        "schema_version": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "seed": options.seed,
        "seconds": round(took, 1),
        "files": len(given),
        "daemon_deaths": int(died),
        "exit_status": status,
        "final": found.final,
        "without_final_status": len(given) - found.final,
        "lost": found.lost,
        "duplicated": found.duplicated,
        "broken": found.broken,
        "statuses": dict(found.statuses),
        "codes": dict(found.codes.most_common()),
    }
    write_json(options.report, report)
    ok = drained and not died and status == 0 and found.final == len(given)
    ok = ok and not (found.lost or found.duplicated or found.broken)
    print(
        f"fuzz      {len(given)} files in {took:.0f} s, daemon deaths {int(died)} (process {started}), "
        f"without a final status {len(given) - found.final}, lost {found.lost}, duplicated {found.duplicated}"
    )
    print("fates     " + ", ".join(f"{code} {count}" for code, count in found.codes.most_common()))
    if not ok:
        print(f"FAILED: {found}\n{log[-4000:]}", file=sys.stderr)
    return 0 if ok else 1


def _feed(scanner: ScannerProcess, seconds: float, seed: int) -> set[str]:
    """Let files arrive for so long; returns their hashes, each once."""
    sources = seeds()
    stream, given, until = mutants(sources, seed), set[str](), time.monotonic() + seconds
    queue = list(reversed(sources)) if seconds >= 60 else []  # the short form is for mutants alone
    while time.monotonic() < until and scanner.alive():
        if len(given) - scanner.results() >= _BACKLOG:
            time.sleep(0.02)
            continue
        for _ in range(8):
            content = queue.pop() if queue else next(stream)
            digest = sha256_bytes(content)
            if digest not in given:
                given.add(digest)
                scanner.put(f"{len(given):06d}.dcm", content)
    return given


if __name__ == "__main__":
    sys.exit(main())
