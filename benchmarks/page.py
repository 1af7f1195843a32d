"""What the page of a clinic's box costs, and how fast it answers.

    python benchmarks/page.py BUNDLE [--results 200000] [--clients 20] [--turns 6] [--images 60]

Start: from the call of `edgedx page` to its first answer, with TLS and without, ten times each. Worklist: a ledger of
`results` results with answers to a twentieth of them, written by the scanner's own journal; 200 requests of each kind
over one connection, nothing else running. Memory: resident, of the page's process alone, after that, and the most it
had; the process that draws pictures, which ends when nobody looks, is beside it. Scanner: a full backlog of phantoms,
2048 x 2048 pixels uncompressed and then 1024 x 1024 in JPEG 2000, and by turns nobody looks, or `clients` people read:
each opens the list, an image, its picture, and goes on to the next after 30 seconds on average, with the list's live
events open; at each turn the scanner is given `images` images at once. What clients themselves compute is not the
page's, so they run at the lowest priority. The cost is 1 - the ratio of images a second with and without readers, over
pairs of turns, with a 95 % t-interval; and, as this machine may do other work meanwhile, the share of its cores that
the page's processes used.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import random
import re
import sqlite3
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from scan_throughput import drawings, write_images
from scanner_process import ScannerProcess, disk_of
from scipy import stats

from edgedx.core.bundle.manifest import open_bundle
from edgedx.core.files import write_json
from edgedx.core.result import result_key
from edgedx.device.clinic.answers import ANSWERS, Answers, drawn
from edgedx.device.clinic.worklist import LOOK, NOT_READ, NOTHING_FOUND, Line
from edgedx.device.scanner.facts import Arrival, Stat
from edgedx.device.scanner.journal import Journal
from edgedx.lab.run.stage import machine

_SIDES = {"uncompressed": 2048, "jpeg2000": 1024}
"""Pixels of a side of the phantoms, by how they are encoded."""
_WHEN = "2026-11-27T08:00:00Z"
_THINK, _SETTLED = 30.0, 5.0
"""Seconds before the next image, on average; and of readers alone before the scanner is given its share."""


class PageProcess:
    """`edgedx page` as a service manager runs it."""

    def __init__(self, out: Path, *words: str) -> None:
        self.begun = time.perf_counter()
        command = [sys.executable, "-m", "edgedx", "page", "--out", str(out), "--port", "0", "--json", *words]
        self.process = psutil.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        text = ""
        while not text.endswith("}\n"):
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit("the page did not start")
            text += line
        self.url = urllib.parse.urlsplit(json.loads(text)["urls"][0])

    def connect(self) -> http.client.HTTPConnection:
        """A connection of its own."""
        if self.url.scheme == "https":
            context = ssl._create_unverified_context()
            return http.client.HTTPSConnection("127.0.0.1", self.url.port, timeout=60, context=context)
        return http.client.HTTPConnection("127.0.0.1", self.url.port, timeout=60)

    def cpu_seconds(self) -> float:
        """Of the page and the processes that it started."""
        total = 0.0
        for one in (self.process, *self.process.children(recursive=True)):
            with suppress(psutil.Error):
                times = one.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def memory(self) -> dict[str, float]:
        """Resident megabytes now, and the most."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return {name: int(text.split(f"{key}:")[1].split()[0]) / 1024 for name, key in
                (("now_mb", "VmRSS"), ("most_mb", "VmHWM"))}  # fmt: skip

    def stop(self) -> None:
        """As a service manager does."""
        self.process.terminate()
        self.process.wait(30)


@contextmanager
def running(out: Path, *words: str) -> Iterator[PageProcess]:
    """A page until the context ends."""
    page = PageProcess(out, *words)
    try:
        yield page
    finally:
        page.stop()


def ask(connection: http.client.HTTPConnection, path: str, accept: str = "text/html") -> bytes:
    """One answer, which must be what was asked for."""
    connection.request("GET", path, headers={"Accept": accept})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status not in (200, 303):
        raise RuntimeError(f"{path}: {answer.status} {body[:200]!r}")
    return body


