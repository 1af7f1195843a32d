"""`edgedx scan` as one call: the scanner, what draws and sends beside it, and its heartbeat, until it is stopped."""

from __future__ import annotations

import importlib.util
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass
from json import dumps
from pathlib import Path
from typing import Literal

from edgedx.core.bundle.local_point import point_of
from edgedx.core.bundle.manifest import Bundle
from edgedx.core.errors import DependencyMissing, UsageError
from edgedx.core.progress import progress
from edgedx.core.settings.pacs import PacsSettings
from edgedx.device.pacs.companion import Companion
from edgedx.device.pacs.outputs import DicomOutputs, Wanted
from edgedx.device.pacs.peer import peer_of
from edgedx.device.pacs.receiver import listen_of, receiving
from edgedx.device.scanner.heatmaps import Heatmaps, require_maps
from edgedx.device.scanner.scanner import Options, Scanner
from edgedx.device.scanner.sinks import Sink

from .audit import AuditLog
from .heartbeat import Heartbeat
from .notify import notify
from .prometheus_http import serve_metrics
from .retention import Retention, RetentionLimits
from .serving import Tell, serve
from .watch import Watch

_PATIENCE_S = 10.0  # a stopped service goes on at its next start
_PATIENCE_ONCE_S = 600.0
_SETTLE_S, _SETTLE_ONCE_S = 2.0, 0.5


@dataclass(frozen=True)
class ScanJob:
    """What to scan, and how.

    Attributes
    ----------
    bundle : Path
        A ``.edgedx`` file, ROOT or ROOT/current.
    once : bool
        Read what is there, then stop; else until SIGINT or SIGTERM.
    settle : float, optional
        Seconds that a file must stay unchanged; 2, and with `once` 0.5, unless given.
    disk_floor : int
        MiB free on the output's disk below which no work is taken.
    sr, sc, sr_refused : bool
        DICOM reports, pictures, and reports of what was refused.
    pacs : PacsSettings, optional
        Where objects go, and who may send images here.
    metrics_port : int, optional
        Port on loopback for Prometheus.
    keep_days, keep_gb : float, optional
        Limits of what is kept (see `retention.RetentionLimits`).
    patience : float
        Seconds a file that ends early is looked at again before it is put aside.
    rescan : str
        What becomes of files that an earlier bundle has answered: ``background`` or ``never``.
    """

    inbox: Path
    bundle: Path
    out: Path
    once: bool = False
    variant: str | None = None
    workers: int = 0
    threads: int = 0
    point: str | None = None
    interval: float = 2.0
    settle: float | None = None
    disk_floor: int = 200
    heatmap: bool = False
    sr: bool = False
    sc: bool = False
    sr_refused: bool = False
    pacs: PacsSettings | None = None
    metrics_port: int | None = None
    keep_days: float | None = None
    keep_gb: float | None = None
    patience: float = 240.0
    rescan: Literal["background", "never"] = "background"

    @property
    def floor_bytes(self) -> int:
        """The disk floor in bytes."""
        return self.disk_floor << 20


@dataclass(frozen=True)
class Scanned:
    """How a scan ended.

    Attributes
    ----------
    read_now : mapping
        Files by outcome (done, refused, quarantined) in this run.
    waiting : int
        Files that could not be opened, or are still being written.
    ledger : mapping
        All files of the output folder by status.
    absent : int
        Files that were seen earlier and are not in the inbox now.
    stopped : bool
        By a signal.
    """

    read_now: Mapping[str, int]
    waiting: int
    ledger: Mapping[str, int]
    absent: int
    seconds: float
    stopped: bool


