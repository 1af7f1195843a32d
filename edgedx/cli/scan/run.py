"""``edgedx scan INBOX``: read every new image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgedx.cli.common import warn

from . import show


def run(
    inbox: Annotated[Path, typer.Argument(help="Folder to watch, with its sub-folders.")],
    bundle: Annotated[
        Path, typer.Option(help="The model: a .edgedx file, or the --root that `edgedx install` was given.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for results, quarantine and state; on a local disk.")],
    once: Annotated[bool, typer.Option("--once", help="Read what is there, then stop.")] = False,
    variant: Annotated[
        str | None, typer.Option(help="Model of the bundle, e.g. fp32; the one it was installed with unless given.")
    ] = None,
    point: Annotated[
        str | None, typer.Option(help="Operating point (threshold) to decide at, e.g. sensitivity-0.95.")
    ] = None,
    heatmap: Annotated[
        bool, typer.Option("--heatmap", help="Also a picture beside each result: where the model looked.")
    ] = False,
    sr: Annotated[bool, typer.Option("--sr", help="Also a DICOM structured report of each DICOM image.")] = False,
    sc: Annotated[
        bool, typer.Option("--sc", help="Also a DICOM picture (Secondary Capture), with a heat map if it can.")
    ] = False,
    sr_refused: Annotated[
        bool, typer.Option("--sr-refused", help="With --sr, a report for refused images too: not assessed, and why.")
    ] = False,
    pacs: Annotated[
        Path | None, typer.Option(help="YAML file: which PACS to send to, who may send here, TLS. See `scan pacs`.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, max=64, help="Processes that decode files; 0: one for each core, at most 4.")
    ] = 0,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of one inference; 0 lets the runtime choose.")] = 0,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between looks at the folder.")] = 2.0,
    settle: Annotated[
        float | None,
        typer.Option(min=0.0, help="Seconds that a file must stay unchanged; 2 unless given, with --once 0.5."),
    ] = None,
    patience: Annotated[
        float,
        typer.Option(min=0.0, help="Seconds a file that ends early is looked at again before it is put aside."),
    ] = 240.0,
    rescan: Annotated[
        str,
        typer.Option(help="Files that an earlier bundle has answered: background (when nothing new waits), or never."),
    ] = "background",
    disk_floor: Annotated[
        int, typer.Option(min=0, help="Free MiB on the disk of OUT below which it waits; nothing is lost.")
    ] = 200,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Serve metrics on 127.0.0.1:PORT too; OUT/metrics.prom has them."),
    ] = None,
    keep_days: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="Remove results, and images received from a PACS, that are older; what waits stays."
        ),
    ] = None,
    keep_gb: Annotated[
        float | None, typer.Option(min=0.0, help="The same, the oldest first, until no more than this is kept.")
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="Write the log to this file, at most 4 times 5 MB, instead of stderr.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log each file (by number, never by name).")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Read every new image of a folder: DICOM, PNG, JPEG, TIFF, BMP, WebP. One durable JSON each.

    Example: edgedx scan inbox --bundle /srv/edgedx --out results --once

    Every input ends as done, refused (not what the model was made for) or quarantined (moved to OUT/quarantine, with
    the reason). Stop it with Ctrl-C or SIGTERM: it finishes its batch.

    A bundle that was just installed is on trial: after three starts that neither answered an image nor ended in
    order, or when it does not work, the one before it is made active again, and stderr says so.

    More, each with --help: `edgedx scan status OUT` (is all well?), retry (read quarantined files again), outbox (what
    waits for the PACS), audit (prove the log), export (de-identified copies), unit (for systemd), pacs (the file of
    --pacs). OUT/metrics.prom is for Prometheus.
    """
    from edgedx.cli.common import check_choice
    from edgedx.core.files import private_files
    from edgedx.core.result import NOT_A_MEDICAL_DEVICE
    from edgedx.device.operation.service import scan

    check_choice("--rescan", rescan, ("background", "never"))
    job = job_of(inbox=inbox, bundle=bundle, out=out, once=once, variant=variant, workers=workers, threads=threads,
                 point=point, interval=interval, settle=settle, disk_floor=disk_floor, heatmap=heatmap, sr=sr, sc=sc,
                 sr_refused=sr_refused, pacs=pacs, metrics_port=metrics_port, keep_days=keep_days,
                 keep_gb=keep_gb, patience=patience, rescan=rescan)  # fmt: skip
    typer.echo(NOT_A_MEDICAL_DEVICE, err=True)
    with private_files():
        begin_log(log, verbose)
        show.scanned(scan(job, warn), job, json=json)


def job_of(*, pacs: Path | None, **options: Any) -> Any:
    """The job that the options describe; the file of the PACS is read."""
    from edgedx.core.settings.pacs import load_pacs
    from edgedx.device.operation.service import ScanJob

    return ScanJob(**options, pacs=load_pacs(pacs) if pacs else None)


def begin_log(file: Path | None, verbose: bool) -> None:
    """Log to stderr, which journald keeps, or to a file that is turned over before it fills the disk."""
    import logging
    from logging.handlers import RotatingFileHandler

    from edgedx.core.files import storage_error

    level, form = logging.INFO if verbose else logging.WARNING, "%(asctime)s %(levelname)s %(message)s"
    if file is None:
        logging.basicConfig(level=level, format=form)
        return
    try:
        handler = RotatingFileHandler(file, maxBytes=5_000_000, backupCount=3, encoding="utf-8")
    except OSError as error:
        raise storage_error(file, error) from error
    logging.basicConfig(level=level, format=form, handlers=[handler])
