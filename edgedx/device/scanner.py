"""The scanner: every file of a folder becomes one durable result. Nothing is lost, nothing is done twice.

Each pass lists the inbox, lets settled files through the gate, hashes and records them, and works off what is
pending in batches: claim, decode in the child, infer, publish, finish.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .. import __version__
from ..core.bundle import Bundle
from ..core.errors import ImageError, InputOutputError, StorageError, UsageError
from ..core.files import sha256_file
from ..core.result import Prediction, Reason, Result, Runtime, Source, result_key
from .decide import Gate, acceptable, after_failure, ignored
from .decode import DecodedCanvas, Decoder, FileChanged
from .journal import Item, Journal, Stat
from .predict import Predictor
from .publish import Publisher

log = logging.getLogger("edgedx.scan")

BATCH = 8
RELEASED = 1_790_000_000.0  # September 2026: a clock before this was reset by a dead battery


@dataclass(frozen=True)
class Options:
    """How to scan.

    Attributes
    ----------
    interval : float
        Seconds between passes.
    settle : float
        Seconds that a file must stay unchanged before it is read.
    disk_floor : int
        Bytes free on the output's disk below which no work is taken.
    """

    interval: float = 2.0
    settle: float = 2.0
    disk_floor: int = 200 << 20


@dataclass
class Scanner:
    """One inbox, one bundle, one output folder. Use it as a context manager: it locks the output folder.

    Parameters
    ----------
    predictor : Predictor
        With an active runner.
    variant : str
        Name of the model that runs, for the results.
    decoder : Decoder, optional
        Given by tests.
    clock, sleep : callable
        Monotonic seconds, and waiting; given by tests.
    """

    inbox: Path
    out: Path
    bundle: Bundle
    predictor: Predictor
    variant: str
    options: Options = field(default_factory=Options)
    decoder: Decoder | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    stop: bool = False
    on_result: Callable[[Result], None] | None = None

    def __enter__(self) -> Scanner:
        self._check_folders()
        self._lock = self._take_lock()
        self.journal = Journal(self.out / "journal.sqlite")
        self.publisher = Publisher(self.out)
        self._gate = Gate(self.options.settle)
        self._not_before: dict[str, float] = {}
        self._decoder = self.decoder or Decoder(self.bundle.manifest.preprocess)
        self._low = False
        self.publisher.table(self.journal.items())  # a crash may have come between a result and the table
        return self

    def __exit__(self, *_: object) -> None:
        self._decoder.close()
        self.journal.close()
        os.close(self._lock)

    def run(self) -> dict[str, int]:
        """Scan until `stop` is set; returns the counts of `Journal.counts`."""
        while not self.stop:
            self.look()
            if not self.work() and not self.stop:
                self.sleep(self.options.interval)
        return self.journal.counts()

    def run_once(self) -> dict[str, int]:
        """Scan what is there now until each file has a final status, then stop; returns the counts."""
        started = self.clock()
        self.look()
        while not self.stop:
            pause = min(self.options.settle, max(0.05, self.options.settle / 4))
            self.work()
            if self.clock() - started > self.options.settle and not self.journal.pending(1):
                if not self._unsettled():
                    break
                started = self.clock()
            self.sleep(pause)
            self.look()
        return self.journal.counts()

    def look(self) -> int:
        """One pass over the inbox; returns how many files were received."""
        listing = dict(self._list())
        received = 0
        for name in self._gate.settled(listing, self.clock()):
            stat = listing[name]
            if self.stop or self._disk_is_low():
                break
            if self.journal.known(name, stat):
                continue
            try:
                digest = sha256_file(self.inbox / name)
                if self._stat(self.inbox / name) != stat:
                    continue  # written to while it was hashed: the gate sees it anew
            except (OSError, InputOutputError):
                continue  # gone, or not readable yet: the next listing tells
            received += self.journal.receive(name, stat, digest, result_key(digest, self.bundle.digest))
        return received

    def work(self) -> int:
        """Take pending items in batches; returns how many reached a final status."""
        finished = 0
        while not self.stop and not self._disk_is_low():
            now = self.clock()
            due = [item for item in self.journal.pending(4 * BATCH) if self._not_before.get(item.key, 0.0) <= now]
            if not due:
                break
            before = finished
            finished += self._batch(due[:BATCH])
            if finished == before:
                break  # all of them are to be tried again later
        if finished:
            self.publisher.table(self.journal.items())
        return finished

    def _batch(self, items: list[Item]) -> int:
        decoded: list[tuple[Item, str, DecodedCanvas]] = []
        finished = 0
        for item in items:
            attempts = self.journal.claim(item.key)
            name = self._present(item)
            if name is None:
                continue
            try:
                found = self._decoder.decode(self.inbox / name, item.sha256)
            except FileChanged:
                self.journal.release(item.key)
                self.journal.forget_path(name)
                self._not_before[item.key] = self.clock() + self.options.interval
                continue
            except ImageError as error:
                finished += self._failed(item, name, error, attempts)
                continue
            reason = acceptable(self.bundle.manifest.accept, found.meta, found.height, found.width)
            if reason is not None:
                self._finish(self._result(item, name, "refused", found, reason=reason))
                finished += 1
            else:
                decoded.append((item, name, found))
        if decoded:
            answers = self.predictor.predict_canvases(np.stack([found.canvas for _, _, found in decoded]))
            for (item, name, found), answer in zip(decoded, answers, strict=True):
                self._finish(self._result(item, name, "done", found, answer.prediction, infer_ms=answer.infer_ms))
                finished += 1
        return finished

    def _present(self, item: Item) -> str | None:
        """A path that holds the item's content, or None: then it waits, as a vanished listing is not a deletion."""
        for name in [item.name, *self.journal.names(item.key)]:
            if (self.inbox / name).is_file():
                return name
        # Moved to quarantine by a run that died before it could say so: its result is written already.
        if self.publisher.path_of(item.key).is_file():
            result = self.publisher.read(item.key)
            self.journal.finish(item.key, result.status, result.reason.code if result.reason else None)
        else:
            self.journal.release(item.key)
            self._not_before[item.key] = self.clock() + 30.0
        return None

    def _failed(self, item: Item, name: str, error: ImageError, attempts: int) -> int:
        status, wait = after_failure(error.code, attempts)
        if status == "retry":
            self._not_before[item.key] = self.clock() + wait
            log.warning("seq=%d key=%s attempt=%d code=%s", item.sequence, item.key[:12], attempts, error.code)
            return 0
        result = self._result(item, name, status, reason=Reason(code=error.code, message=error.message))
        self._finish(result)
        return 1

    def _finish(self, result: Result) -> None:
        """Durable output first, the ledger's final word after it."""
        self.publisher.write(result)
        code = None if result.reason is None else result.reason.code
        if result.status == "quarantined":
            for name in {result.source.name, *self.journal.names(result.key)}:
                if (self.inbox / name).is_file():
                    self.publisher.quarantine(self.inbox / name, result.key)
        self.journal.finish(result.key, result.status, code)
        self._not_before.pop(result.key, None)
        times = result.runtime
        log.info(
            "seq=%d key=%s status=%s code=%s decode_ms=%s infer_ms=%s",
            result.sequence, result.key[:12], result.status, code or "-", times.decode_ms, times.infer_ms,
        )  # fmt: skip
        if self.on_result is not None:
            self.on_result(result)

    def _result(
        self,
        item: Item,
        name: str,
        status: str,
        found: DecodedCanvas | None = None,
        prediction: Prediction | None = None,
        reason: Reason | None = None,
        infer_ms: float | None = None,
    ) -> Result:
        manifest = self.bundle.manifest
        return Result(
            key=item.key,
            status=status,  # one of the three by construction, checked by pydantic
            source=Source(
                name=name,
                sha256=item.sha256,
                bytes=item.bytes,
                format=found.format if found else None,
                sop_instance_uid=found.sop_instance_uid if found else None,
                transfer_syntax=found.transfer_syntax if found else None,
                decoder=found.decoder if found else None,
            ),
            prediction=prediction,
            reason=reason,
            runtime=Runtime(
                bundle=self.bundle.digest,
                model=f"{manifest.name} {manifest.version}",
                variant=self.variant,
                provider=self.predictor.runner.provider,
                edgedx=__version__,
                decode_ms=round(found.decode_ms, 3) if found else None,
                preprocess_ms=round(found.preprocess_ms, 3) if found else None,
                infer_ms=None if infer_ms is None else round(infer_ms, 3),
            ),
            sequence=item.sequence,
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            clock_trusted=time.time() >= RELEASED,
        )

    def _unsettled(self) -> bool:
        return any(not self.journal.known(name, stat) for name, stat in self._list())

    def _list(self) -> Iterator[tuple[str, Stat]]:
        try:
            for folder, subfolders, files in os.walk(self.inbox):
                relative = Path(folder).relative_to(self.inbox)
                subfolders[:] = sorted(name for name in subfolders if not ignored((relative / name).as_posix()))
                for file in sorted(files):
                    name = (relative / file).as_posix()
                    if not ignored(name) and (stat := self._stat(self.inbox / name)) is not None:
                        yield name, stat
        except OSError as error:
            log.warning("the inbox cannot be listed: %s", error.strerror)

    @staticmethod
    def _stat(path: Path) -> Stat | None:
        try:
            found = path.lstat()
        except OSError:
            return None
        # Links are not followed: they could lead out of the inbox.
        regular = (found.st_mode & 0o170000) == 0o100000
        return Stat(found.st_size, found.st_mtime_ns, found.st_ino) if regular else None

    def _disk_is_low(self) -> bool:
        low = shutil.disk_usage(self.out).free < self.options.disk_floor
        if low != self._low:
            log.warning("disk below its floor, waiting" if low else "disk has space again, going on")
            self._low = low
        return low

    def _check_folders(self) -> None:
        if not self.inbox.is_dir():
            raise InputOutputError(
                f"no folder {self.inbox}", next_step="create it, or mount the share, then start again"
            )
        inbox, out = self.inbox.resolve(), self.out.resolve()
        if out == inbox or inbox in out.parents:
            raise UsageError(
                f"--out {self.out} lies inside the inbox: results would be scanned", next_step="choose a folder outside"
            )

    def _take_lock(self) -> int:
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.out / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StorageError(f"cannot write to {self.out}: {error.strerror}", next_step="check its owner") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            raise UsageError(
                f"another scanner is writing to {self.out}", next_step="stop it, or give each scanner its own --out"
            ) from error
        return handle


@contextmanager
def open_scanner(
    inbox: Path,
    bundle: Bundle,
    out: Path,
    *,
    variant: str | None = None,
    threads: int = 0,
    operating_point: str | None = None,
    options: Options | None = None,
) -> Iterator[Scanner]:
    """A scanner with a warm, proven model.

    Raises
    ------
    GateRefused
        This machine does not reproduce the bundle's golden samples.
    UsageError, InputOutputError, ProviderMissing
        See `Scanner` and `open_runner`.
    """
    from .golden import check_golden
    from .runner import open_runner

    with open_runner(bundle, variant=variant, threads=threads) as runner:
        check_golden(bundle, runner, variant)
        predictor = Predictor(bundle, runner, operating_point=operating_point)
        name = variant or bundle.manifest.default_variant
        with Scanner(inbox, out, bundle, predictor, name, options or Options()) as scanner:
            yield scanner
