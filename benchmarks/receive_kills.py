"""Receiver and scanner killed at random under C-STORE load: every acknowledged object has exactly one result.

    python benchmarks/receive_kills.py BUNDLE [--kills 120] [--senders 4] [--side 512] [--seed 0] [--save]

Senders run dcmtk's `storescu`, one object each time, and send an object again until it is acknowledged; then they take
the next one, and every fifth time one that was acknowledged long ago. Meanwhile `edgedx scan --pacs` (half of the time)
or its receiver process is killed by SIGKILL at a random moment. Afterwards, the senders having ended, the scanner runs
until nothing is pending, and what is on the disk is counted:

lost        acknowledged objects without a result
duplicated  contents with more than one result, or objects that became several files
half        files in the inbox that are not what was sent
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pydicom

from edgedx.core.files import sha256_bytes, sha256_file, write_json
from edgedx.dicom.writing.make import write_dicom
from edgedx.lab.run.stage import machine

# dcmtk's, and not what pynetdicom installs under the same name beside this Python.
_ELSEWHERE = [folder for folder in os.get_exec_path() if not folder.startswith(sys.prefix)]
_STORESCU = str(shutil.which("storescu", path=os.pathsep.join(_ELSEWHERE)))


class Site:
    """A scanner that receives, started again whenever it is killed."""

    def __init__(self, base: Path, bundle: Path) -> None:
        self.inbox, self.out = base / "inbox", base / "out"
        self.inbox.mkdir()
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = int(one.getsockname()[1])
        self.pacs = base / "pacs.yaml"
        self.pacs.write_text(f"receive: {{port: {self.port}, allow: [LOAD]}}")
        self._command = [
            sys.executable, "-m", "edgedx", "scan", self.inbox, "--bundle", bundle, "--out", self.out,
            "--settle", "0.2", "--interval", "0.2", "--threads", "1",
            "--pacs", str(self.pacs),
        ]  # fmt: skip
        self.process: psutil.Popen | None = None
        self._log = (base / "scan.log").open("wb")

    def start(self) -> None:
        """Start it, if it does not run."""
        if self.process is None or self.process.poll() is not None:
            command = list(map(str, self._command))
            self.process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=self._log)

    def receiver(self) -> psutil.Process | None:
        """The process that receives, where there is one."""
        assert self.process is not None
        for child in self.process.children():
            try:
                if "edgedx.device.pacs.receive_worker" in child.cmdline():
                    return child
            except psutil.Error:
                continue
        return None

    def kill(self, who: str) -> bool:
        """Kill one of the two; returns whether it was there."""
        assert self.process is not None
        victim = self.process if who == "scanner" else self.receiver()
        if victim is None or not victim.is_running():
            return False
        os.kill(victim.pid, signal.SIGKILL)
        if who == "scanner":
            self.process.wait()
        return True

    def pending(self) -> int:
        """Contents of the inbox that have no result yet."""
        results = {one["source"]["sha256"][:32] for one in self.results()}
        return len({path.stem[33:] for path in self.inbox.glob("*.dcm")} - results)

    def results(self) -> list[dict[str, Any]]:
        """All that there are."""
        return [json.loads(path.read_text()) for path in (self.out / "results").glob("*.json")]

    def receipts(self) -> dict[str, str]:
        """Content of each acknowledged file, by its name."""
        with contextlib.closing(sqlite3.connect(self.out / "receipts.sqlite")) as ledger:
            return dict(ledger.execute("SELECT file, sha256 FROM receipts").fetchall())

    def stop(self) -> int:
        """End it in order, once it can be: a start that a kill had called for may not have come so far."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status")
        while not int(status.read_text().partition("SigCgt:")[2].split()[0], 16) >> (signal.SIGTERM - 1) & 1:
            time.sleep(0.05)
        self.process.send_signal(signal.SIGTERM)
        return int(self.process.wait(120))


