"""edgedx scan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import print_json


def scan(
    inbox: Annotated[Path, typer.Argument(help="Folder to watch, with its sub-folders.")],
    bundle: Annotated[
        Path, typer.Option(help="Root that `edgedx install` was given, ROOT/current, or a .edgedx file.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for results, quarantine and the ledger; on a local disk.")],
    once: Annotated[bool, typer.Option("--once", help="Read what is there, then stop.")] = False,
    variant: Annotated[
        str | None, typer.Option(help="Model of the bundle, e.g. fp32; the one it was installed with unless given.")
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of one inference; 0 lets the runtime choose.")] = 0,
    operating_point: Annotated[str | None, typer.Option(help="Operating point, e.g. sensitivity-0.95.")] = None,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between looks at the folder.")] = 2.0,
    settle: Annotated[
        float | None, typer.Option(min=0.0, help="Seconds a file must stay unchanged; 2, with --once 0.5.")
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Log each file (by number, never by name) to stderr.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Read every new image of a folder: DICOM, PNG, JPEG, TIFF. One durable JSON per image.

    Example: edgedx scan inbox --bundle device/current --out results --once

    Every input ends as done, refused (not what the model was made for) or quarantined (moved to OUT/quarantine,
    with the reason). Stop it with Ctrl-C or SIGTERM: it finishes its batch.

    A bundle that was just installed is on trial: after three starts that neither answered an image nor ended in
    order, or when it does not work, the one before it is made active again, and stderr says so.
    """
    import logging
    import signal
    import time

    from ..core.progress import progress
    from ..core.result import NOT_A_MEDICAL_DEVICE
    from ..device.scanner import Options
    from ..device.serving import serve

    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(asctime)s %(levelname)s %(message)s"
    )
    settle = settle if settle is not None else (0.5 if once else 2.0)
    options = Options(interval=interval, settle=settle)
    typer.echo(NOT_A_MEDICAL_DEVICE, err=True)
    with serve(
        inbox, bundle, out, variant=variant, threads=threads, operating_point=operating_point, options=options,
        tell=lambda text: typer.echo(f"warning: {text}", err=True),
    ) as scanner:  # fmt: skip

        def stop(*_: object) -> None:
            scanner.stop = True

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        begun = time.monotonic()
        with progress("scanning", scanner.to_read(), quiet=not once) as bar:
            scanner.on_result = lambda result: bar.advance(1)
            counts = scanner.run_once() if once else scanner.run()
        seconds = time.monotonic() - begun
    read = {name: scanner.read_now[name] for name in ("done", "refused", "quarantined")}
    waiting = scanner.read_now["waiting"]
    if json:
        print_json(
            {
                "schema_version": 1,
                "read_now": read,
                "waiting": waiting,
                "ledger": counts,
                "seconds": round(seconds, 2),
                "out": str(out),
            }
        )
    else:
        typer.echo("  ".join(f"{name} {count}" for name, count in read.items()) + f"  in {seconds:.1f} s")
        typer.echo(f"results   {out / 'results.csv'}, {out / 'results'}")
        if read["quarantined"]:
            typer.echo(f"next      look at {out / 'quarantine'}: each file has its reason beside it")
    if waiting and not scanner.stop:
        typer.echo(f"error: {waiting} files could not be opened, or are still being written", err=True)
        typer.echo("next:  check their owner, then start again; what was read is kept", err=True)
        raise typer.Exit(5)
    if gone := scanner.absent():
        typer.echo(f"{gone} files that were seen earlier are not in the inbox; they wait for it", err=True)
