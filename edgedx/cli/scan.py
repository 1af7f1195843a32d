"""edgedx scan."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from .common import print_json
from .lazy import group_with_default
from .scan_outputs import SC, SR, AeTitle, NotAssessed, Push, PushCa, PushCert, PushKey, outbox
from .scan_receive import CallingAe, Scp, TlsCa, TlsCert, TlsKey, reception
from .scan_retry import retry
from .scan_status import status

app = typer.Typer(
    help="Read every new image of a folder.", cls=group_with_default("run"), rich_markup_mode=None, add_completion=False
)


class Rescan(str, Enum):
    """What becomes of files that an earlier bundle has answered."""

    background = "background"
    never = "never"


@app.command("run")
def run(
    inbox: Annotated[Path, typer.Argument(help="Folder to watch, with its sub-folders.")],
    bundle: Annotated[
        Path, typer.Option(help="Root that `edgedx install` was given, ROOT/current, or a .edgedx file.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for results, quarantine and the ledger; on a local disk.")],
    once: Annotated[bool, typer.Option("--once", help="Read what is there, then stop.")] = False,
    variant: Annotated[
        str | None, typer.Option(help="Model of the bundle, e.g. fp32; the one it was installed with unless given.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, max=64, help="Decoder processes; 0: one for each core, at most 4.")
    ] = 0,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of one inference; 0 lets the runtime choose.")] = 0,
    operating_point: Annotated[str | None, typer.Option(help="Operating point, e.g. sensitivity-0.95.")] = None,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between looks at the folder.")] = 2.0,
    settle: Annotated[
        float | None, typer.Option(min=0.0, help="Seconds a file must stay unchanged; 2, with --once 0.5.")
    ] = None,
    patience: Annotated[
        float,
        typer.Option(min=0.0, help="Seconds a file that ends early is looked at again before it is put aside."),
    ] = 240.0,
    rescan: Annotated[
        Rescan, typer.Option(help="Files that an earlier bundle has answered: when nothing new waits, or never.")
    ] = Rescan.background,
    disk_floor: Annotated[
        int, typer.Option(min=0, help="MiB free on the disk of OUT below which no work is taken; nothing is lost.")
    ] = 200,
    heatmap: Annotated[
        bool, typer.Option("--heatmap", help="Also a picture beside each result: where the model looked.")
    ] = False,
    sr: SR = False,
    sc: SC = False,
    sr_refused: NotAssessed = False,
    push: Push = None,
    push_ca: PushCa = None,
    push_cert: PushCert = None,
    push_key: PushKey = None,
    ae_title: AeTitle = "EDGEDX",
    scp: Scp = None,
    calling_ae: CallingAe = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls_ca: TlsCa = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Serve the metrics on 127.0.0.1:PORT too; OUT/metrics.prom has them."),
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="Write the log to this file, at most 4 times 5 MB, instead of stderr.")
    ] = None,
    print_systemd: Annotated[
        bool, typer.Option("--print-systemd", help="Print a hardened systemd unit for this very command, and stop.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log each file (by number, never by name).")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Read every new image of a folder: DICOM, PNG, JPEG, TIFF. One durable JSON per image.

    Example: edgedx scan inbox --bundle device/current --out results --once

    Every input ends as done, refused (not what the model was made for) or quarantined (moved to OUT/quarantine,
    with the reason). Stop it with Ctrl-C or SIGTERM: it finishes its batch.

    A bundle that was just installed is on trial: after three starts that neither answered an image nor ended in
    order, or when it does not work, the one before it is made active again, and stderr says so.

    `edgedx scan status OUT` says how it does, `edgedx scan retry OUT` gives what was quarantined another chance;
    OUT/metrics.prom is for Prometheus, OUT/audit.jsonl for `edgedx audit verify OUT`.
    """
    import signal
    import time
    from contextlib import ExitStack

    from edgedx.core.progress import progress
    from edgedx.core.result import NOT_A_MEDICAL_DEVICE
    from edgedx.device.operation.audit import AuditLog
    from edgedx.device.operation.notify import notify
    from edgedx.device.operation.prometheus_http import serve_metrics
    from edgedx.device.operation.pulse import Pulse
    from edgedx.device.operation.serving import serve
    from edgedx.device.scanner.heatmaps import Heatmaps, require_maps
    from edgedx.device.scanner.scanner import Options
    from edgedx.device.scanner.sinks import Sink

    from .scan_outputs import dicom_outputs, tell_objects

    if print_systemd:
        network = "open" if push or scp else "none" if metrics_port is None else "loopback"
        files = (push_ca, push_cert, push_key, tls_cert, tls_key, tls_ca)
        _print_unit(inbox, bundle, out, network=network, log=log, files=files)
        return
    begin_log(log, verbose)
    settle = settle if settle is not None else (0.5 if once else 2.0)
    typer.echo(NOT_A_MEDICAL_DEVICE, err=True)
    with ExitStack() as stack:
        show = None if metrics_port is None else stack.enter_context(serve_metrics(metrics_port))[0]
        pulse = Pulse(out, show)
        drawn: list[Sink] = [Heatmaps()] if heatmap else []
        objects = dicom_outputs(
            out, sr=sr, sc=sc, refused=sr_refused, push=push, authority=push_ca, certificate=push_cert, key=push_key,
            ae_title=ae_title, disk_floor=disk_floor << 20, once=once,
        )  # fmt: skip
        objects_in = reception(
            inbox, out, scp=scp, calling=calling_ae or (), certificate=tls_cert, key=tls_key, authority=tls_ca,
            disk_floor=disk_floor << 20, once=once,
        )  # fmt: skip
        options = Options(
            interval=interval, settle=settle, disk_floor=disk_floor << 20, workers=workers, show=heatmap or sc,
            incomplete=patience, rescan=rescan.value,
            sinks=lambda bundle, out: [pulse, AuditLog(out, bundle.digest), *drawn, *objects()],
        )  # fmt: skip
        scanner = stack.enter_context(
            serve(inbox, bundle, out, variant=variant, threads=threads, operating_point=operating_point,
                  options=options, tell=lambda text: typer.echo(f"warning: {text}", err=True))
        )  # fmt: skip
        if heatmap:
            require_maps(scanner.predictor)
        stack.enter_context(objects_in)
        scanner.on_beat = lambda: pulse.beat(scanner)
        notify("READY=1")

        def stop(*_: object) -> None:
            scanner.stop = True

        for number in (signal.SIGINT, signal.SIGTERM):
            stack.callback(signal.signal, number, signal.signal(number, stop))
        begun = time.monotonic()
        with progress("scanning", scanner.to_read(), quiet=not once) as bar:
            scanner.on_result = lambda result: bar.advance(1)
            counts = scanner.run_once() if once else scanner.run()
        seconds = time.monotonic() - begun
        notify("STOPPING=1")
        pulse.stopped(scanner)
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
        if sr or sc:
            tell_objects(out)
        if read["quarantined"]:
            typer.echo(f"next      look at {out / 'quarantine'}: each file has its reason beside it")
    if waiting and not scanner.stop:
        typer.echo(f"error: {waiting} files could not be opened, or are still being written", err=True)
        typer.echo("next:  check their owner, then start again; what was read is kept", err=True)
        raise typer.Exit(5)
    if gone := scanner.absent():
        typer.echo(f"{gone} files that were seen earlier are not in the inbox; they wait for it", err=True)


