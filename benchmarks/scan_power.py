"""Would a power cut lose a result? The order of writes, syncs and renames that the kernel saw, checked.

    python benchmarks/scan_power.py BUNDLE [--images 100] [--report FILE]

strace (a Debian package) records a scan of images and of files that nothing can read. What counts as lost, as a disk
that forgets all that was not synced would have it: a file renamed into place before it was synced (it is empty after
the cut), and a rename whose folder was not synced when the ledger was next committed (the ledger may know of a result
that is gone). Also told: syncs and bytes of each kind of file for an image. Exit status 1 where anything is lost.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scanner_process import ScannerProcess, account

from edgedx.core.errors import MissingError
from edgedx.core.files import sha256_file, write_json
from edgedx.dicom.writing.make import write_dicom
from edgedx.lab.run.stage import machine

_CALLS = "fsync,fdatasync,rename,renameat,renameat2,write,pwrite64,pwritev,ftruncate,sync_file_range"
_LINE = re.compile(r"^(\d+) +(.*)$")
_RESUMED = re.compile(r"^<\.\.\. \w+ resumed>(.*)$")
_HANDLE = re.compile(r"^(\w+)\(\d+<([^>]*)>(.*)\) += (-?\d+)")
_RENAME = re.compile(r'^rename\w*\(.*?"([^"]*)".*?"([^"]*)".*\) += 0')


@dataclass
class Disk:
    """What a disk holds that forgets whatever was not synced.

    Attributes
    ----------
    empty : list of str
        Files that were renamed before their content was synced.
    forgotten : list of str
        Files whose new name was not synced when the ledger was committed.
    renames, commits : int
    syncs, bytes : Counter
        By kind of file.
    """

    out: str
    empty: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    renames: int = 0
    commits: int = 0
    syncs: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    _dirty: set[str] = field(default_factory=set)
    _unsynced: set[str] = field(default_factory=set)

    def see(self, calls: Iterable[str]) -> Disk:
        """Follow system calls in their order."""
        for call in calls:
            if found := _RENAME.match(call):
                self._rename(*found.groups())
            elif (found := _HANDLE.match(call)) and found[2].startswith(self.out) and int(found[4]) >= 0:
                name, path, _, result = found.groups()
                if "sync" in name:
                    self._sync(path)
                else:
                    self._dirty.add(path)
                    self.bytes[self._kind(path)] += int(result)
        return self

    def _rename(self, source: str, target: str) -> None:
        if not target.startswith(self.out) or Path(target).name in ("status.json", "metrics.prom"):
            return  # the heartbeat may be lost, and says so
        self.renames += 1
        if source in self._dirty:
            self.empty.append(Path(target).name)
        self._dirty.discard(source)
        self._unsynced.add(target)

    def _sync(self, path: str) -> None:
        self.syncs[self._kind(path)] += 1
        self._dirty.discard(path)
        self._unsynced = {name for name in self._unsynced if str(Path(name).parent) != path}
        if Path(path).name == "journal.sqlite":
            self.commits += 1
            self.forgotten += [Path(name).name for name in self._unsynced]
            self._unsynced.clear()

    def _kind(self, path: str) -> str:
        relative = Path(path).relative_to(self.out)
        if relative.parts and relative.parts[0] in ("results", "quarantine"):
            return relative.parts[0] + (" folder" if len(relative.parts) == 1 else "")
        name = relative.name
        return "folder" if not name else name if name[0] != "." else name[1:].rsplit(".", 2)[0]


def calls(trace: Iterable[str]) -> Iterator[str]:
    """System calls of strace's output when they returned, those that others interrupted put together again."""
    begun: dict[str, str] = {}
    for line in trace:
        found = _LINE.match(line.rstrip("\n"))
        if found is None:
            continue
        process, text = found.groups()
        if text.endswith("<unfinished ...>"):
            begun[process] = text[: -len("<unfinished ...>")].rstrip()
        elif resumed := _RESUMED.match(text):
            yield begun.pop(process, "") + resumed[1].lstrip()
        else:
            yield text


def main() -> int:
    """Record a scan and check it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--report", type=Path, default=Path(__file__).parent / "results" / "scan_power.json")
    options = parser.parse_args()
    strace = shutil.which("strace")
    if strace is None:
        raise MissingError("no strace", next_step="apt-get install strace")
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        base = Path(name).resolve()
        scanner = ScannerProcess(options.bundle, base, ["--once", "--settle", "0.1"])
        for number in range(options.images):
            pixels = rng.integers(0, 4096, (128, 128), dtype=np.uint16)
            write_dicom(scanner.inbox / f"{number:05d}.dcm", pixels, bits_stored=12, instance_number=number + 1)
        for number in range(max(1, options.images // 10)):
            (scanner.inbox / f"text-{number}").write_text(f"no image: {number}")
        given = {sha256_file(path) for path in scanner.inbox.iterdir()}
        record = [strace, "-f", "-y", "-s", "0", "-e", f"trace={_CALLS}", "-o", str(base / "trace")]
        # Names are whole whatever -s says; data are not shown.
        done = subprocess.run([*record, *scanner.command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[-4000:])
        with (base / "trace").open(errors="replace") as trace:
            disk = Disk(str(scanner.out)).see(calls(trace))
        found = account(scanner.inbox, scanner.out, given, ended=True)
    count = len(given)
    report = {
        "schema_version": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "files": count,
        "statuses": dict(found.statuses),
        "renames": disk.renames,
        "ledger_syncs": disk.commits,
        "lost": len(disk.empty) + len(disk.forgotten) + found.lost,
        "renamed_before_synced": disk.empty,
        "committed_before_folder_synced": disk.forgotten,
        "syncs_per_file": {kind: number / count for kind, number in sorted(disk.syncs.items())},
        "bytes_per_file": {kind: number / count for kind, number in sorted(disk.bytes.items())},
    }
    write_json(options.report, report)
    print(
        f"power     {count} files, {disk.renames} renames, {disk.commits} syncs of the ledger: lost {report['lost']}; "
        f"{sum(disk.syncs.values()) / count:.1f} syncs and {sum(disk.bytes.values()) / 1e3 / count:.1f} kB for each"
    )
    return 1 if report["lost"] or found.duplicated or found.broken or disk.renames < found.final else 0


if __name__ == "__main__":
    sys.exit(main())
