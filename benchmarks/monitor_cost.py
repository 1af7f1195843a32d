"""What watching costs: CPU of an image, a commit of a batch, bytes on disk, and a look of `edgedx monitor`.

    python benchmarks/monitor_cost.py

A canvas of 224 x 224 pixels of 16 bits and a header as a radiograph has; batches of 8, as the scanner works. The
database is full (5,000 images) when it is measured, and the model has two classes and a reference of 400 images. CPU is
that of this process (`time.process_time`), the median of turns, with the 5th and 95th percentile; the commit waits for
the disk on top of that. Writes ``benchmarks/results/monitor_cost.json``. A minute.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from answers import answered  # noqa: E402
from monitored import images, reference, write  # noqa: E402

from edgedx.core.files import write_json  # noqa: E402
from edgedx.core.image_statistics import fingerprint, image_figures  # noqa: E402
from edgedx.device.monitor.examine import examine  # noqa: E402
from edgedx.device.monitor.store import MONITOR, MOST_IMAGES, Watched  # noqa: E402
from edgedx.device.monitor.streams import observe  # noqa: E402
from edgedx.lab.run.stage import machine, versions  # noqa: E402

FACTS = {"Machine": "0" * 16, "Rows": "2048", "Columns": "2048", "PatientAgeYears": "40", "PatientSex": "F",
         "ViewPosition": "PA", "ExposureMAs": "3.2"}  # fmt: skip
TURNS, BATCH = 60, 8


def spent(work: Callable[[int], object], each: int = 1) -> dict[str, float]:
    """Milliseconds of CPU and of the clock, of one of `each` that a turn does."""
    cpu, wall = [], []
    for turn in range(TURNS):
        begun, clock = time.process_time(), time.perf_counter()
        work(turn)
        cpu.append(1e3 * (time.process_time() - begun) / each)
        wall.append(1e3 * (time.perf_counter() - clock) / each)
    low, middle, high = np.percentile(cpu, (5, 50, 95))
    return {"cpu_ms": float(middle), "cpu_ms_p5": float(low), "cpu_ms_p95": float(high),
            "wall_ms": float(np.median(wall))}  # fmt: skip


def main() -> None:
    """Measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "monitor_cost.json")
    options = parser.parse_args()
    canvas = (np.random.default_rng(0).random((224, 224)) * 65535).astype(np.uint16)
    result = answered()
    assert result.prediction is not None
    positive = result.prediction.label

    def figures(turn: int) -> None:
        for _ in range(BATCH):
            image_figures(canvas)
            fingerprint(canvas)

    def whole(turn: int) -> None:
        for _ in range(BATCH):
            observe(result, canvas, FACTS, task="binary", positive=positive, salt=b"salt")

    found = {"figures": spent(figures, BATCH), "observation": spent(whole, BATCH)}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        write(out, [images(500, first=start, day=start // 50) for start in range(0, MOST_IMAGES, 500)], reference())
        one = observe(result, canvas, FACTS, task="binary", positive=positive, salt=b"salt")
        store = Watched(out / MONITOR)
        known = store.model()
        assert known is not None
        found["commit, by image"] = spent(
            lambda turn: store.add(known.number, [replace(one, key=f"x{turn}-{n}") for n in range(BATCH)]), BATCH
        )
        store.close()
        write(out, [images(400, first=900_000, day=200)], reference())
        found["look"] = spent(lambda turn: examine(out))
        size = (out / MONITOR).stat().st_size
    facts = {"benchmark": "monitor_cost", "machine": machine(), "versions": versions()}
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    write_json(options.out, {**facts, "written": stamp, "turns": TURNS, "database_bytes": size, "spent": found})
    for name, times in found.items():
        print(f"{name:18} {times['cpu_ms']:8.3f} ms CPU, {times['wall_ms']:8.3f} ms")
    print(f"database           {size / 1e6:.1f} MB; written {options.out}")


if __name__ == "__main__":
    main()