class Load:
    """Senders, and what was acknowledged to them."""

    def __init__(self, base: Path, port: int, side: int, seed: int) -> None:
        self._base, self._port, self._side, self._seed = base, port, side, seed
        self.acknowledged: dict[str, int] = {}
        self.sendings, self.again = Counter[str](), 0
        self.ending = threading.Event()
        self._lock = threading.Lock()

    def send(self, sender: int) -> None:
        """Make and send objects, one after another, until the end."""
        dice, number = random.Random(self._seed * 1000 + sender), 0
        own: list[Path] = []
        while not self.ending.is_set():
            again = bool(own) and dice.random() < 0.2
            path = dice.choice(own) if again else self._make(sender, number := number + 1)
            while not self.ending.is_set():
                done = subprocess.run(
                    [_STORESCU, "-aet", "LOAD", "-aec", "EDGEDX", "127.0.0.1", str(self._port), path],
                    capture_output=True, check=False,
                )  # fmt: skip
                with self._lock:
                    self.sendings["acknowledged" if done.returncode == 0 else "not"] += 1
                if done.returncode == 0:
                    break
                time.sleep(0.2)
            else:
                return
            with self._lock:
                self.again += again
                uid = path.name
                self.acknowledged[uid] = self.acknowledged.get(uid, 0) + 1
            own = [*own[-20:], path] if not again else own

    def _make(self, sender: int, number: int) -> Path:
        rng = np.random.default_rng((self._seed, sender, number))
        pixels = rng.integers(0, 4096, (self._side, self._side)).astype(np.uint16)
        made = self._base / "making" / f"{sender}.dcm"
        made.parent.mkdir(exist_ok=True)
        write_dicom(made, pixels, bits_stored=12)
        path = self._base / "sent" / str(pydicom.dcmread(made, stop_before_pixels=True).SOPInstanceUID)
        path.parent.mkdir(exist_ok=True)
        return made.rename(path)


def judge(site: Site, load: Load) -> dict[str, int]:
    """Count what is on the disk, by reading all of it."""
    sent = {sha256_bytes(path.name.encode())[:32]: path for path in load._base.joinpath("sent").iterdir()}
    found, receipts = site.results(), site.receipts()
    results = Counter(result["source"]["sha256"] for result in found)
    contents: dict[str, set[str]] = {}
    for file, digest in receipts.items():
        contents.setdefault(file[:32], set()).add(digest)
    half = files = 0
    for path in site.inbox.glob("*.dcm"):
        digest = sha256_file(path)
        original = sent[path.name[:32]]
        half += digest[:32] != path.stem[33:] or pydicom.dcmread(path) != pydicom.dcmread(original)
        contents.setdefault(path.name[:32], set()).add(digest)
        files += 1
    names = [sha256_bytes(uid.encode())[:32] for uid in load.acknowledged]
    table = (site.out / "results.csv").read_text().splitlines()
    return {
        "acknowledged_objects": len(load.acknowledged),
        "acknowledged_again": load.again,
        "receipts": len(receipts),
        "files": files,
        **Counter(result["status"] for result in found),
        "lost": sum(not any(results[digest] for digest in contents.get(name, ())) for name in names),
        "duplicated": sum(count - 1 for count in results.values()) + sum(len(one) - 1 for one in contents.values()),
        "table_rows_too_many": len(table) - 1 - len(set(table[1:])),
        "half": half + len(list(site.inbox.glob(".*.tmp"))),
    }


def main() -> None:
    """Kill, wait, count, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--kills", type=int, default=120)
    parser.add_argument("--senders", type=int, default=4)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/receive_kills.json")
    options = parser.parse_args()
    dice, kills = random.Random(options.seed), Counter[str]()
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(options.senders) as pool:
        base, begun = Path(name), time.monotonic()
        site = Site(base, options.bundle.absolute())
        load = Load(base, site.port, options.side, options.seed)
        site.start()
        senders = [pool.submit(load.send, number) for number in range(options.senders)]
        try:
            while kills.total() < options.kills:
                before = len(load.acknowledged)
                # Half of the kills come under load, half at any moment, that of starting included.
                if dice.random() < 0.5:
                    until = time.monotonic() + 60.0
                    while len(load.acknowledged) == before and time.monotonic() < until:
                        time.sleep(0.01)
                time.sleep(dice.uniform(0.0, 1.5))
                who = dice.choice(("scanner", "receiver"))
                kills[who] += site.kill(who)
                site.start()
                print(f"{dict(kills)}, acknowledged {len(load.acknowledged)}", end="\r", file=sys.stderr, flush=True)
        finally:
            load.ending.set()
        for sender in senders:
            sender.result()
        until = time.monotonic() + 600.0
        while site.pending() and time.monotonic() < until:
            site.start()
            time.sleep(0.5)
        assert site.stop() == 0
        found = {"kills": dict(kills), **judge(site, load), "seconds": round(time.monotonic() - begun)}
        found |= {"storescu_runs": dict(load.sendings), "side": options.side, "machine": machine()}
    print(json.dumps(found, indent=2))
    if options.save:
        write_json(Path(__file__).parent / "results" / "receive_kills.json", found)
    if found["lost"] or found["duplicated"] or found["half"] or found["table_rows_too_many"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
