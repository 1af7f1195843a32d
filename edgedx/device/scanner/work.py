"""What was received to results, in batches: claim and decode, unless that was done ahead; infer, publish, finish.

Decoding runs ahead by two batches in other processes; ledger, inference and writing belong to the calling thread.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from edgedx.core.errors import EdgedxError, InputOutputError
from edgedx.core.result import Result
from edgedx.device.clinic.worklist import line_of
from edgedx.device.decode.decoder import DecodedCanvas, FileChanged

from .decide import ABSENT_SECONDS
from .early import ReadAhead
from .examine import AdmittedImage, Examiner, Retry
from .facts import Item
from .inbox import Inbox
from .intake import Intake
from .journal import Journal
from .publish import Publisher, result_text
from .quarantine import COPY_AT_ONCE, Quarantine
from .readers import Batch, Readers
from .sinks import ScannedImage, Sinks

BATCH = 8
"""Files that are claimed and answered together; one, where each may hold the frames of a whole cine in memory."""
AHEAD = 2
"""Batches that are decoded or wait for it while one is answered, or more files are looked for."""

DESCRIBED = 100
"""Lines of the worklist that are completed in one idle pass."""


@dataclass
class Work:
    """The part of the scanner that turns pending items into results.

    Attributes
    ----------
    interval : float
        Seconds before what the disk or the decoder prevented is tried again.
    on_results : callable
        Is given results when the ledger has them.
    absent : set of str
        Keys of received contents that are not in the inbox now.
    suspects : set of str
        Keys that were claimed when an earlier scanner ended, maybe by one of them: each is read alone.
    """

    journal: Journal
    source: Inbox
    intake: Intake
    publisher: Publisher
    quarantine: Quarantine
    sinks: Sinks
    examiner: Examiner
    readers: Readers
    early: ReadAhead
    clock: Callable[[], float]
    interval: float
    on_results: Callable[[list[Result]], None]
    absent: set[str] = field(default_factory=set)
    suspects: set[str] = field(default_factory=set)
    _not_before: dict[str, float] = field(default_factory=dict)
    _ahead: deque[Batch] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.suspects |= {item.key for item in self.journal.items("claimed")}
        self._batch = 1 if self.examiner.bundle.manifest.accept.multi_frame == "each" else BATCH

    def run(self, may_go_on: Callable[[], bool], *, drain: bool = True) -> int:
        """Work off what is due; returns how many items got a result.

        Parameters
        ----------
        may_go_on : callable
            Asked before each batch.
        drain : bool
            Until nothing is due; else up to `AHEAD` batches that are still being decoded are left, for the next call to
            answer: decoders are not idle then while the caller looks for more.
        """
        finished, left = 0, False
        try:
            while may_go_on():
                self._fill()
                left = not drain and not self._is_due()
                if left or not self._ahead:
                    break
                batch = self._ahead.popleft()
                try:
                    opened = self._opened(batch)
                    self._fill(batch)  # so that decoding goes on while these are answered
                    finished += self._end(batch, opened)
                except EdgedxError:  # the disk's fault, or the decoder's that does not start: not the files'
                    self._give_back(batch)
                    raise
            if not finished and not self._ahead and may_go_on():
                self._describe_some()
        finally:
            if not left:
                self.close()
        return finished

    def _describe_some(self) -> None:
        """Complete the worklist of a ledger of before, or one that was made anew, a few at a time."""
        if not (keys := self.journal.undescribed(DESCRIBED)):
            return
        results = list(self._read_back(keys))
        read = {one.key for one in results}
        positive = self.examiner.bundle.manifest.positive
        self.journal.describe([line_of(one, positive) for one in results], [key for key in keys if key not in read])

    def _read_back(self, keys: Iterable[str]) -> Iterator[Result]:
        for key in keys:
            with contextlib.suppress(InputOutputError):
                yield self.publisher.read(key)

    def _is_due(self) -> bool:
        """Whether the next batch can be answered without waiting, or more than `AHEAD` batches are due."""
        if not self._ahead or self._ahead[0].is_read:
            return bool(self._ahead)
        return len(self._ahead) == AHEAD and bool(self.journal.pending(1, self._not_before.keys() | self._begun()))

    def close(self) -> None:
        """Give back what is being decoded."""
        while self._ahead:
            self._give_back(self._ahead.popleft(), at_once=True)

    def came_back(self, keys: Iterable[str]) -> None:
        """Contents that were absent are in the inbox again."""
        back = self.absent & set(keys)
        self.absent -= back
        self._not_before = {key: when for key, when in self._not_before.items() if key not in back}

    def _begun(self, *others: Batch) -> set[str]:
        return {key for batch in (*self._ahead, *others) for key in batch.all_keys}

    def _fill(self, *others: Batch) -> None:
        while len(self._ahead) < AHEAD and (batch := self._begin(self._begun(*others))) is not None:
            self._ahead.append(batch)

    def _begin(self, begun: set[str]) -> Batch | None:
        """Take what is due and not in `begun`; what is not decoded by now is claimed, durably, and decoded."""
        now = self.clock()
        self._not_before = {key: when for key, when in self._not_before.items() if when > now}
        if begun & self.suspects:
            return None  # one that may have ended an earlier scanner must not take others with it
        while due := self.journal.pending(self._batch, self._not_before.keys() | begun):
            suspects = [item for item in due if item.key in self.suspects]
            if suspects and begun:
                return None
            batch = self._held(suspects[:1] or due)
            if batch.all_keys:
                self.readers.warm()
                # What was decoded ahead needs no claim: the mark of `early` tells the next scanner of a death.
                decoded = {} if suspects else {item.key: self.early.take(item.sha256) for item, _ in batch.held}
                self.journal.claim([key for key in batch.keys if decoded.get(key) is None])
                batch.outcomes += [self._read(item, name, decoded.get(item.key)) for item, name in batch.held]
                return batch
            # All of them are absent now: those after them are not to starve.
        return None

    def _read(self, item: Item, name: str, decoded: DecodedCanvas | None) -> Future[AdmittedImage | Result | Retry]:
        if decoded is None:
            return self.readers.read(item, self.source.path(name), name, suspect=item.key in self.suspects)
        outcome: Future[AdmittedImage | Result | Retry] = Future()
        outcome.set_result(self.examiner.admit(item, name, decoded))
        return outcome

    def _held(self, items: Sequence[Item]) -> Batch:
        batch = Batch()
        for item in items:
            name = self._present(item)
            if name is not None:
                self.absent.discard(item.key)
                batch.held.append((item, name))
            elif (result := self._left_behind(item)) is not None:
                batch.readings.append(ScannedImage(result))
        return batch

    def _opened(self, batch: Batch) -> list[AdmittedImage]:
        """Wait for a batch: what the model is to answer. Results and retries are noted."""
        opened = []
        for (item, name), outcome in zip(batch.held, batch.outcomes, strict=True):
            try:
                one = outcome.result()
            except FileChanged:
                self.journal.release([item.key])
                self.intake.reopen(name)
                one = Retry(self.interval)
            if isinstance(one, Retry):
                self._not_before[item.key] = self.clock() + one.seconds
                if not one.counts:
                    self.journal.acquit([item.key])
            elif isinstance(one, Result):
                batch.readings.append(ScannedImage(one))
            else:
                opened.append(one)
        return opened

    def _end(self, batch: Batch, opened: list[AdmittedImage]) -> int:
        readings = batch.readings + self.examiner.answer(opened)
        if suspects := self.suspects & {reading.result.key for reading in readings}:
            self.journal.acquit(suspects)  # or a kill while their results are written would count against them
        self._publish(readings)
        self.suspects.difference_update(batch.keys)
        return len(readings)

    def _give_back(self, batch: Batch, *, at_once: bool = False) -> None:
        """Release claims uncounted, for a later time."""
        batch.wait()
        if not at_once:
            self._not_before |= dict.fromkeys(batch.keys, self.clock() + self.interval)
        self.journal.release(batch.keys)

    def _publish(self, readings: list[ScannedImage]) -> None:
        """Durable outputs first, the ledger's final word after them."""
        if not readings:
            return
        readings.sort(key=lambda reading: reading.result.sequence)
        results = [reading.result for reading in readings]
        moved: list[str] = []
        self.publisher.write(results)
        for reading in readings:
            result = reading.result
            self.sinks.publish(reading, self.publisher.path_of(result.key), self._source_of(result))
            if result.status == "quarantined":
                moved += self._put_aside(result)
        self.sinks.flush()
        codes = [(one.key, one.status, one.reason.code if one.reason else None) for one in results]
        positive, found_by = self.examiner.bundle.manifest.positive, self.examiner.found_by
        lines = [line_of(one, positive, found_by.pop(one.key, ())) for one in results]
        self.journal.finish(codes, gone=moved, lines=lines)
        self.intake.moved_away(moved)
        self.publisher.extend_table(results)
        self.on_results(results)

    def _put_aside(self, result: Result) -> list[str]:
        """Move the files of a content into quarantine; returns names that hold it no more.

        What is left, for want of space or because somebody writes to it, is `QuarantineCare`'s.
        """
        names = []
        for name in self.journal.names(result.source.sha256):
            # Another content may have come to be there by now, and that is another input.
            facts = self.source.stat(name)
            same = facts is not None and self.journal.recall(name, facts) == result.source.sha256
            if (
                not same
                or self.quarantine.put(
                    self.source.path(name), result.key, result_text(result), largest_copy=COPY_AT_ONCE
                )
                == "moved"
            ):
                names.append(name)
        return names

    def _source_of(self, result: Result) -> Path | None:
        name = result.source.name
        facts = self.source.stat(name)
        same = facts is not None and self.journal.recall(name, facts) == result.source.sha256
        return self.source.path(name) if same else None

    def _present(self, item: Item) -> str | None:
        """A path that holds the item's content, as far as its facts tell."""
        for name in self.journal.names(item.sha256):
            facts = self.source.stat(name)
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
            self.absent.add(item.key)
            self._not_before[item.key] = self.clock() + ABSENT_SECONDS
            return None
        self.quarantine.explain(item.key, result_text(result))
        return result