def scan(job: ScanJob, tell: Tell) -> Scanned:
    """Scan until all is read (`once`) or a signal comes.

    Parameters
    ----------
    tell : callable
        Is told when a bundle on trial was left for the one before it.

    Raises
    ------
    EdgedxError
        Any of our tree; what is wrong with the call or with a PACS before anything was started.
    """
    settle = job.settle if job.settle is not None else (_SETTLE_ONCE_S if job.once else _SETTLE_S)
    with ExitStack() as stack:
        show = None if job.metrics_port is None else stack.enter_context(serve_metrics(job.metrics_port))[0]
        heartbeat = Heartbeat(job.out, show)
        drawn: list[Sink] = [Heatmaps()] if job.heatmap else []
        objects_out, objects_in = dicom_outputs(job), reception(job)

        def audited(bundle: Bundle, out: Path) -> AuditLog:
            return AuditLog(out, bundle.digest, point_of(bundle, job.point))

        options = Options(
            interval=job.interval, settle=settle, disk_floor=job.floor_bytes, workers=job.workers,
            show=job.heatmap or job.sc, incomplete=job.patience, rescan=job.rescan,
            sinks=lambda bundle, out: [heartbeat, audited(bundle, out), Watch(out, bundle), *drawn, *objects_out()],
        )  # fmt: skip
        scanner = stack.enter_context(
            serve(job.inbox, job.bundle, job.out, variant=job.variant, threads=job.threads,
                  operating_point=job.point, options=options, tell=tell)
        )  # fmt: skip
        if job.heatmap:
            require_maps(scanner.predictor)
        stack.enter_context(objects_in)
        retention = Retention(job.inbox, job.out, RetentionLimits(job.keep_days, job.keep_gb))

        def beat() -> None:
            heartbeat.beat(scanner)
            retention.tend(scanner)

        scanner.on_beat = beat
        notify("READY=1")
        _stop_by_signals(scanner, stack)
        begun = time.monotonic()
        with progress("scanning", scanner.to_read(), quiet=not job.once) as bar:
            scanner.on_result = lambda result: bar.advance(1)
            ledger = scanner.run_once() if job.once else scanner.run()
        if job.once:
            retention.sweep_now(scanner)
        seconds = time.monotonic() - begun
        notify("STOPPING=1")
        heartbeat.stopped(scanner, finished=job.once and not scanner.stop)
    read = {name: scanner.read_now[name] for name in ("done", "refused", "quarantined")}
    return Scanned(read, scanner.read_now["waiting"], ledger, scanner.absent(), seconds, scanner.stop)


def _stop_by_signals(scanner: Scanner, stack: ExitStack) -> None:
    """SIGINT and SIGTERM end the batch that is at work; the handlers before are back when the stack is left."""

    def stop(*_: object) -> None:
        scanner.stop = True

    for number in (signal.SIGINT, signal.SIGTERM):
        stack.callback(signal.signal, number, signal.signal(number, stop))


def dicom_outputs(job: ScanJob) -> Callable[[], list[Sink]]:
    """Objects that a job asks for: gives the sinks, and starts their processes, when it is called.

    Raises
    ------
    UsageError, DependencyMissing, InputOutputError
        Before anything was started.
    """
    send = job.pacs is not None and job.pacs.send is not None
    if not (job.sr or job.sc):
        if send or job.sr_refused:
            what = "--sr-refused" if job.sr_refused else "the section send of --pacs"
            raise UsageError(f"{what} needs objects to send", next_step="add --sr (reports), --sc (pictures) or both")
        return list
    if importlib.util.find_spec("highdicom") is None:  # not imported: the scanner needs none of it
        raise DependencyMissing("--sr and --sc need highdicom", next_step="pip install 'edgedx[sr]'")
    if job.sr_refused and not job.sr:
        raise UsageError("--sr-refused needs --sr", next_step="add --sr")
    wanted = Wanted(sr=job.sr, sc=job.sc, refused=job.sr_refused, push=send, disk_floor=job.floor_bytes)
    where = str(job.out.absolute())
    programs = [("outputs", "edgedx.device.pacs.outputs_worker", dumps(asdict(wanted)))]
    if send:
        assert job.pacs is not None
        programs.append(("push", "edgedx.device.pacs.push_worker", peer_of(job.pacs).model_dump_json()))
    patience = _PATIENCE_ONCE_S if job.once else _PATIENCE_S

    def make() -> list[Sink]:
        companions = [
            Companion(name, module, [where, settings], patience=patience) for name, module, settings in programs
        ]
        return [DicomOutputs(job.out, wanted, tuple(companions))]

    return make


def reception(job: ScanJob) -> AbstractContextManager[object]:
    """Receives what a job takes by C-STORE while the context is held.

    Raises
    ------
    UsageError, DependencyMissing, InputOutputError
        Before anything was started.
    """
    if job.pacs is None or job.pacs.receive is None:
        return nullcontext()
    if job.once:
        raise UsageError(
            "the section receive of --pacs waits for objects, --once does not", next_step="leave one of them out"
        )
    return receiving(job.inbox, job.out, listen_of(job.pacs, disk_floor=job.floor_bytes))
