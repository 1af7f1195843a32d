"""How long images and results are kept: what was answered and sent long ago is removed, whole, and recorded.

::

    received file in the inbox -> pictures, DICOM objects -> row of the ledger -> OUT/results/KEY.json
                                                                               -> row of results.csv

Removed are files of the inbox that were received by C-STORE, which are copies of ours, and what the scanner made of
them; a file that somebody else put into the inbox is never removed, and its results stay as long as it is there. A kill
at any step leaves a result that is removed by the next sweep. A content that comes again is read anew.
"""

from __future__ import annotations

import csv
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgedx.core.errors import InputOutputError, StorageError, UsageError
from edgedx.core.files import atomic_write, storage_error, sync_folder, write_json
from edgedx.device.pacs.outbox import Outbox, folder_of

from .audit import RetentionAudit
from .retention_files import Content, gather
from .retention_record import RETENTION, read_retention

if TYPE_CHECKING:
    from edgedx.device.scanner.journal import Journal
    from edgedx.device.scanner.scanner import Scanner

log = logging.getLogger("edgedx.scan")

LEAST_AGE_SECONDS = 3600.0
"""Nothing younger is removed, however little may be kept: somebody must have had the time to fetch it."""
SWEEP_SECONDS, OVERDUE_SECONDS = 3600.0, 6 * 3600.0
"""Between sweeps; and after which one is made although images wait."""
_SLICE_SECONDS = 0.1  # of the work loop at a time
_PORTION = 20  # contents that are removed together
_CLOCK_JUMP_SECONDS = 3600.0
_RELEASED = 1_790_000_000.0  # September 2026: a clock before this was reset by a dead battery


@dataclass(frozen=True)
class RetentionLimits:
    """How much is kept; None: no limit.

    Attributes
    ----------
    days : float, optional
        Since the result was written.
    gigabytes : float, optional
        Of received images, results, pictures and objects together, 10^9 bytes each.

    Raises
    ------
    UsageError
        A limit is negative or not a number.
    """

    days: float | None = None
    gigabytes: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("--keep-days", self.days), ("--keep-gb", self.gigabytes)):
            if value is not None and not 0 <= value < float("inf"):
                raise UsageError(f"{name} {value}", next_step=f"give a number from 0 on, e.g. {name} 90")


def may_be_removed(age: float, total: float, limits: RetentionLimits) -> bool:
    """Whether a content is over a limit; pure.

    Parameters
    ----------
    age : float
        Seconds since its newest result.
    total : float
        Bytes that are kept now, this one included.
    """
    if age < LEAST_AGE_SECONDS:
        return False
    too_old = limits.days is not None and age > 86400.0 * limits.days
    return too_old or (limits.gigabytes is not None and total > 1e9 * limits.gigabytes)