app.command("status")(status)
app.command("retry")(retry)
app.command("outbox")(outbox)


def begin_log(file: Path | None, verbose: bool) -> None:
    """Log to stderr, which journald keeps, or to a file that is turned over before it fills the disk."""
    import logging
    from logging.handlers import RotatingFileHandler

    from edgedx.core.files import storage_error

    level, told = logging.INFO if verbose else logging.WARNING, "%(asctime)s %(levelname)s %(message)s"
    if file is None:
        logging.basicConfig(level=level, format=told)
        return
    try:
        handler = RotatingFileHandler(file, maxBytes=5_000_000, backupCount=3, encoding="utf-8")
    except OSError as error:
        raise storage_error(file, error) from error
    logging.basicConfig(level=level, format=told, handlers=[handler])


def _print_unit(
    inbox: Path, bundle: Path, out: Path, *, network: str, log: Path | None, files: Sequence[Path | None]
) -> None:
    import shutil
    import sys

    from edgedx.device.install.active import installed_at
    from edgedx.device.operation.unit import unit_text

    program = shutil.which("edgedx")
    words = [str(Path(program).absolute())] if program else [sys.executable, "-m", "edgedx"]
    given = [path.absolute() for path in files if path is not None]
    places = {str(path): str(path.absolute()) for path in (inbox, bundle, out, log, *files) if path is not None}
    for word in sys.argv[1:]:
        option, sign, value = word.partition("=")
        if word != "--print-systemd":
            words.append(f"{option}={places.get(value, value)}" if sign else places.get(word, word))
    installed = installed_at(bundle) if bundle.exists() else None
    root = [installed[0].absolute()] if installed is not None else []
    gpu = any(Path(node).exists() for node in ("/dev/nvidiactl", "/dev/nvhost-ctrl"))
    writable = [inbox.absolute(), out.absolute(), *root, *([log.absolute().parent] if log else [])]
    readable = [*given] if root else [bundle.absolute(), *given]
    typer.echo(unit_text(words, writable=writable, readable=readable, gpu=gpu, network=network), nl=False)
