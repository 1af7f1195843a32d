"""From the inbox into the ledger: each settled file is hashed once and recorded, and mostly decoded by that reading."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from itertools import chain, islice

from edgedx.core.errors import InputOutputError
from edgedx.core.result import result_key
from edgedx.device.decode.decoder import DecodedCanvas

from .decide import UNREADABLE_SECONDS, Gate
from .early import Early
from .facts import Arrival, Stat
from .inbox import Inbox
from .journal import Journal

log = logging.getLogger("edgedx.scan")

PORTION = 8  # files recorded together
AHEAD = 2
"""Portions that are being decoded while one is recorded and answered."""

_Look = tuple[str, str | None, Future[DecodedCanvas | None] | None]
"""A file, its hash where that is known, and else the decoder's look at it."""


class Intake:
    """Inbox, stability gate and ledger, joined.

    Parameters
    ----------
    settle : float
        Seconds that a file must stay unchanged.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self, source: Inbox, journal: Journal, early: Early, settle: float, clock: Callable[[], float]
    ) -> None:
        self._source, self._journal, self._early, self._clock = source, journal, early, clock
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
        self._early.forget()
        new = self._new(listing, self._gate.settled(listing, self._clock()))
        begun: deque[list[_Look]] = deque()
        try:
            while may_go_on():
                if portion := list(islice(new, PORTION)):
                    looks = self._early.begin(name for name, digest in portion if digest is None)
                    begun.append([(name, digest, looks.get(name)) for name, digest in portion])
                if not begun:
                    break
                if portion and len(begun) <= AHEAD:
                    continue
                if arrivals := self._arrivals(listing, begun.popleft()):
                    yield self._receive(arrivals), arrivals
        finally:
            for _, _, look in chain.from_iterable(begun):
                if look is not None and not look.cancel():
                    look.exception()  # a decoder that is at work is waited for

    def _new(self, listing: Mapping[str, Stat], names: Iterable[str]) -> Iterator[tuple[str, str | None]]:
        """Files that have no item, with their hash where they were received for another bundle."""
        for name in names:
            digest = self._journal.recall(name, listing[name])
            if digest is not None and self._has(digest):
                self._gate.dismiss(name)
            else:
                yield name, digest

    def _arrivals(self, listing: Mapping[str, Stat], looks: Iterable[_Look]) -> list[Arrival]:
        found = []
        for name, digest, look in looks:
            digest = digest or (look and self._early.digest(look)) or self._hash(name)
            # What was written to since it was listed is looked at anew.
            if digest is not None and self._source.stat(name) == listing[name]:
                found.append(Arrival(name, listing[name], digest))
        return found

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
