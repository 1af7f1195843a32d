"""Decoder processes side by side: a batch is decoded while the one before it is answered and written."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, LifoQueue
from typing import TypeVar

from edgedx.core.bundle.manifest import Bundle
from edgedx.core.result import Result
from edgedx.device.decode.decoder import Decoder
from edgedx.device.decode.search import SEARCH_KEY

from .examine import AdmittedImage, Examiner, Retry
from .facts import Item
from .sinks import ScannedImage

T = TypeVar("T")

MOST = 4
"""Decoders at once, unless more are asked for: each may take the memory of one large image."""


def default_count() -> int:
    """One for each core: inference is short, and its thread mostly waits for them."""
    return max(1, min(MOST, len(os.sched_getaffinity(0))))


def decoders_for(bundle: Bundle, count: int, out: Path) -> list[Decoder]:
    """Decoders that do what a bundle asks for, and what an output folder allows; 0: `default_count` of them."""
    spec, frames = bundle.manifest.preprocess, bundle.manifest.accept.multi_frame
    return [Decoder(spec, frames=frames, search_key=out / SEARCH_KEY) for _ in range(count or default_count())]


@dataclass
class Batch:
    """A batch that was claimed and is being decoded.

    Attributes
    ----------
    held : list of (Item, str)
        Items, and the name below which each is in the inbox.
    outcomes : list of Future
        Of each of them.
    readings : list of ScannedImage
        Results that need no decoding.
    """

    held: list[tuple[Item, str]] = field(default_factory=list)
    outcomes: list[Future[AdmittedImage | Result | Retry]] = field(default_factory=list)
    readings: list[ScannedImage] = field(default_factory=list)

    @property
    def keys(self) -> list[str]:
        """Of what was claimed."""
        return [item.key for item, _ in self.held]

    @property
    def all_keys(self) -> list[str]:
        """With those that needed no claim."""
        return self.keys + [reading.result.key for reading in self.readings]

    @property
    def is_read(self) -> bool:
        """Whether nothing of it is being decoded or waits for that."""
        return all(outcome.done() for outcome in self.outcomes)

    def wait(self) -> None:
        """Until nothing of it is being decoded; what had not begun will not begin."""
        for outcome in self.outcomes:
            if not outcome.cancel():
                outcome.exception()


class Readers:
    """A thread for each decoder: it waits for its process, so that threads share a core well.

    The decoder that was used last is used first: where files come one by one, one process is started, and stays warm.

    Parameters
    ----------
    examiner : Examiner
        Whose rules are applied.
    decoders : sequence of Decoder
    """

    def __init__(self, examiner: Examiner, decoders: Sequence[Decoder]) -> None:
        self._decoders = tuple(decoders)
        self._free: LifoQueue[Examiner] = LifoQueue()
        for decoder in decoders:
            self._free.put(replace(examiner, decoder=decoder))
        self._threads = ThreadPoolExecutor(len(self._decoders), thread_name_prefix="decode")

    def __len__(self) -> int:
        return len(self._decoders)

    def warm(self) -> None:
        """Make sure that a decoder that is free has its process. Call it before files are claimed: the time that a
        process takes to start, and its failure to, are no file's fault.

        Raises
        ------
        DecoderNotStarting
            It does not start.
        """
        try:
            examiner = self._free.get_nowait()
        except Empty:
            return
        try:
            examiner.decoder.warm()
        finally:
            self._free.put(examiner)

    def read(self, item: Item, path: Path, name: str, *, suspect: bool) -> Future[AdmittedImage | Result | Retry]:
        """Decode one file as soon as a decoder is free (see `Examiner.open`)."""
        return self._threads.submit(self._with, lambda free: free.open(item, path, name, suspect=suspect))

    def run(self, work: Callable[[Decoder], T]) -> Future[T]:
        """Do something else with a decoder as soon as one is free."""
        return self._threads.submit(self._with, lambda free: work(free.decoder))

    def _with(self, work: Callable[[Examiner], T]) -> T:
        examiner = self._free.get()
        try:
            return work(examiner)
        finally:
            self._free.put(examiner)

    def close(self) -> None:
        """Finish what is being decoded, forget what is not, end the processes."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        for decoder in self._decoders:
            decoder.close()
