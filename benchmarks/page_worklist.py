"""The page's worklist with many results: time of a page over HTTP, by filter, and memory of its process.

    python benchmarks/page_worklist.py [--results 200000] [--requests 60] [--to benchmarks/results/page-worklist.json]

A ledger is filled by the scanner's own code, with one reader who has answered every image (the worst case of "not yet
answered") and one who has answered none. The page runs as `edgedx page`, on this machine, without TLS.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from edgedx.core.files import write_json
from edgedx.core.result import result_key
from edgedx.device.clinic.answers import Answers, drawn
from edgedx.device.clinic.worklist import LOOK, NOT_READ, NOTHING_FOUND, Line
from edgedx.device.scanner.facts import Arrival, Stat
from edgedx.device.scanner.journal import Journal
from edgedx.lab.run.stage import machine

BUNDLE = "b" * 64
_PORTION = 5000


def fill(out: Path, count: int, answered_by: str) -> None:
    """A ledger of `count` results over 300 days: 2 % not read, 8 % to look at."""
    journal, answers, chance = (
        Journal(out / "journal.sqlite", BUNDLE),
        Answers(out / "answers.sqlite"),
        random.Random(1),
    )
    for start in range(0, count, _PORTION):
        numbers = range(start, min(start + _PORTION, count))
        contents = {n: hashlib.sha256(str(n).encode()).hexdigest() for n in numbers}
        journal.receive(Arrival(f"{n // 1000}/{n}.dcm", Stat(1, 1, n), contents[n]) for n in numbers)
        outcomes, lines = [], []
        for n in numbers:
            key, look = result_key(contents[n], BUNDLE), chance.choices([NOTHING_FOUND, LOOK, NOT_READ], [90, 8, 2])[0]
            outcomes.append((key, "refused" if look == NOT_READ else "done", "MODALITY" if look == NOT_READ else None))
            day = time.strftime("%Y-%m-%d", time.gmtime(1_770_000_000 + 86400 * (n * 300 // count)))
            label = {LOOK: "pneumonia", NOTHING_FOUND: "normal"}.get(look)
            lines.append(Line(key, look, label, f"{day}T10:00:00Z", day, drawn(contents[n], BUNDLE)))
        journal.finish(outcomes, lines=lines)
        with answers._transaction():  # one commit for many: the page gives each its own
            answers._db.executemany(
                "INSERT INTO answers (key, sha256, bundle, person, time, verdict, label, shown, blind) "
                "VALUES (?, ?, ?, ?, '2026-11-01T00:00:00Z', 'agree', ?, ?, 0)",
                [(line.key, contents[n], BUNDLE, answered_by, line.label, line.label)
                 for n, line in zip(numbers, lines, strict=True) if line.label],
            )  # fmt: skip
    journal.close()
    answers.close()


def ask(connection: http.client.HTTPConnection, path: str) -> float:
    """Milliseconds of one page."""
    begun = time.perf_counter()
    connection.request("GET", path, headers={"Accept": "text/html"})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200, answer.status
    return 1e3 * (time.perf_counter() - begun)


def measure(out: Path, count: int, requests: int) -> dict[str, Any]:
    """Times by list of the page of one reader."""
    command = [sys.executable, "-m", "edgedx", "page", "--out", str(out), "--port", "0", "--json"]
    begun = time.perf_counter()
    page = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert page.stdout is not None
        told = ""
        while "}" not in told:
            told += page.stdout.readline()
        start = time.perf_counter() - begun
        port = int(json.loads(told)["urls"][0].rstrip("/").rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        chance, times = random.Random(2), {}
        first = ask(connection, "/")
        day = "2026-05-14"
        lists = ("", "show=look", "show=unread", "show=unanswered", f"day={day}", f"show=look&day={day}")
        for which in lists:
            spent = sorted(
                ask(connection, f"/rows?{which}&before={chance.randrange(100, count)}") for _ in range(requests)
            )
            p95 = spent[min(len(spent) - 1, int(0.95 * len(spent)))]
            times[which or "all"] = {"median_ms": median(spent), "p95_ms": p95, "worst_ms": spent[-1]}
            time.sleep(1.5)  # the page's own bound on requests of one address
        resident = next(
            int(line.split()[1]) for line in Path(f"/proc/{page.pid}/status").read_text().splitlines()
            if line.startswith("VmRSS")
        )  # fmt: skip
        return {"start_to_address_s": start, "first_page_ms": first, "resident_mb": resident / 1024, "lists": times}
    finally:
        page.send_signal(signal.SIGTERM)
        page.wait(30)


def main() -> None:
    """Fill, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=200_000)
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--to", type=Path, default=Path("benchmarks/results/page-worklist.json"))
    given = parser.parse_args()
    found: dict[str, Any] = {}
    for who in ("local", "somebody else"):  # the page on this machine speaks to "local"
        with tempfile.TemporaryDirectory() as folder:
            fill(Path(folder), given.results, who)
            name = "reader has answered every image" if who == "local" else "reader has answered none"
            found[name] = measure(Path(folder), given.results, given.requests)
            print(name, json.dumps(found[name], indent=1))
    facts = {"results": given.results, "requests": given.requests, "date": time.strftime("%Y-%m-%d"),
             "machine": machine(), "cores": len(os.sched_getaffinity(0))}  # fmt: skip
    write_json(given.to, {**facts, **found})


if __name__ == "__main__":
    main()