def starts(out: Path, count: int, *words: str) -> dict[str, Any]:
    """Seconds from the call to the first answer."""
    seconds, busy = [], []
    for _ in range(count):
        with running(out, *words) as page:
            ask(page.connect(), "/login" if words else "/")
            seconds.append(time.perf_counter() - page.begun)
            busy.append(page.cpu_seconds())
    return {
        "median_s": statistics.median(seconds), "worst_s": max(seconds), "cpu_median_s": statistics.median(busy),
        "starts": count,
    }  # fmt: skip


def fill(out: Path, count: int) -> None:
    """A ledger as a scanner leaves it after `count` images, and answers to a twentieth."""
    bundle = hashlib.sha256(b"bundle").hexdigest()
    journal = Journal(out / "journal.sqlite", bundle)
    begun = 1_780_000_000
    for first in range(0, count, 2000):
        digests = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(first, min(first + 2000, count))]
        journal.receive(
            Arrival(f"series {number // 40}/image-{number}.dcm", Stat(8 << 20, number, number, number), digest)
            for number, digest in enumerate(digests, first)
        )
        lines, outcomes = [], []
        for number, digest in enumerate(digests, first):
            key, kind = result_key(digest, bundle), (LOOK, NOTHING_FOUND, NOTHING_FOUND, NOTHING_FOUND)[number % 4]
            kind = NOT_READ if number % 50 == 0 else kind
            created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begun + number * 60))
            label = {LOOK: "pneumonia", NOTHING_FOUND: "normal"}.get(kind)
            names = tuple(hashlib.sha256(f"{one} {number // 2}".encode()).digest()[:16] for one in ("id", "accession"))
            lines.append(Line(key, kind, label, created, created[:10], drawn(digest, bundle), names))
            outcomes.append((key, "refused" if kind == NOT_READ else "done", "BLANK" if kind == NOT_READ else None))
        journal.finish(outcomes, lines=lines)
    journal.close()
    Answers(out / ANSWERS).close()
    with sqlite3.connect(out / ANSWERS) as answers:
        rows = [
            (
                result_key(digest, bundle),
                digest,
                bundle,
                "local",
                "2026-11-27T08:00:00Z",
                "agree",
                "normal",
                "normal",
                0,
            )
            for digest in (hashlib.sha256(b"%d" % number).hexdigest() for number in range(0, count, 20))
        ]
        answers.executemany(
            "INSERT INTO answers (key, sha256, bundle, person, time, verdict, label, shown, blind) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows
        )  # fmt: skip


def worklist(page: PageProcess, count: int, days: list[str], results: int) -> dict[str, Any]:
    """Milliseconds of each kind of list."""
    rng, connection = random.Random(0), page.connect()
    kinds = {
        "newest": lambda: "/",
        "to look at": lambda: "/?show=look",
        "not read": lambda: "/?show=unread",
        "not yet answered": lambda: "/?show=unanswered",
        "a day": lambda: f"/?day={rng.choice(days)}",
        "a day, to look at": lambda: f"/?show=look&day={rng.choice(days)}",
        "further back": lambda: f"/?before={rng.randrange(1, results)}",
        "further back, to look at": lambda: f"/?show=look&before={rng.randrange(1, results)}",
        "further back, not yet answered": lambda: f"/?show=unanswered&before={rng.randrange(1, results)}",
    }
    found: dict[str, Any] = {}
    for name, path in kinds.items():
        spent = []
        for _ in range(count):
            asked = path()
            begun = time.perf_counter()
            body = ask(connection, asked)
            spent.append(1e3 * (time.perf_counter() - begun))
            assert b'class="line' in body, asked
        found[name] = {f"p{one}_ms": float(np.percentile(spent, one)) for one in (50, 95, 99)}
    return found


