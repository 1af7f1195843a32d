"""kill -9 of a scanner under load, again and again: what is lost, what is done twice?

    python benchmarks/scan_kills.py BUNDLE [--kills 200] [--seed 0] [--report FILE]

Files go on arriving before, during and after each death: DICOM, PNG, text, the same content twice, and files that are
still being written. Deaths come at random moments, in the middle of work and while the scanner starts. After each, the
ledger, every result and every byte that arrived are checked as they lie there; at the end, a scanner that is left alone
must have brought each input to its one result. Exit status 1 otherwise.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from scanner_process import ScannerProcess, account

from edgedx.core.files import sha256_bytes, write_json
from edgedx.dicom.writing.make import write_dicom
from edgedx.lab.run.stage import machine

_PACE = 0.04  # seconds between two files: about as many as are read
_BACKLOG = 200
_AT_START = 0.2  # share of the deaths that come while the scanner starts


class Load(threading.Thread):
    """Lets files arrive until it is told to stop. `given` holds the hash of each content."""

    def __init__(self, scanner: ScannerProcess, seed: int) -> None:
        super().__init__(daemon=True)
        self.given: set[str] = set()
        self._scanner, self._dice, self._rng = scanner, random.Random(seed), np.random.default_rng(seed)
        self._number, self._ended = 0, threading.Event()

    def run(self) -> None:
        while not self._ended.wait(_PACE):
            if len(self.given) - self._scanner.results() < _BACKLOG:
                self._arrive()

    def end(self) -> None:
        """No more files; what was being written is whole."""
        self._ended.set()
        self.join()

    def _arrive(self) -> None:
        content = self._content()
        self._number += 1
        name = f"{self._number:06d}"
        if self._dice.random() < 0.1:  # written in place, with a pause that is shorter than the stability gate
            half = len(content) // 2
            with (self._scanner.inbox / name).open("wb") as stream:
                stream.write(content[:half])
                stream.flush()
                time.sleep(0.02)
                stream.write(content[half:])
        else:
            self._scanner.put(name, content)
            if self._dice.random() < 0.1:
                self._scanner.put(f"{name}-again", content)
        self.given.add(sha256_bytes(content))

    def _content(self) -> bytes:
        kind = self._dice.random()
        pixels = self._rng.integers(0, 4096, (128, 128), dtype=np.uint16)
        if kind < 0.1:
            return f"no image: {self._number}".encode()
        if kind < 0.4:
            return bytes(cv2.imencode(".png", pixels * 16)[1].tobytes())
        path = self._scanner.staging / "one.dcm"
        write_dicom(path, pixels, kind="SC" if kind > 0.9 else "CR", bits_stored=12)
        return path.read_bytes()


def _die(scanner: ScannerProcess, dice: random.Random) -> str:
    """Start it, kill it at a random moment; returns what it was doing."""
    scanner.start()
    if dice.random() < _AT_START:
        time.sleep(dice.random() * 2.0)
    else:
        until = time.monotonic() + 60.0
        while "seq=" not in scanner.log() and scanner.alive() and time.monotonic() < until:
            time.sleep(0.005)
        time.sleep(dice.random() * 1.5)
    doing = "working" if "seq=" in scanner.log() else "starting"
    if not scanner.alive():
        raise RuntimeError(f"the scanner ended by itself:\n{scanner.log()}")
    scanner.process.kill()
    scanner.process.wait()
    return doing


def main() -> int:
    """Kill, check, and at last let it finish."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path, default=Path(__file__).parent / "results" / "scan_kills.json")
    options = parser.parse_args()
    dice, deaths, troubles = random.Random(options.seed), Counter[str](), list[str]()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        scanner = ScannerProcess(options.bundle, Path(name), ["--settle", "0.2", "--interval", "0.1"])
        load = Load(scanner, options.seed)
        load.start()
        for number in range(1, options.kills + 1):
            deaths[_die(scanner, dice)] += 1
            known = set(load.given)  # those that arrive while this is checked are for the next time
            if (scanner.out / "quarantine").is_dir():
                found = account(scanner.inbox, scanner.out, known, ended=False)
                if found.lost or found.duplicated or found.broken:
                    troubles.append(f"after kill {number}: {found}")
        load.end()
        last = ScannerProcess(options.bundle, Path(name), ["--settle", "0.2", "--once"])
        status = int(last.start().wait(600))
        found = account(scanner.inbox, scanner.out, load.given, ended=True)
        log = last.log()
    report = {
        "schema_version": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "seed": options.seed,
        "seconds": round(time.monotonic() - begun, 1),
        "kills": sum(deaths.values()),
        "killed_while": dict(deaths),
        "inputs": len(load.given),
        "final": found.final,
        "pending": len(load.given) - found.final,
        "lost": found.lost,
        "duplicated": found.duplicated,
        "broken": found.broken,
        "troubles_between": troubles,
        "statuses": dict(found.statuses),
        "codes": dict(found.codes.most_common()),
    }
    write_json(options.report, report)
    print(
        f"kills     {sum(deaths.values())} ({deaths['working']} at work), {len(load.given)} inputs: lost {found.lost}, "
        f"duplicated {found.duplicated}, pending {report['pending']}, in {report['seconds']:.0f} s"
    )
    print("fates     " + ", ".join(f"{code} {count}" for code, count in found.codes.most_common()))
    wrong = found.lost or found.duplicated or found.broken or troubles or report["pending"]
    if wrong or status != 0:
        print(f"FAILED: {found}\n" + "\n".join(troubles) + f"\n{log[-4000:]}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
