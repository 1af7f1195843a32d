"""``edgedx bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.options import AsJson, OfDevice
from edgedx.cli.stopping import NOTHING, at_work

from . import show


def bench(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Runs, checkpoint folders, .onnx models of a run, .edgedx bundles, timm names, in any mix."
        ),
    ],
    device: OfDevice = None,
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
    json: AsJson = False,
) -> None:
    """Time models on this machine by turns, and set latency against accuracy.

    Example: edgedx bench runs/pneumonia-mnist resnet50

    Preprocessing is timed on a 2048 x 2048 image of 12 bits. timm models carry random weights: latency only. int8-u8s8
    is a model in 8-bit integers: unsigned activations (u8), signed weights (s8).
    --device-record takes bundles alone, times each of their models here, and adds power mode, clocks, temperature
    and JetPack; what cannot run here is "not measured". It is what a device without torch uses.
    """
    if device_record is not None:
        from edgedx.device.install.device_record import record_device, write_device_record

        record = record_device(models, threads=threads, batch=batch, seconds=seconds)
        write_device_record(device_record, record)
        show.device_record(record, device_record, batch, json=json)
        return
    from edgedx.lab.evidence.bench import bench as work
    from edgedx.lab.evidence.bench import contenders_of, write_bench

    with at_work(None, NOTHING):
        rows = work(contenders_of(models, side=size, device=device), threads=threads, batch=batch, seconds=seconds)
        report = write_bench(rows, out, f"Batch {batch}, {threads} thread(s)")
        show.bench(report, rows, out, f"batch {batch}, {threads} thread(s)", json=json)
