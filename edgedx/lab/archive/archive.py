"""From a folder or a CSV of studies to one Parquet table: exactly one row for each content, resumable at any point."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedx.core.bundle.manifest import Bundle
from edgedx.core.errors import UsageError
from edgedx.core.files import atomic_write, lock, write_json
from edgedx.core.progress import progress
from edgedx.device.install.active import open_any
from edgedx.device.install.health import serving_variant
from edgedx.lab.launch.launch import launch, launcher_on
from edgedx.lab.launch.unit import Unit

from .dicomweb import is_pacs
from .listing import write_listing
from .parquet import parquet, schema_of
from .plan import PARTS, PLAN, Plan, part_of, read_plan, write_plan

RESULTS, COPIES, SUMMARY, UNITS = "results.parquet", "copies.parquet", "summary.json", "units"
_UNITS_FOR_EACH_JOB = 4
"""More units than workers, so that none ends long before the others."""


@dataclass(frozen=True)
class Archive:
    """What an archive run does.

    Attributes
    ----------
    source : str
        A folder, a CSV with a column ``path``, or the address of a DICOMweb service.
    size : int
        Files of a shard: what a kill may cost.
    jobs : int
        Processes at the same time on this machine; 0: one for each core. Each has a decoder process.
    on : str
        See `launch.launcher_on`.
    units : int
        Pieces that the shards are dealt into; 0: four for each process.
    """

    source: str
    bundle: Path
    out: Path
    operating_point: str | None = None
    variant: str | None = None
    size: int = 2000
    jobs: int = 0
    on: str = "local"
    units: int = 0


def archive(order: Archive) -> dict[str, Any]:
    """List, read what is not yet read, join, and return the summary.

    Raises
    ------
    UsageError
        The folder was begun with another source, bundle or size.
    InputOutputError
        A worker failed; finished shards are kept.
    """
    out = order.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    with lock(out):
        begun = time.monotonic()
        bundle = open_any(order.bundle)
        plan = _plan(order, bundle, out)
        (out / PARTS).mkdir(exist_ok=True)
        left = [number for number in range(plan.shards) if not part_of(out, number).is_file()]
        jobs = order.jobs or os.cpu_count() or 1
        count = min(len(left), order.units or jobs * _UNITS_FOR_EACH_JOB)
        units = [_unit(out, number, left[number::count]) for number in range(count)]
        launch(units, launcher_on(order.on, jobs=jobs), f"reading {len(left)} of {plan.shards} shards")
        summary = _join(out, plan, bundle.manifest.classes)
        summary |= {"wall_seconds": round(time.monotonic() - begun, 1), "shards_read": len(left)}
        write_json(out / SUMMARY, summary)
        return summary


def _plan(order: Archive, bundle: Bundle, out: Path) -> Plan:
    source, path = order.source, str(order.bundle.absolute())
    if not is_pacs(source):
        source = str(Path(source).absolute())
    variant = order.variant or serving_variant(bundle) or bundle.manifest.default_variant
    if (out / PLAN).is_file():
        plan = read_plan(out)
        now = {
            "source": source, "bundle": bundle.digest, "size": order.size, "variant": variant,
            "operating_point": order.operating_point,
        }  # fmt: skip
        changed = [name for name, value in now.items() if getattr(plan, name) != value]
        if changed:
            raise UsageError(
                f"{out} was begun with another {', '.join(changed)}", next_step="give the same again, or another --out"
            )
        return plan
    bundle.model(variant)
    count = write_listing(source, out)
    plan = Plan(
        source=source, files=count, size=order.size, bundle_path=path, bundle=bundle.digest, variant=variant,
        operating_point=order.operating_point,
    )  # fmt: skip
    write_plan(out, plan)
    return plan


def _unit(out: Path, number: int, shards: list[int]) -> Unit:
    command = (sys.executable, "-m", "edgedx.lab.archive.shard", str(out), "1", *map(str, shards))
    return Unit(f"worker {number}", out / UNITS / str(number), (command,))


def _join(out: Path, plan: Plan, classes: Sequence[str]) -> dict[str, Any]:
    """All parts to one table. Of files with the same content the first of the listing stands in it, the others beside
    it: what the table holds does not depend on who read which shard, and when."""
    pa, pq = parquet()
    schema = schema_of(classes)
    same = pa.schema([schema.field("sha256"), schema.field("path")])
    seen: set[bytes] = set()
    statuses: Counter[str] = Counter()
    copies = 0
    with (
        atomic_write(out / RESULTS) as table,
        atomic_write(out / COPIES) as beside,
        pq.ParquetWriter(table, schema, compression="zstd") as results,
        pq.ParquetWriter(beside, same, compression="zstd") as others,
        progress("joining", plan.shards) as bar,
    ):
        for number in range(plan.shards):
            part = pq.read_table(part_of(out, number))
            first = []
            for text in part.column("sha256").to_pylist():
                content = bytes.fromhex(text)
                first.append(content not in seen)
                seen.add(content)
            mask = pa.array(first, pa.bool_())
            kept, double = part.filter(mask), part.filter(pa.array([not one for one in first], pa.bool_()))
            results.write_table(kept)
            others.write_table(double.select(["sha256", "path"]).cast(same))
            copies += len(double)
            codes = zip(kept.column("status").to_pylist(), kept.column("code").to_pylist(), strict=True)
            statuses.update(f"{status} {code or ''}".strip() for status, code in codes)
            bar.advance()
    return {
        "schema_version": 1,
        "files": plan.files,
        "contents": len(seen),
        "copies": copies,
        "statuses": dict(sorted(statuses.items())),
        "bundle": plan.bundle,
        "variant": plan.variant,
        "results": str(out / RESULTS),
    }
