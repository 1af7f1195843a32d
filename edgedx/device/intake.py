"""From the inbox into the ledger: each settled file is hashed once and recorded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from ..core.errors import InputOutputError
from ..core.result import result_key
from .decide import UNREADABLE_SECONDS, Gate
from .inbox import Inbox
from .journal import Arrival, Journal

log = logging.getLogger("edgedx.scan")

PORTION = 32  # files hashed before the first of them is worked on


class Intake:
    """Inbox, stability gate and ledger, joined.

    Parameters
    ----------
    settle : float
        Seconds that a file must stay unchanged.
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, source: Inbox, journal: Journal, settle: float, clock: Callable[[], float]) -> None:
        self._source, self._journal, self._clock = source, journal, clock
        self._gate = Gate(settle)
        self._unreadable: dict[str, tuple[int, float]] = {}

    def to_read(self) -> int:
        """How many files of the inbox have no item in the ledger, as far as their facts tell."""
        digests = (self._journal.recall(name, facts) for name, facts in self._source.list().items())
        return sum(digest is None or not self._has(digest) for digest in digests)

    def take(self, may_go_on: Callable[[], bool]) -> Iterator[tuple[int, list[Arrival]]]:
        """One pass: yields, portion by portion, how many contents were received, and the files that hold them."""
        listing = self._source.list()
        self._unreadable = {name: state for name, state in self._unreadable.items() if name in listing}
        portion: list[Arrival] = []
        for name in self._gate.settled(listing, self._clock()):
            if not may_go_on():
                break
            digest = self._journal.recall(name, listing[name])
            if digest is not None and self._has(digest):
                self._gate.dismiss(name)
                continue
            digest = digest or self._hash(name)
            if digest is not None:
                portion.append(Arrival(name, listing[name], digest))
            if len(portion) == PORTION:
                yield self._receive(portion), portion
                portion = []
        if portion:
            yield self._receive(portion), portion

    def reopen(self, name: str) -> None:
        """A file that was received holds another content: look at it as if it were new."""
        self._journal.finish([], gone=[name])
        self._gate.reopen(name)

    def waiting(self) -> set[str]:
        """Files of the last pass that are not received: still changing, or not to be opened."""
        return self._gate.waiting()

    def hopeless(self) -> set[str]:
        """Those among them that could not be opened again and again."""
        return {name for name, (tries, _) in self._unreadable.items() if tries >= len(UNREADABLE_SECONDS)}

    def _has(self, digest: str) -> bool:
        return self._journal.has(result_key(digest, self._journal.bundle))

    def _receive(self, portion: list[Arrival]) -> int:
        received = self._journal.receive(portion)
        for one in portion:
            self._gate.dismiss(one.name)
        return received

    def _hash(self, name: str) -> str | None:
        tries, when = self._unreadable.get(name, (0, 0.0))
        if when > self._clock():
            return None
        try:
            digest = self._source.hash(name)
        except InputOutputError:
            if self._source.stat(name) is not None:  # else it is gone, which is nobody's fault
                wait = UNREADABLE_SECONDS[min(tries, len(UNREADABLE_SECONDS) - 1)]
                self._unreadable[name] = (tries + 1, self._clock() + wait)
                log.warning("files that cannot be opened: %d; check their owner", len(self._unreadable))
            return None
        self._unreadable.pop(name, None)
        return digest
