"""What else becomes of a result: pictures, DICOM objects, counters, the audit log. Each is a sink of the scanner."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from edgedx.core.errors import StorageError
from edgedx.core.preprocess import Canvas
from edgedx.core.result import Result
from edgedx.device.runtime.predict import ClassEvidence

log = logging.getLogger("edgedx.scan")


@dataclass(frozen=True)
class ScannedImage:
    """A result with what was in memory when the image was read.

    Attributes
    ----------
    canvas : ndarray of shape (H, W) or (H, W, 3), uint8 or uint16, optional
        The image as the model saw it; None where it could not be read.
    shown : ClassEvidence, optional
        Where the model looked, where that was asked for.
    facts : mapping of str
        Of its header (see `accept.facts_of`); empty where the model was not asked.
    """

    result: Result
    canvas: Canvas | None = None
    shown: ClassEvidence | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


class Sink(Protocol):
    """Takes each result after its JSON is durable and before the ledger's final word.

    A crash in between replays the result, so a sink does the same again and leaves the same behind.
    """

    @property
    def name(self) -> str:
        """For the log."""

    def publish(self, reading: ScannedImage, path: Path, source: Path | None) -> None:
        """Take one result.

        Parameters
        ----------
        path : Path
            Of its JSON.
        source : Path, optional
            Where its file is in the inbox; None where it is there no more.
        """

    def flush(self) -> None:
        """A batch was taken: make it durable, where `publish` did not."""
        return None  # not abstract: a sink that keeps nothing open need not have it

    def close(self) -> None:
        """The scanner ends."""
        return None


class Sinks:
    """Several as one. A full disk stops the scanner as it does elsewhere; any other failure costs no result.

    Attributes
    ----------
    failed : Counter
        Failures by sink.
    """

    def __init__(self, sinks: Sequence[Sink] = ()) -> None:
        self._sinks = tuple(sinks)
        self.failed: Counter[str] = Counter()

    def publish(self, reading: ScannedImage, path: Path, source: Path | None) -> None:
        """Give one result to each."""
        for sink in self._sinks:
            with self._counting(sink, f"key={reading.result.key[:12]}"):
                sink.publish(reading, path, source)

    def flush(self) -> None:
        """Make what each was given durable."""
        for sink in self._sinks:
            with self._counting(sink, "a batch"):
                sink.flush()

    @contextmanager
    def _counting(self, sink: Sink, what: str) -> Iterator[None]:
        try:
            yield
        except StorageError:
            raise
        except Exception as error:  # its message may hold what the file holds
            self.failed[sink.name] += 1
            log.error("%s sink=%s failed: %s", what, sink.name, type(error).__name__)

    def close(self) -> None:
        """Close each, whatever the others do."""
        for sink in self._sinks:
            try:
                sink.close()
            except Exception as error:
                log.error("sink=%s failed to close: %s", sink.name, type(error).__name__)
