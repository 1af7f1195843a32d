"""From the inbox into the ledger: each settled file is hashed once and recorded, and mostly decoded by that reading.

Files that nobody has seen come first, those that arrived last before those that lay there at the start; files that an
earlier bundle has read come after them, the newest first.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from itertools import chain, islice
from typing import Literal, NamedTuple

from edgedx.core.errors import InputOutputError
from edgedx.core.result import result_key
from edgedx.device.decode.decoder import DecodedCanvas
from edgedx.device.machine.writers import seconds_to_wait

from .decide import UNREADABLE_SECONDS, StabilityGate
from .early import ReadAhead
from .facts import Arrival, Stat
from .inbox import LARGEST, Inbox
from .journal import Journal

log = logging.getLogger("edgedx.scan")

PORTION = 8  # files recorded together
AHEAD = 2
"""Portions that are being decoded while one is recorded and answered."""
PASS_SECONDS = 3.0
"""After which a pass takes no more files and the inbox is looked at again: what comes now waits for no backlog."""
HASH_SECONDS = 0.5
"""How long the work loop waits for hashes of one portion; a file that takes longer is hashed beside it."""

Rescan = Literal["background", "never"]
"""What becomes of files that an earlier bundle has read: read by this one when nothing new waits, or not at all."""


class _Look(NamedTuple):
    """A file as it was when its turn came; its hash where that is known, and else the decoder's look at it."""

    name: str
    facts: Stat
    digest: str | None
    decoding: Future[DecodedCanvas | None] | None


@dataclass(frozen=True)
class _Hashing:
    """A file that is being hashed, as it was when that began."""

    facts: Stat
    digest: Future[str]