class Retention:
    """Sweeps one output folder and its inbox, in slices of the scanner's idle time.

    Parameters
    ----------
    clock : callable
        Wall clock, seconds since 1970: ages are those of files.
    monotonic : callable
        Seconds that no clock change moves.
    """

    def __init__(
        self,
        inbox: Path,
        out: Path,
        limits: RetentionLimits,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.inbox, self.out, self.limits = inbox, out, limits
        self._clock, self._monotonic = clock, monotonic
        self._offset = clock() - monotonic()
        self._next = monotonic() + 60.0
        self._sweep: Iterator[None] | None = None
        self._distrusted = False

    def tend(self, scanner: Scanner) -> None:
        """Called by the work loop: begins or continues a sweep where nothing waits, for a moment.

        A disk that is below its floor makes it go on at once. What cannot be read or written now is tried again with
        the next sweep, and costs no result.
        """
        if self.limits == RetentionLimits() or self._monotonic() < self._next:
            return
        overdue = self._monotonic() > self._next + OVERDUE_SECONDS or scanner.disk_is_low
        if not overdue and scanner.journal.count_pending():
            return
        until = time.monotonic() + _SLICE_SECONDS
        try:
            self._sweep = self._sweep or self.sweep(scanner.journal)
            while time.monotonic() < until:
                next(self._sweep)
        except StopIteration:
            self._sweep, self._next = None, self._monotonic() + SWEEP_SECONDS
        except (InputOutputError, OSError) as error:  # its message may name a file
            log.error("retention: %s, tried again later", type(error).__name__)
            self._sweep, self._next = None, self._monotonic() + SWEEP_SECONDS

    def sweep_now(self, scanner: Scanner) -> None:
        """A whole sweep, for a scanner that ends (``--once``)."""
        if self.limits != RetentionLimits():
            for _ in self.sweep(scanner.journal):
                pass

    def sweep(self, journal: Journal) -> Iterator[None]:
        """Remove what is over the limits; yields where the scanner may go on meanwhile.

        Raises
        ------
        InputOutputError, StorageError
            A folder, the ledger, the outbox or the receipts cannot be read or written.
        """
        if not self._clock_is_trusted():
            return
        contents: dict[str, Content] = {}
        yield from gather(self.inbox, self.out, journal, contents)
        kept: Counter[str] = Counter()
        total = float(sum(content.bytes for content in contents.values()))
        due: list[Content] = []
        unsent = self._unsent()
        yield
        for content in sorted(contents.values(), key=lambda one: one.answered):
            if not may_be_removed(self._clock() - content.answered, total, self.limits):
                break
            if why := self._why_kept(content, journal, unsent):
                kept[why] += 1
                continue
            total -= content.bytes
            due.append(content)
        removed = 0
        while portion := due[removed : removed + _PORTION]:
            self._remove(portion, journal)
            removed += len(portion)
            yield
        if removed:
            self._shorten_table({stem for content in due for stem in content.results})
            log.warning("retention: removed %d images with their results", removed)
        self._tell(total, kept)

    def _unsent(self) -> set[str]:
        """Names of objects that a PACS has not taken, those that it refused among them."""
        path = folder_of(self.out) / "outbox.sqlite"
        if not path.is_file():
            return set()
        outbox = Outbox(path)
        try:
            return {parcel.file for parcel in (*outbox.next(1 << 40), *outbox.failed(1 << 40))}
        finally:
            outbox.close()

    def _why_kept(self, content: Content, journal: Journal, unsent: set[str]) -> str:
        """Why a content that is over a limit stays; empty where it may go."""
        if any(what.startswith("quarantined") for _, what in content.results.values()):
            return "quarantined"
        if journal.is_pending(content.sha256):
            return "unanswered"
        if any(path.name in unsent for path in content.files):
            return "unsent"
        if any((folder_of(self.out) / "jobs" / f"{stem}.npz").exists() for stem in content.results):
            return "unsent"
        ours = {path.name for path in content.received}
        elsewhere = [name for name in journal.names(content.sha256) if name not in ours]
        return "in the inbox" if any(os.path.lexists(self.inbox / name) for name in elsewhere) else ""

    def _remove(self, portion: list[Content], journal: Journal) -> None:
        """In an order that a kill may cut anywhere: the result goes last, and what it names is looked for again."""
        audit = RetentionAudit(self.out)
        try:
            audit.record(key for content in portion for key, _ in content.results.values())
        finally:
            audit.close()
        received = [path for content in portion for path in content.received]
        _unlink(received)
        _unlink([path for content in portion for path in content.files])
        keys = [key for content in portion for key, _ in content.results.values()]
        journal.forget(keys, [path.name for path in received])
        _unlink([self.out / "results" / f"{stem}.json" for content in portion for stem in content.results])
        before = read_retention(self.out)
        counts = Counter(before["removed"])
        counts.update(what for content in portion for _, what in content.results.values())
        size = before["removed_bytes"] + sum(content.bytes for content in portion)
        write_json(self.out / RETENTION, {**before, "removed": dict(counts), "removed_bytes": size})

    def _shorten_table(self, stems: set[str]) -> None:
        """Leave rows of removed results out of results.csv; the scanner writes it anew at its start if this is cut."""
        path = self.out / "results.csv"
        if not path.is_file():
            return
        try:
            with (
                path.open(encoding="utf-8", newline="") as old,
                atomic_write(path, "w", encoding="utf-8", newline="") as new,
            ):
                rows = csv.writer(new, lineterminator="\n")
                rows.writerows(row for row in csv.reader(old) if not row or Path(row[-1]).stem not in stems)
        except (OSError, csv.Error, UnicodeDecodeError) as error:
            raise StorageError(f"{path} cannot be shortened", next_step="start the scanner again") from error

    def _tell(self, total: float, kept: Counter[str]) -> None:
        state = {
            "limits": {"days": self.limits.days, "gigabytes": self.limits.gigabytes},
            "bytes": int(total),
            "kept_over_limit": dict(kept),
            "swept": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._clock())),
        }
        write_json(self.out / RETENTION, {**read_retention(self.out), **state})

    def _clock_is_trusted(self) -> bool:
        """Ages are by the wall clock: one that was reset, or jumped while we ran, removes nothing."""
        moved = abs(self._clock() - self._monotonic() - self._offset)
        trusted = self._clock() >= _RELEASED and moved < _CLOCK_JUMP_SECONDS
        if not trusted and not self._distrusted:
            log.warning("retention: the clock was changed or is wrong; nothing is removed until the next start")
        self._distrusted = not trusted
        return trusted


def _unlink(paths: list[Path]) -> None:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(path, error) from error
    for folder in {path.parent for path in paths}:
        try:
            sync_folder(folder)
        except OSError as error:
            raise storage_error(folder, error) from error
