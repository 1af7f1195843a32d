"""edgedx bench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .common import interval, print_json


def bench(
    models: Annotated[list[str], typer.Argument(help="Checkpoint folders, .edgedx bundles, timm names, in any mix.")],
    out: Annotated[Path, typer.Option(help="Folder for bench.json and pareto.png.")] = Path("bench"),
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of one inference.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Images in one inference.")] = 1,
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds to measure each model.")] = 3.0,
    size: Annotated[
        int | None, typer.Option(help="Input side of timm models, pixels; that of the first other model unless given.")
    ] = None,
    device_record: Annotated[
        Path | None, typer.Option(help="Write figures of this machine for bundles, to send back; needs no torch.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Time models on this machine by turns, and set latency against accuracy.

    Example: edgedx bench runs/pneumonia-mnist/teacher runs/pneumonia-mnist/student resnet50

    Preprocessing is timed on a 2048 x 2048 image of 12 bits. timm models carry random weights: latency only.
    --device-record takes bundles alone, times each of their models here, and adds power mode, clocks, temperature
    and JetPack; what cannot run here is "not measured". It is what a device without torch uses.
    """
    if device_record is not None:
        _record(models, device_record, threads, batch, seconds, json)
        return
    from edgedx.lab.evidence.bench import bench as work
    from edgedx.lab.evidence.bench import contenders_of, write_bench

    rows = work(contenders_of(models, side=size), threads=threads, batch=batch, seconds=seconds)
    report = write_bench(rows, out, f"Batch {batch}, {threads} thread(s)")
    if json:
        print_json(report)
        return
    print_rows(rows)
    typer.echo(f"batch {batch}, {threads} thread(s), {report['machine']}")
    typer.echo(f"written   {out / 'bench.json'}, {out / 'pareto.png'}")


def _record(models: list[str], path: Path, threads: int, batch: int, seconds: float, json: bool) -> None:
    from edgedx.device.install.device_record import record_device, write_device_record

    record = record_device(models, threads=threads, batch=batch, seconds=seconds)
    write_device_record(path, record)
    if json:
        print_json(record)
        return
    for row in record["rows"]:
        times = row["latency"]
        told = (
            f"{times}: {row['why']}"
            if isinstance(times, str)
            else f"P50 {times['p50_ms']:.2f} ms, P99 {times['p99_ms']:.2f} ms, {times['provider']}"
        )
        typer.echo(f"{row['bundle']} {row['variant']}  {told}")
    typer.echo(
        f"batch {batch}, {record['machine']}, power mode {record['conditions']['before']['power_mode'] or 'unknown'}"
    )
    typer.echo(f"written   {path}: read it, then send it to whom asked for it")


def print_rows(rows: list[dict[str, Any]]) -> None:
    """The table of models."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("model", "AUC (95 %)", "sens.", "spec.", "MB", "P50", "P90", "P99 ms", "img/s", "pre ms", "all ms"):
        table.add_column(title, justify="left" if title == "model" else "right", overflow="fold")
    for row in rows:
        times = row["inference"]
        short = [f"{row[key]['value']:.2f}" if row.get(key) else "-" for key in ("sensitivity", "specificity")]
        table.add_row(
            row["name"],
            interval(row["auc"]),
            *short,
            f"{row['megabytes']:.2f}",
            *(f"{times[key]:.2f}" for key in ("p50_ms", "p90_ms", "p99_ms")),
            f"{times['images_per_s']:.0f}",
            f"{row['preprocess']['p50_ms']:.1f}",
            f"{row['end_to_end']['p50_ms']:.1f}",
        )
    console = Console()
    if console.width < 110 and not console.is_terminal:
        console = Console(width=120)
    console.print(table)
