"""The scanner: every file of a folder becomes one durable result. Nothing is lost, nothing is done twice.

Each pass lists the inbox, lets settled files through the gate, hashes and records them, and works off what is
pending in batches: claim, decode in the child, infer, publish, finish.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..core.bundle import Bundle
from ..core.errors import EdgedxError, InputOutputError, StorageError
from ..core.files import storage_error, sync_folder
from ..core.result import Result, result_key
from .decide import ABSENT_SECONDS
from .decode import Decoder, FileChanged
from .examine import Examiner, Opened, Retry
from .inbox import Inbox, check_folders, lock
from .intake import Intake
from .journal import Item, Journal
from .predict import Predictor
from .publish import Publisher
from .sinks import Finding, Sink, Sinks

log = logging.getLogger("edgedx.scan")

BATCH = 8
_BLINK = 0.2  # a signal is answered within this many seconds


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
    show : bool
        Have the model say where it looked, for sinks that draw it.
    sinks : callable
        Bundle and output folder to what takes each result too; closed with the scanner.
    """

    interval: float = 2.0
    settle: float = 2.0
    disk_floor: int = 200 << 20
    patience: float = 60.0
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
        Given by tests.
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

    def __enter__(self) -> Scanner:
        check_folders(self.inbox, self.out)
        with ExitStack() as stack:
            stack.enter_context(lock(self.out))
            self.journal = Journal(self.out / "journal.sqlite", self.bundle.digest)
            stack.callback(self.journal.close)
            sync_folder(self.out)
            self.publisher = Publisher(self.out)
            self.publisher.begin_table(self.journal.finished(), self.journal.count_finished())
            manifest = self.bundle.manifest
            decoder = self.decoder or Decoder(manifest.preprocess, frames=manifest.accept.multi_frame)
            stack.callback(decoder.close)
            self._examiner = Examiner(self.bundle, self.variant, self.predictor, decoder, self.options.settle)
            self._sinks = Sinks(self.options.sinks(self.bundle, self.out))
            stack.callback(self._sinks.close)
            self._source = Inbox(self.inbox)
            self._intake = Intake(self._source, self.journal, self.options.settle, self.clock)
            self._not_before: dict[str, float] = {}
            self._absent: set[str] = set()
            self._low = False
            # Claimed, and not by us: the scanner was killed, maybe by one of these. Each is read alone.
            self._suspects = {item.key for item in self.journal.items("claimed")}
            self._resources = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def run(self) -> dict[str, int]:
        """Scan until `stop` is set; returns the counts of `Journal.counts`. A full disk is waited for."""
        while not self.stop:
            try:
                self._pass()
            except InputOutputError as error:  # its message may name a file
                log.error("cannot read or write, waiting: %s", error.next_step or type(error).__name__)
            self._beat()
            self._pause(self.options.interval)
        return self.journal.counts()

    def run_once(self) -> dict[str, int]:
        """Scan what is there now until each file has a final status, then stop; returns the counts.

        Raises
        ------
        StorageError
            The disk is full, or below its floor. Nothing is lost; run again.
        """
        asked = set(self._source.list())
        last = self.clock()
        while not self.stop:
            last = self.clock() if self._pass() else last
            if self._waiting(asked) <= len(self._intake.hopeless()) or self.clock() - last > self.options.patience:
                break
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
        return sum(received + self.work() for received in self._received()) + self.work()

    def _received(self) -> Iterator[int]:
        for received, arrivals in self._intake.take(lambda: not self.stop and not self._disk_is_low()):
            back = self._absent & {result_key(one.sha256, self.bundle.digest) for one in arrivals}
            self._absent -= back
            self._not_before = {key: when for key, when in self._not_before.items() if key not in back}
            yield received

    def work(self) -> int:
        """Take pending items in batches; returns how many got a result."""
        finished = 0
        while not self.stop and not self._disk_is_low():
            now = self.clock()
            self._not_before = {key: when for key, when in self._not_before.items() if when > now}
            due = self.journal.pending(BATCH, self._not_before)
            if not due:
                break
            # One that may have ended an earlier scanner must not take others with it.
            alone = [item for item in due if item.key in self._suspects]
            finished += self._batch(alone[:1] or due)
            self._beat()
        return finished

    def _beat(self) -> None:
        if self.on_beat is None:
            return
        try:
            self.on_beat()
        except InputOutputError as error:  # a full disk is waited for elsewhere; a pulse is worth no result
            log.error("no heartbeat can be written: %s", type(error).__name__)

    def _batch(self, items: list[Item]) -> int:
        """Each item gets a result, or a time before which it is not tried again; returns how many got a result."""
        self._examiner.decoder.warm()
        findings: list[Finding] = []
        held: list[tuple[Item, str]] = []
        for item in items:
            name = self._present(item)
            if name is not None:
                self._absent.discard(item.key)
                held.append((item, name))
            elif (result := self._left_behind(item)) is not None:
                findings.append(Finding(result))
        keys = [item.key for item, _ in held]
        self.journal.claim(keys)
        try:
            opened = [one for item, name in held if isinstance(one := self._open_one(item, name, findings), Opened)]
            findings += self._examiner.answer(opened)
            if suspects := self._suspects & {finding.result.key for finding in findings}:
                self.journal.acquit(suspects)  # or a kill while their results are written would count against them
            self._publish(findings)
        except EdgedxError:  # the disk's fault, or the decoder's that does not start: not the files'
            self._not_before |= dict.fromkeys(keys, self.clock() + self.options.interval)
            self.journal.release(keys)
            raise
        self._suspects.difference_update(keys)
        return len(findings)

    def _open_one(self, item: Item, name: str, findings: list[Finding]) -> Opened | None:
        try:
            one = self._examiner.open(item, self._source.path(name), name, suspect=item.key in self._suspects)
        except FileChanged:
            self.journal.release([item.key])
            self._intake.reopen(name)
            one = Retry(self.options.interval)
        if isinstance(one, Retry):
            self._not_before[item.key] = self.clock() + one.seconds
        elif isinstance(one, Result):
            findings.append(Finding(one))
        return one if isinstance(one, Opened) else None

    def _publish(self, findings: list[Finding]) -> None:
        """Durable outputs first, the ledger's final word after them."""
        if not findings:
            return
        findings.sort(key=lambda finding: finding.result.sequence)
        results = [finding.result for finding in findings]
        moved: list[str] = []
        for finding in findings:
            result = finding.result
            self.publisher.write(result)
            self._sinks.publish(finding, self.publisher.path_of(result.key), self._source_of(result))
            if result.status == "quarantined":
                for name in self.journal.names(result.source.sha256):
                    # Another content may have come to be there by now, and that is another input.
                    if not self._source.holds(name, result.source.sha256) or self.publisher.quarantine(
                        self._source.path(name), result.key
                    ):
                        moved.append(name)
        codes = [(one.key, one.status, one.reason.code if one.reason else None) for one in results]
        self.journal.finish(codes, gone=moved)
        self.publisher.extend_table(results)
        for result in results:
            self.read_now[result.status] += 1
            self._tell(result)
        if self.on_answer is not None and any(result.status != "quarantined" for result in results):
            self.on_answer()

    def _source_of(self, result: Result) -> Path | None:
        name = result.source.name
        facts = self._source.stat(name)
        same = facts is not None and self.journal.recall(name, facts) == result.source.sha256
        return self._source.path(name) if same else None

    def _tell(self, result: Result) -> None:
        code, times = "-" if result.reason is None else result.reason.code, result.runtime
        log.info(
            "seq=%d key=%s status=%s code=%s decode_ms=%s preprocess_ms=%s infer_ms=%s",
            *(result.sequence, result.key[:12], result.status, code),
            *(times.decode_ms, times.preprocess_ms, times.infer_ms),
        )
        if self.on_result is not None:
            self.on_result(result)

    def _present(self, item: Item) -> str | None:
        """A path that holds the item's content, as far as its facts tell."""
        for name in self.journal.names(item.sha256):
            facts = self._source.stat(name)
            if facts is not None and self.journal.recall(name, facts) == item.sha256:
                return name
        return None

    def _left_behind(self, item: Item) -> Result | None:
        """The result of an item whose file is gone: it was moved by a scanner that died before it could say so.

        Without one the item waits, as a vanished listing is not a deletion.
        """
        try:
            result = self.publisher.read(item.key)
        except InputOutputError:
            self._absent.add(item.key)
            self._not_before[item.key] = self.clock() + ABSENT_SECONDS
            return None
        self.publisher.explain(item.key)
        return result

    def _waiting(self, asked: set[str]) -> int:
        """Files of `asked` that are not yet received, and received ones that are there and have no result."""
        return len(asked & self._intake.waiting()) + self.journal.count_pending() - len(self._absent)

    def absent(self) -> int:
        """Contents that were received, have no result, and are not in the inbox now."""
        return len(self._absent)

    @property
    def disk_is_low(self) -> bool:
        """Whether the disk was below its floor when it was last looked at."""
        return self._low

    def sink_failures(self) -> dict[str, int]:
        """Results that a sink failed on, by sink."""
        return dict(self._sinks.failed)

    def _disk_is_low(self) -> bool:
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
    from .golden import check_golden
    from .runner import open_runner

    check_folders(inbox, out)  # at once, before a model is loaded
    with open_runner(bundle, variant=variant, threads=threads) as runner:
        check_golden(bundle, runner, variant)
        name = variant or bundle.manifest.default_variant
        options = options or Options()
        predictor = Predictor(bundle, runner, operating_point=operating_point, variant=name, show=options.show)
        with Scanner(inbox, out, bundle, predictor, name, options) as scanner:
            yield scanner
