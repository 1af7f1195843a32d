"""The scanner: every file of a folder becomes one durable result. Nothing is lost, nothing is done twice.

Each pass lists the inbox, lets settled files through the gate, hashes and records them, and works off what is pending
(see `work`).
"""

from __future__ import annotations

import logging
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgedx.core.bundle.manifest import Bundle
from edgedx.core.errors import InputOutputError, StorageError
from edgedx.core.files import lock, storage_error
from edgedx.core.result import Result, result_key
from edgedx.device.decode.decoder import Decoder, DecoderNotStarting
from edgedx.device.machine.database import DamagedDatabase
from edgedx.device.runtime.predict import Predictor

from .decide import INCOMPLETE_SECONDS
from .early import ReadAhead
from .examine import Examiner
from .inbox import Inbox, check_folders
from .intake import Intake, Rescan
from .out_folder import OutGone, begin_out, identity, is_there
from .publish import Publisher
from .quarantine import Quarantine, QuarantineCare
from .readers import Readers, decoders_for
from .rebuild import damaged_ledgers, open_ledger
from .sinks import Sink, Sinks
from .work import Work

log = logging.getLogger("edgedx.scan")

_BLINK = 0.2  # a signal is answered within this many seconds
_TABLE_SECONDS = 60.0  # between attempts at a table that cannot be written
_REOPEN_SECONDS = 60.0  # a ledger that is damaged again within this is not made anew again
STUCK_SECONDS = 900.0
"""What has waited for longer than this is complained of in `edgedx scan status`."""


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
    patience : float
        Seconds after which ``run_once`` gives up on files that are still being written or cannot be opened.
    incomplete : float
        Seconds for which `Scanner.run` looks again at a file that ends early before it is put aside.
    rescan : str
        ``background``: files that an earlier bundle has answered are read by this one too, when nothing new waits;
        ``never``: they are not.
    workers : int
        Decoder processes; 0: one for each core, at most four.
    show : bool
        Have the model say where it looked, for sinks that draw it.
    sinks : callable
        Bundle and output folder to what takes each result too; closed with the scanner.
    """

    interval: float = 2.0
    settle: float = 2.0
    disk_floor: int = 200 << 20
    patience: float = 60.0
    incomplete: float = INCOMPLETE_SECONDS
    rescan: Rescan = "background"
    workers: int = 0
    show: bool = False
    sinks: Callable[[Bundle, Path], Sequence[Sink]] = lambda bundle, out: ()


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
        Instead of processes of its own; given by tests.
    clock, sleep : callable
        Monotonic seconds, and waiting; given by tests.

    Attributes
    ----------
    stop : bool
        Set it, from a signal handler too, to end after the batch at hand.
    on_answer : callable, optional
        Called when images were read and their results are durable, be they done or refused.
    on_beat : callable, optional
        Called by the work loop after each batch and each pass.
    read_now : Counter
        Results of this run by status; ``waiting`` is what `run_once` left without one.
    """

    inbox: Path
    out: Path
    bundle: Bundle
    predictor: Predictor
    variant: str
    options: Options = field(default_factory=Options)
    decoder: Decoder | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] | None = None
    stop: bool = False
    on_result: Callable[[Result], None] | None = None
    on_answer: Callable[[], None] | None = None
    on_beat: Callable[[], None] | None = None
    read_now: Counter[str] = field(default_factory=Counter)
    _once: bool = False

    def __enter__(self) -> Scanner:
        check_folders(self.inbox, self.out)
        self._mark = begin_out(self.inbox, self.out)
        with ExitStack() as stack:
            stack.enter_context(lock(self.out))
            self._identity = identity(self.out)
            self.publisher = Publisher(self.out)
            self.journal = open_ledger(self.out, self.bundle.digest)
            stack.callback(self.journal.close)
            self.publisher.begin_table(self.journal.finished)
            quarantine = Quarantine(self.out, self.options.disk_floor)
            sinks = Sinks(self.options.sinks(self.bundle, self.out))
            stack.callback(sinks.close)
            decoders = [self.decoder] if self.decoder else decoders_for(self.bundle, self.options.workers, self.out)
            examiner = Examiner(
                self.bundle, self.variant, self.predictor, decoders[0], self.options.settle,
                patience=lambda: 0.0 if self._once else self.options.incomplete,
            )  # fmt: skip
            readers = Readers(examiner, decoders)
            stack.callback(readers.close)
            self._source = Inbox(self.inbox)
            large = self.bundle.manifest.accept.multi_frame == "each"
            self._early = stack.enter_context(ReadAhead(self._source, readers, self.out, allowed=not large))
            self._intake = Intake(
                self._source, self.journal, self._early, self.options.settle, self.clock, self.options.rescan
            )
            stack.callback(self._intake.close)
            self._work = Work(
                self.journal, self._source, self._intake, self.publisher, quarantine, sinks, examiner, readers,
                self._early, self.clock, self.options.interval, self._publish_progress,
            )  # fmt: skip
            stack.callback(self._work.close)
            self._care = QuarantineCare(
                quarantine, self._source, self.journal, self.publisher.text_of, self._intake.moved_away,
                self.options.settle,
            )  # fmt: skip
            stack.callback(self._care.close)
            self._low, self._next_table = False, float("-inf")
            self._trouble: str | None = None
            self._resources = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *about: Any) -> None:
        self._resources.__exit__(kind, *about)

    def _open_again(self) -> None:
        """Begin anew with what lies in OUT now."""
        with suppress(Exception):  # its disk is another one, or its ledger cannot be read
            self._resources.close()
        self._resources = ExitStack()
        self.__enter__()

    def run(self) -> dict[str, int]:
        """Scan until `stop` is set; returns the counts of `Journal.counts`.

        A full disk, an output folder that is gone and a decoder that does not start are waited for. A ledger that is
        damaged is made anew from the results.
        """
        made_anew = float("-inf")
        while not self.stop:
            try:
                self._pass()
                self._trouble = None
            except DamagedDatabase as error:
                if self.clock() - made_anew < _REOPEN_SECONDS:
                    raise
                made_anew = self.clock()
                log.error("%s", error.message)
                self._open_again()
            except OutGone:
                self._complain("the output folder is gone, or another one is in its place: waiting for it")
                if is_there(self.out, self._mark) and identity(self.out) != self._identity:
                    log.warning("the output folder is there again, going on")
                    self._open_again()
            except DecoderNotStarting as error:
                self._complain(f"the decoder process does not start, waiting: {error.next_step}")
            except InputOutputError as error:  # its message may name a file
                self._complain(f"cannot read or write, waiting: {error.next_step or type(error).__name__}")
            self._beat()
            if not self._intake.has_more or self._trouble is not None:
                self._pause(self.options.interval)
        return self.journal.counts()

    def _complain(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.error("%s", trouble)
        self._trouble = trouble

    def run_once(self) -> dict[str, int]:
        """Scan what is there now until each file has a final status, then stop; returns the counts.

        Raises
        ------
        StorageError
            The disk is full, or below its floor. Nothing is lost; run again.
        """
        self._once = True
        asked = set(self._source.listing())
        last = self.clock()
        while not self.stop:
            last = self.clock() if self._pass() else last
            if self._waiting(asked) <= len(self._intake.hopeless()) or self.clock() - last > self.options.patience:
                break
            if self._intake.has_more:
                continue
            if self._disk_is_low():
                raise StorageError(
                    f"less than {self.options.disk_floor >> 20} MiB free on the disk of {self.out}",
                    next_step="free space, then start again; nothing was lost",
                )
            self._pause(min(self.options.settle, max(0.05, self.options.settle / 4)))
        self.read_now["waiting"] = max(0, self._waiting(asked))
        return self.journal.counts()

    def to_read(self) -> int:
        """How many files of the inbox are yet to be received."""
        return self._intake.to_read()

    def look(self) -> int:
        """One pass over the inbox; returns how many contents were received."""
        return sum(self._received())

    def _pass(self) -> int:
        """Look and work, in turns: a backlog's first results do not wait until its last file is hashed."""
        done = sum(received + self._work.run(self._may_go_on, drain=False) for received in self._received())
        done += self._work.run(self._may_go_on, drain=not self._intake.has_more)
        if self._waiting(self._intake.waiting()) <= len(self._intake.hopeless()):
            self._early.trust()
        self._care.look(self.clock())
        if self.publisher.table_trouble is None or self.clock() >= self._next_table:
            self._next_table = self.clock() + _TABLE_SECONDS
            self.publisher.keep_table()
        return done

    def _received(self) -> Iterator[int]:
        for received, arrivals in self._intake.take(self._may_go_on):
            self._work.came_back(result_key(one.sha256, self.bundle.digest) for one in arrivals)
            yield received

    def work(self) -> int:
        """Work off what is pending; returns how many items got a result."""
        return self._work.run(self._may_go_on)

    def _may_go_on(self) -> bool:
        return not self.stop and not self._disk_is_low()

    def _beat(self) -> None:
        if self.on_beat is None or not self.out_is_there():
            return
        try:
            self.on_beat()
        except InputOutputError as error:  # a full disk is waited for elsewhere; a pulse is worth no result
            log.error("no heartbeat can be written: %s", type(error).__name__)

    def _publish_progress(self, results: list[Result]) -> None:
        for result in results:
            self.read_now[result.status] += 1
            self._log(result)
        if self.on_answer is not None and any(result.status != "quarantined" for result in results):
            self.on_answer()
        self._beat()

    def _log(self, result: Result) -> None:
        code, times = "-" if result.reason is None else result.reason.code, result.runtime
        log.info(
            "seq=%d key=%s status=%s code=%s decode_ms=%s preprocess_ms=%s infer_ms=%s",
            *(result.sequence, result.key[:12], result.status, code),
            *(times.decode_ms, times.preprocess_ms, times.infer_ms),
        )
        if self.on_result is not None:
            self.on_result(result)

    def _waiting(self, asked: set[str]) -> int:
        """Files of `asked` that are not yet received, and received ones that are there and have no result."""
        return len(asked & self._intake.waiting()) + self.journal.count_pending() - len(self._work.absent)

    def absent(self) -> int:
        """Contents that were received, have no result, and are not in the inbox now."""
        return len(self._work.absent)

    @property
    def disk_is_low(self) -> bool:
        """Whether the disk was below its floor when it was last looked at."""
        return self._low

    def out_is_there(self) -> bool:
        """Whether OUT is still the folder that was opened: nothing may be written below a bare mount point."""
        return identity(self.out) == self._identity

    def oldest_pending(self) -> int | None:
        """Sequence number of the first item that waits for its result and is in the inbox."""
        first = self.journal.pending(1, self._work.absent)
        return first[0].sequence if first else None

    def troubles(self) -> list[str]:
        """What keeps files from their results, or results from where they belong, as sentences without names."""
        troubles = [self._trouble] if self._trouble else []
        for count, text in (
            (len(self._intake.hopeless()), "files of the inbox cannot be opened: check their owner"),
            (self._source.unlisted, "folders of the inbox cannot be listed: check their owner and their depth"),
            (self._intake.held_back(STUCK_SECONDS), "files are not whole, or open in another program, for long"),
            (
                self._care.left,
                "files that cannot be read stay in the inbox: OUT has no room for them, or they are open",
            ),
        ):
            troubles += [f"{count} {text}"] if count else []
        if self.publisher.table_trouble:
            troubles.append(self.publisher.table_trouble)
        if damaged := damaged_ledgers(self.out):
            troubles.append(f"the ledger was damaged and made anew: check the disk, then remove {', '.join(damaged)}")
        return troubles

    def sink_failures(self) -> dict[str, int]:
        """Results that a sink failed on, by sink."""
        return dict(self._work.sinks.failed)

    def _disk_is_low(self) -> bool:
        if not self.out_is_there():
            raise OutGone(self.out)
        try:
            low = shutil.disk_usage(self.out).free < self.options.disk_floor
        except OSError as error:
            raise storage_error(self.out, error) from error
        if low != self._low:
            log.warning("disk below its floor, waiting" if low else "disk has space again, going on")
            self._low = low
        return low

    def _pause(self, seconds: float) -> None:
        if self.sleep is not None:
            self.sleep(seconds)
            return
        # In pieces: a signal handler sets `stop`, and Python goes on sleeping after it.
        until = time.monotonic() + seconds
        while not self.stop and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _BLINK))


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
    from edgedx.device.runtime.golden import check_golden
    from edgedx.device.runtime.open_runner import open_runner

    check_folders(inbox, out)  # at once, before a model is loaded
    with open_runner(bundle, variant=variant, threads=threads) as runner:
        check_golden(bundle, runner, variant)
        name = variant or bundle.manifest.default_variant
        options = options or Options()
        predictor = Predictor(bundle, runner, operating_point=operating_point, variant=name, show=options.show)
        with Scanner(inbox, out, bundle, predictor, name, options) as scanner:
            yield scanner