class Readers:
    """People before the page, each in a thread; they compute little and at the lowest priority."""

    def __init__(self, page: PageProcess, count: int) -> None:
        self.page, self.count = page, count
        self.ending = threading.Event()
        self.waits: dict[str, list[float]] = {"list": [], "image": [], "picture": []}
        self.faults: list[str] = []
        self.threads: list[threading.Thread] = []

    def begin(self) -> None:
        """Everybody comes in, at different moments."""
        self.ending.clear()
        self.threads = [threading.Thread(target=self._read, args=(number,)) for number in range(self.count)]
        self.threads += [threading.Thread(target=self._listen) for _ in range(self.count)]
        for thread in self.threads:
            thread.start()

    def end(self) -> None:
        """Everybody leaves."""
        self.ending.set()
        for thread in self.threads:
            thread.join(90)

    def _read(self, number: int) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        rng = random.Random(f"{number} {time.monotonic()}")
        self.ending.wait(rng.uniform(0, _THINK))
        while not self.ending.is_set():
            try:
                connection = self.page.connect()
                body = self._timed("list", connection, "/")
                keys = re.findall(rb'data-key="([0-9a-f]{32})"', body)
                if keys:
                    key = rng.choice(keys).decode()
                    self._timed("image", connection, f"/image/{key}")
                    self._timed("picture", connection, f"/image/{key}/original.png", "image/png")
                connection.close()
            except (OSError, RuntimeError, http.client.HTTPException) as error:
                self.faults.append(f"{type(error).__name__}: {error}")
            self.ending.wait(rng.uniform(0.5 * _THINK, 1.5 * _THINK))

    def _timed(self, what: str, connection: http.client.HTTPConnection, path: str, accept: str = "text/html") -> bytes:
        begun = time.perf_counter()
        body = ask(connection, path, accept)
        self.waits[what].append(time.perf_counter() - begun)
        return body

    def _listen(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        while not self.ending.is_set():
            with suppress(OSError, http.client.HTTPException):
                connection = self.page.connect()
                connection.request("GET", "/events", headers={"Accept": "text/event-stream"})
                answer = connection.getresponse()
                connection.sock.settimeout(1.0)
                while not self.ending.is_set():
                    with suppress(TimeoutError):
                        if not answer.read1(1024):
                            break
                connection.close()


def _read_alone(page: PageProcess, count: int) -> float:
    """CPU seconds of the page for one reading, nobody else being there."""
    connection = page.connect()
    keys = dict.fromkeys(re.findall(rb'data-key="([0-9a-f]{32})"', ask(connection, "/?before=100")))
    before, read = page.cpu_seconds(), 0
    for key in list(keys)[:count]:
        ask(connection, "/")
        ask(connection, f"/image/{key.decode()}")
        with suppress(RuntimeError):  # one that was put aside has left the inbox, and has no picture
            ask(connection, f"/image/{key.decode()}/original.png", "image/png")
            read += 1
    return (page.cpu_seconds() - before) / max(read, 1)


def _turn(scanner: ScannerProcess, paths: list[Path]) -> tuple[float, float]:
    """Give it all at once: images a second between its first and its last batch; seconds from then to the end."""
    first = had = scanner.results()
    for path in paths:
        path.rename(scanner.inbox / path.name)
    begun, seen = time.perf_counter(), list[tuple[float, int]]()
    while had < first + len(paths):
        time.sleep(0.05)
        have = scanner.results()
        if have != had:
            seen.append((time.perf_counter(), have))
            had = have
        if not scanner.alive() or time.perf_counter() - begun > 300:
            raise RuntimeError(scanner.log()[-3000:])
    (at, count), (end, last) = seen[0], seen[-1]
    return (last - count) / (end - at), end - begun


def beside_a_scanner(bundle: Path, base: Path, syntax: str, turns: int, images: int, clients: int) -> dict[str, Any]:
    """Images a second with readers and without, by turns."""
    made = drawings(base, syntax, _SIDES[syntax], open_bundle(bundle).manifest.accept)
    paths = write_images(base / "files", made, (2 * turns + 1) * images, "page")
    shares = [paths[at : at + images] for at in range(0, len(paths), images)]
    scanner = ScannerProcess(bundle, base / "scan", ["--settle", "0.5", "--interval", "0.1"])
    scanner.start()
    rates: dict[bool, list[float]] = {False: [], True: []}
    used, seconds = 0.0, 0.0
    try:
        scanner.wait_until_warm()
        _turn(scanner, shares.pop())
        with running(scanner.out, "--inbox", str(scanner.inbox)) as page:
            readers = Readers(page, clients)
            for turn in range(turns):
                for reading in (False, True) if turn % 2 == 0 else (True, False):
                    if reading:
                        readers.begin()
                        time.sleep(_SETTLED)
                    before = page.cpu_seconds()
                    rate, took = _turn(scanner, shares.pop())
                    rates[reading].append(rate)
                    if reading:
                        used, seconds = used + page.cpu_seconds() - before, seconds + took
                        readers.end()
            memory = page.memory()
            cpu_per_reading = 1e3 * _read_alone(page, 20)
    finally:
        scanner.stop()
    ratios = [with_them / alone for with_them, alone in zip(rates[True], rates[False], strict=True)]
    mean, error = statistics.mean(ratios), statistics.stdev(ratios) / len(ratios) ** 0.5
    half = float(stats.t.ppf(0.975, len(ratios) - 1)) * error
    return {
        "images_per_s_alone": rates[False],
        "images_per_s_with_readers": rates[True],
        "cost": {"value": 1 - mean, "low": 1 - mean - half, "high": 1 - mean + half},
        "page_cpu_share_of_the_cores": used / seconds / len(psutil.Process().cpu_affinity()),
        "page_cpu_ms_per_reading": cpu_per_reading,
        "seconds_with_readers": seconds,
        "clients": clients,
        "requests": {name: len(waits) for name, waits in readers.waits.items()},
        "seconds_p50_p95": {name: [float(np.percentile(waits, one)) for one in (50, 95)]
                            for name, waits in readers.waits.items() if waits},
        "faults": readers.faults,
        "page_memory": memory,
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--results", type=int, default=200_000)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--report", type=Path, default=Path(__file__).parent / "results" / "page.json")
    options = parser.parse_args()
    report: dict[str, Any] = {
        "schema_version": 1, "date": time.strftime("%Y-%m-%d"), "machine": machine(),
        "cores": len(psutil.Process().cpu_affinity()), "results": options.results,
        "load_average_before": os.getloadavg()[0],
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        out = Path(name, "out")
        out.mkdir()
        report["disk"] = disk_of(out)
        fill(out, options.results)
        report["start"] = {"loopback": starts(out, options.starts), "tls": starts(out, options.starts, "--https")}
        with sqlite3.connect(out / "journal.sqlite") as ledger:
            days = [row[0] for row in ledger.execute("SELECT DISTINCT day FROM worklist")]
        with running(out) as page:
            report["memory_at_start"] = page.memory()
            report["worklist"] = worklist(page, 200, days, options.results)
            report["memory"] = page.memory()
    slowest = max(report["worklist"].items(), key=lambda one: one[1]["p95_ms"])
    for name, start in report["start"].items():
        print(
            f"start, {name:9s} median {start['median_s']:.2f} s, worst {start['worst_s']:.2f} s, "
            f"of the CPU {start['cpu_median_s']:.2f} s"
        )
    print(f"memory           {report['memory']['now_mb']:.0f} MB, at most {report['memory']['most_mb']:.0f} MB")
    print(
        f"worklist         slowest kind, {slowest[0]}: "
        f"P50 {slowest[1]['p50_ms']:.0f}, P95 {slowest[1]['p95_ms']:.0f} ms"
    )
    report["beside_a_scanner"] = {}
    for syntax in _SIDES:
        with tempfile.TemporaryDirectory() as name:
            found = report["beside_a_scanner"][syntax] = beside_a_scanner(
                options.bundle, Path(name), syntax, options.turns, options.images, options.clients
            )
        cost = found["cost"]
        print(
            f"scanner, {syntax}: {options.clients} readers cost it {100 * cost['value']:.1f} % "
            f"[{100 * cost['low']:.1f}, {100 * cost['high']:.1f}]; the page used "
            f"{100 * found['page_cpu_share_of_the_cores']:.1f} % of the cores, "
            f"{found['page_memory']['most_mb']:.0f} MB at most"
        )
    report["load_average_after"] = os.getloadavg()[0]
    write_json(options.report, report)


if __name__ == "__main__":
    main()