class Intake:
    """Inbox, stability gate and ledger, joined.

    Parameters
    ----------
    settle : float
        Seconds that a file must stay unchanged.
    clock : callable
        Monotonic seconds.
    rescan : str
        See `Rescan`.

    Attributes
    ----------
    has_more : bool
        Whether the last pass left files that it could have taken.
    """

    def __init__(
        self,
        source: Inbox,
        journal: Journal,
        early: ReadAhead,
        settle: float,
        clock: Callable[[], float],
        rescan: Rescan = "background",
    ) -> None:
        self._source, self._journal, self._early, self._clock = source, journal, early, clock
        self._rescan = rescan
        self._gate = StabilityGate(settle)
        self._unreadable: dict[str, tuple[int, float]] = {}
        self._recalled: dict[str, tuple[Stat, str | None]] = {}
        self._hashing: dict[str, _Hashing] = {}
        self._held_back: dict[str, None] = {}
        self._begun: deque[list[_Look]] = deque()
        self._hashers = ThreadPoolExecutor(1, thread_name_prefix="hash")
        self.has_more = False

    def close(self) -> None:
        """End what is being hashed, and wait for what is being decoded."""
        for look in chain.from_iterable(self._begun):
            if look.decoding is not None and not look.decoding.cancel():
                look.decoding.exception()
        self._begun.clear()
        self._source.close()
        self._hashers.shutdown(wait=True, cancel_futures=True)

    def to_read(self) -> int:
        """How many files of the inbox have no item in the ledger, as far as their facts tell."""
        digests = (self._journal.recall(name, facts) for name, facts in self._source.listing().items())
        return sum(digest is None or self._turn(digest) != "never" for digest in digests)

    def take(self, may_go_on: Callable[[], bool]) -> Iterator[tuple[int, list[Arrival]]]:
        """One pass: yields, portion by portion, how many contents were received, and the files that hold them.

        Where there is more, the next pass goes on with what is being decoded: the decoders are not idle in between.
        """
        begun_at = self._clock()
        changed = self._source.refresh(begun_at, self._gate.waiting())
        listing = self._source.files
        ready = self._gate.settled(listing, begun_at, changed)
        self._forget(changed, listing)
        self._early.forget()
        begun = {look.name for look in chain.from_iterable(self._begun)}
        new = self._new(listing, [name for name in ready if name not in begun])
        until = self._clock() + PASS_SECONDS
        self.has_more = False
        while may_go_on():
            portion = self._begin(listing, islice(new, PORTION))
            if not self._begun:
                break
            if portion and len(self._begun) <= AHEAD:
                continue
            if arrivals := self._arrivals(self._begun.popleft()):
                yield self._receive(arrivals), arrivals
            self.has_more = self._clock() > until
            if self.has_more:
                break

    def _begin(self, listing: Mapping[str, Stat], names: Iterable[tuple[str, str | None]]) -> bool:
        """Have one portion decoded; returns whether there was any."""
        portion = [(name, digest) for name, digest in names if name in listing]  # else it was moved away meanwhile
        if not portion:
            return False
        unknown = (name for name, digest in portion if digest is None and listing[name].bytes <= LARGEST)
        looks = self._early.begin(unknown)
        self._begun.append([_Look(name, listing[name], digest, looks.get(name)) for name, digest in portion])
        return True

    def _forget(self, changed: Collection[str], listing: Mapping[str, Stat]) -> None:
        for name in changed:
            self._recalled.pop(name, None)
            self._held_back.pop(name, None)
            if name not in listing:
                self._unreadable.pop(name, None)
                if (hashing := self._hashing.pop(name, None)) is not None:
                    hashing.digest.cancel()

    def _new(self, listing: Mapping[str, Stat], names: Iterable[str]) -> Iterator[tuple[str, str | None]]:
        """Files that have no item, with their hash where they were received for another bundle."""
        now = self._clock()
        unknown, known = [], []
        for name in names:
            digest = self._recall(name, listing[name])
            turn = "now" if digest is None else self._turn(digest)
            if turn == "now":
                unknown.append((name, digest))
            elif digest is not None and turn == "background":
                known.append((name, digest))
            else:
                self._dismiss(name)
        # Stable: files that were first seen together keep their order.
        unknown.sort(key=lambda one: self._gate.unchanged_for(one[0], now))
        for name, digest in unknown:
            if digest is None and seconds_to_wait(self._source.path(name)) > self._gate.unchanged_for(name, now):
                self._held_back[name] = None
            else:
                self._held_back.pop(name, None)
                yield name, digest
        known.sort(key=lambda one: listing[one[0]].mtime_ns, reverse=True)
        yield from known

    def _recall(self, name: str, facts: Stat) -> str | None:
        """As `Journal.recall`, asked once for each version of a file: a backlog is looked at again and again."""
        known = self._recalled.get(name)
        if known is None or known[0] != facts:
            known = self._recalled[name] = (facts, self._journal.recall(name, facts))
        return known[1]

    def _arrivals(self, looks: Iterable[_Look]) -> list[Arrival]:
        found = []
        digests = [(look, look.digest or (look.decoding and self._early.digest(look.decoding))) for look in looks]
        until = time.monotonic() + HASH_SECONDS
        for look, digest in digests:
            digest = digest or self._hash(look.name, look.facts, until)
            # What was written to since its turn came is looked at anew.
            if digest and self._source.stat(look.name) == look.facts:
                found.append(Arrival(look.name, look.facts, digest))
        return found

    def reopen(self, name: str) -> None:
        """A file that was received holds another content: look at it as if it were new."""
        self._journal.finish([], gone=[name])
        self._recalled.pop(name, None)
        self._gate.reopen(name)
        self._source.look_again(name)

    def moved_away(self, names: Iterable[str]) -> None:
        """Files that the scanner itself moved: what comes to be there is new."""
        for name in names:
            self._gate.reopen(name)
            self._source.look_again(name)

    def waiting(self) -> set[str]:
        """Files of the last pass that are not received: still changing, or not to be opened."""
        return self._gate.waiting()

    def held_back(self, seconds: float) -> int:
        """How many have been unchanged for so long and are not taken: somebody has them open, or they are not whole."""
        now, waiting = self._clock(), self.waiting()
        return sum(name in waiting and self._gate.unchanged_for(name, now) > seconds for name in self._held_back)

    def hopeless(self) -> set[str]:
        """Those among them that could not be opened again and again."""
        return {name for name, (tries, _) in self._unreadable.items() if tries >= len(UNREADABLE_SECONDS)}

    def _turn(self, digest: str) -> Literal["now", "background", "never"]:
        """When a content that was received before is to be received for this bundle."""
        if self._journal.has(result_key(digest, self._journal.bundle)):
            return "never"
        return self._rescan if self._journal.is_answered(digest) else "now"

    def _dismiss(self, name: str) -> None:
        self._gate.dismiss(name)
        self._recalled.pop(name, None)

    def _receive(self, portion: list[Arrival]) -> int:
        received = self._journal.receive(portion)
        for one in portion:
            self._dismiss(one.name)
        return received

    def _hash(self, name: str, facts: Stat, until: float) -> str | None:
        """SHA-256 of a file, or None where it is not to be had now; its reading holds up nothing else."""
        tries, when = self._unreadable.get(name, (0, 0.0))
        if when > self._clock():
            return None
        hashing = self._hashing.get(name)
        if hashing is None or hashing.facts != facts:
            hashing = self._hashing[name] = _Hashing(facts, self._hashers.submit(self._source.hash, name))
        try:
            digest = hashing.digest.result(max(0.0, until - time.monotonic()))
        except FutureTimeout:  # before Python 3.11 it is no TimeoutError
            return None
        except InputOutputError:
            if self._source.stat(name) is not None:  # else it is gone, which is nobody's fault
                wait = UNREADABLE_SECONDS[min(tries, len(UNREADABLE_SECONDS) - 1)]
                self._unreadable[name] = (tries + 1, self._clock() + wait)
                log.warning("files that cannot be opened: %d; check their owner", len(self._unreadable))
            digest = None
        except CancelledError:
            digest = None
        with contextlib.suppress(KeyError):
            del self._hashing[name]
        if digest is not None:
            self._unreadable.pop(name, None)
        return digest
