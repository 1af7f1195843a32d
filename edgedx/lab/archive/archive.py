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

from .access import DIMSE, Access, is_pacs
from .listing import write_listing
from .parquet import parquet, schema_of
from .plan import PARTS, PLAN, Plan, part_of, read_plan, write_plan

RESULTS, COPIES, MISSING = "results.parquet", "copies.parquet", "missing.parquet"
SUMMARY, UNITS = "summary.json", "units"
_UNITS_FOR_EACH_JOB = 4
"""More units than workers, so that none ends long before the others."""


@dataclass(frozen=True)
class Archive:
    """What an archive run does.

    Attributes
    ----------
    source : str
        A folder, a CSV with a column ``path``, or the address of a PACS (`access`).
    size : int
        Files of a shard: what a kill may cost.
    jobs : int
        Processes at the same time on this machine; 0: one for each core. Each has a decoder process. Of a PACS by DIMSE
        it is one process with so many decoders: one association.
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
    access: Access = Access()


def archive(order: Archive) -> dict[str, Any]:
    """List, read what is not yet read, join, and return the summary.

    Raises
    ------
    UsageError
        The folder was begun with another source, bundle or size; or a PACS by DIMSE on a cluster.
    InputOutputError
        A worker failed; finished shards are kept.
    """
    dimse = order.source.startswith(DIMSE)
    if dimse and order.on != "local":
        raise UsageError(
            "a PACS by DIMSE is read over one association, by one machine", next_step="leave --on out, or use DICOMweb"
        )
    out = order.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    with lock(out):
        begun = time.monotonic()
        bundle = open_any(order.bundle)
        plan = _plan(order, bundle, out)
        (out / PARTS).mkdir(exist_ok=True)
        left = [number for number in range(plan.shards) if not part_of(out, number).is_file()]
        jobs = order.jobs or os.cpu_count() or 1
        count = min(len(left), 1 if dimse else order.units or jobs * _UNITS_FOR_EACH_JOB)
        units = [_unit(out, number, left[number::count], jobs if dimse else 1, order.access) for number in range(count)]
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
    count = write_listing(source, out, order.access)
    plan = Plan(
        source=source, files=count, size=order.size, bundle_path=path, bundle=bundle.digest, variant=variant,
        operating_point=order.operating_point,
    )  # fmt: skip
    write_plan(out, plan)
    return plan


def _unit(out: Path, number: int, shards: list[int], decoders: int, access: Access) -> Unit:
    how = (str(out), str(decoders), access.model_dump_json())
    command = (sys.executable, "-m", "edgedx.lab.archive.shard", *how, *map(str, shards))
    return Unit(f"worker {number}", out / UNITS / str(number), (command,))


def _join(out: Path, plan: Plan, classes: Sequence[str]) -> dict[str, Any]:
    """All parts to one table. Of files with the same content the first of the listing stands in it, the others beside
    it: what the table holds does not depend on who read which shard, and when. What a PACS did not give has no content,
    and a table of its own."""
    pa, pq = parquet()
    schema = schema_of(classes)
    same = pa.schema([schema.field("sha256"), schema.field("path")])
    absent = pa.schema([schema.field(name) for name in ("path", "code", "message")])
    seen: set[bytes] = set()
    statuses: Counter[str] = Counter()
    copies = missing = 0
    with (
        atomic_write(out / RESULTS) as table,
        atomic_write(out / COPIES) as beside,
        atomic_write(out / MISSING) as lacking,
        pq.ParquetWriter(table, schema, compression="zstd") as results,
        pq.ParquetWriter(beside, same, compression="zstd") as others,
        pq.ParquetWriter(lacking, absent, compression="zstd") as gaps,
        progress("joining", plan.shards) as bar,
    ):
        for number in range(plan.shards):
            part = pq.read_table(part_of(out, number))
            kinds = []
            for text in part.column("sha256").to_pylist():
                content = bytes.fromhex(text)
                kinds.append("missing" if not content else "copy" if content in seen else "first")
                if content:
                    seen.add(content)
            kept, double, none = (
                part.filter(pa.array([kind == one for kind in kinds], pa.bool_()))
                for one in ("first", "copy", "missing")
            )
            results.write_table(kept)
            others.write_table(double.select(same.names).cast(same))
            gaps.write_table(none.select(absent.names).cast(absent))
            copies, missing = copies + len(double), missing + len(none)
            codes = zip(kept.column("status").to_pylist(), kept.column("code").to_pylist(), strict=True)
            statuses.update(f"{status} {code or ''}".strip() for status, code in codes)
            bar.advance()
    return {
        "schema_version": 1,
        "files": plan.files,
        "contents": len(seen),
        "copies": copies,
        "missing": missing,
        "statuses": dict(sorted(statuses.items())),
        "bundle": plan.bundle,
        "variant": plan.variant,
        "results": str(out / RESULTS),
    }
