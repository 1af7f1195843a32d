"""`edgedx scan` as a process, as a service manager runs it, and what must be true of what it leaves. No benchmark."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from pydantic import ValidationError

from edgedx.core.files import sha256_file
from edgedx.core.result import Result

_FINAL = ("done", "refused", "quarantined")


class ScannerProcess:
    """A running scanner and its folders.

    Parameters
    ----------
    base : Path
        Gets ``inbox``, ``staging`` (on the inbox's disk, so that files arrive whole), ``out`` and ``log``.
    arguments : iterable of str
        Further options of `edgedx scan`.
    """

    def __init__(self, bundle: Path, base: Path, arguments: Iterable[str] = ()) -> None:
        self.inbox, self.staging, self.out = base / "inbox", base / "staging", base / "out"
        self._log = base / "log"
        for folder in (self.inbox, self.staging):
            folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "edgedx", "scan", self.inbox, "--bundle", bundle, "--out", self.out]
        self.command = [*map(str, command), "--disk-floor", "0", "--verbose", *arguments]

    def start(self) -> psutil.Popen:
        """Start it; its log begins anew."""
        with self._log.open("wb") as log:
            self.process = psutil.Popen(self.command, stdout=log, stderr=log)
        return self.process

    def alive(self) -> bool:
        """Whether the process that was started is still there."""
        return self.process.poll() is None

    def put(self, name: str, content: bytes) -> None:
        """Let a file arrive whole."""
        (self.staging / name).write_bytes(content)
        os.replace(self.staging / name, self.inbox / name)

    def results(self) -> int:
        """Results on disk; none is half there."""
        try:
            return sum(name.endswith(".json") and name[0] != "." for name in os.listdir(self.out / "results"))
        except FileNotFoundError:
            return 0

    def wait_for(self, results: int, patience: float, look: float = 0.05) -> bool:
        """Wait until there are so many results; False where it ended, or brought none for `patience` seconds."""
        had, since = -1, time.monotonic()
        while (have := self.results()) < results:
            if not self.alive() or time.monotonic() - since > patience:
                return False
            if have > had:
                had, since = have, time.monotonic()
            time.sleep(look)
        return True

    def wait_until_warm(self, patience: float = 120.0) -> None:
        """Wait until its first pass is over."""
        until = time.monotonic() + patience
        while not (self.out / "status.json").exists():
            if not self.alive() or time.monotonic() > until:
                raise RuntimeError(f"the scanner did not start:\n{self.log()}")
            time.sleep(0.05)

    def stop(self) -> int:
        """As a service manager stops it; returns its exit status."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
        try:
            return int(self.process.wait(120))
        except psutil.TimeoutExpired:
            self.process.kill()
            return int(self.process.wait())

    def log(self) -> str:
        """What it wrote to stdout and stderr since its start."""
        return self._log.read_text(errors="replace")


@dataclass
class Account:
    """Inputs against what became of them.

    Attributes
    ----------
    statuses, codes : Counter
        Of the ledger's items.
    lost : int
        Inputs whose bytes are neither in the inbox nor in quarantine, or that have a final status and no result.
    duplicated : int
        Rows of the ledger or of the table beyond one for each input.
    broken : list of str
        Outputs that do not parse, or contradict the ledger; and SQLite's complaints.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    duplicated: int = 0
    broken: list[str] = field(default_factory=list)

    @property
    def final(self) -> int:
        """Items with a final status."""
        return sum(self.statuses[status] for status in _FINAL)


def account(inbox: Path, out: Path, inputs: set[str], *, ended: bool) -> Account:
    """Check a scanner that does not run: inputs = done + refused + pending + quarantined, each once and whole.

    Parameters
    ----------
    inputs : set of str
        SHA-256 of all that arrived.
    ended : bool
        Whether it ended in order and with nothing left to do. After a kill the table may lack its last lines and
        contents may be on their way.
    """
    found, items = Account(), _ledger(out)
    if items is None:
        found.broken.append("ledger: integrity_check")
        items = []
    bytes_of = {sha256_file(path) for path in inbox.rglob("*") if path.is_file()}
    aside = [path for path in (out / "quarantine").iterdir() if not path.name.endswith((".reason.json", ".tmp"))]
    moved = {sha256_file(path) for path in aside if path.name[0] != "."}
    found.lost = len(inputs - bytes_of - moved)
    found.duplicated = len(items) - len({sha256 for _, sha256, _, _ in items})
    for key, sha256, status, code in items:
        found.statuses[status] += 1
        if status not in _FINAL:
            continue
        found.codes[code or "-"] += 1
        path = out / "results" / f"{key[:32]}.json"
        try:
            result = Result.model_validate(json.loads(path.read_bytes()))
        except FileNotFoundError:
            found.lost += 1
            continue
        except (ValueError, ValidationError):
            found.broken.append(path.name)
            continue
        if (result.key, result.source.sha256, result.status) != (key, sha256, status):
            found.broken.append(f"{path.name} is not what the ledger says")
        if (sha256 in moved) != (status == "quarantined"):
            found.broken.append(f"{path.name} and the quarantine folder")
    if ended:
        _check_end(found, out, inputs, items)
    return found


def _check_end(found: Account, out: Path, inputs: set[str], items: list[tuple[str, str, str, str | None]]) -> None:
    found.lost += len(inputs - {sha256 for _, sha256, status, _ in items if status in _FINAL})
    results = {path.name for path in (out / "results").iterdir()}
    if results != {f"{key[:32]}.json" for key, *_ in items}:
        found.broken.append("results without an item, or what a kill left of one")
    with (out / "results.csv").open(newline="") as stream:
        rows = [row["result"] for row in csv.DictReader(stream)]
    found.duplicated += len(rows) - len(set(rows))
    if set(rows) != {f"results/{name}" for name in results}:
        found.broken.append("results.csv")


def _ledger(out: Path) -> list[tuple[str, str, str, str | None]] | None:
    """Key, content, status and code of each item, or None where SQLite finds damage.

    A copy is read: to open what a kill left would mend it, and that is for the next scanner to do.
    """
    with tempfile.TemporaryDirectory() as name:
        for path in out.glob("journal.sqlite*"):
            shutil.copy(path, name)
        if not (Path(name) / "journal.sqlite").exists():
            return []
        with sqlite3.connect(Path(name) / "journal.sqlite") as ledger:
            if ledger.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                return None
            if ledger.execute("PRAGMA user_version").fetchone() == (0,):
                return []  # killed before the ledger was made
            return ledger.execute("SELECT key, sha256, status, code FROM items ORDER BY sequence").fetchall()


def disk_of(path: Path) -> str:
    """Kind of file system that a path is on, as bytes written mean nothing on some."""
    try:
        told = subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return told.stdout.strip()
