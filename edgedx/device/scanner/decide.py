"""The scanner's next-step rules: facts in, actions out, no input or output."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from edgedx.core.codes import Code

from .facts import Stat

MAX_ATTEMPTS = 3
MAX_INTERRUPTIONS = 5
"""More than `MAX_ATTEMPTS`: where power is bad, cuts end the scanner more often than a file does."""
BACK_OFF_SECONDS = (1.0, 5.0)
"""Wait before the second and the third attempt at a file that ended the decoder."""
DAMAGED_ATTEMPTS = 2
INCOMPLETE_SECONDS = 240.0
"""How long a file that ends early is looked at again before it is put aside: its writer may have paused."""
_LONGEST_WAIT = 120.0
ABSENT_SECONDS = 30.0
"""Wait before looking again for a received file that is not in the inbox."""
UNREADABLE_SECONDS = (1.0, 5.0, 60.0)
"""Wait after the first, second, and each further failure to open a file."""

_IGNORED_PARTS = {"@eaDir", ".stversions", ".snapshot", "lost+found"}
_IGNORED_ENDS = (".part", ".partial", ".tmp", ".crdownload", ".filepart")

# Sound, and no image or none for the model: a result. Any other code means that the file could not be read.
REFUSED_CODES = frozenset(code.value for code in Code if code.outcome == "refused")
# What a copier that has not finished leaves.
INCOMPLETE_CODES = frozenset({"TRUNCATED", "EMPTY"})
# The decoder process died or was stopped: another attempt may succeed.
RETRIED_CODES = frozenset({"DECODER_CRASH", "DECODER_TIMEOUT", "DECODER_MEMORY"})


def ignored(name: str) -> bool:
    """Whether a path relative to the inbox is none of ours: hidden, partial, or a server's own."""
    return any(ignored_entry(part) for part in PurePosixPath(name).parts[:-1]) or ignored_entry(name.rpartition("/")[2])


def ignored_entry(name: str) -> bool:
    """The same of one entry of a folder."""
    return name[0] == "." or name in _IGNORED_PARTS or name.lower().endswith(_IGNORED_ENDS)


@dataclass
class StabilityGate:
    """Lets a file through when its size, time and inode have not changed for `settle` seconds.

    A writer may still be at work on anything younger, and network shares announce nothing. Time is monotonic. A file
    is let through until `dismiss`, and again when it changed.
    """

    settle: float
    _seen: dict[str, tuple[Stat, float]] = field(default_factory=dict)
    _open: dict[str, None] = field(default_factory=dict)  # seen and not dismissed, in the order in which they came

    def settled(self, listing: Mapping[str, Stat], now: float, changed: Collection[str] | None = None) -> list[str]:
        """Names that have settled; call it with every new listing.

        Parameters
        ----------
        changed : collection of str, optional
            Names that came, went or changed since the listing before; all are compared unless given. An inbox of
            30,000 files is looked at every two seconds.
        """
        if changed is None:
            changed = [*listing, *(name for name in self._seen if name not in listing)]
        new = set()
        for name in changed:
            stat, before = listing.get(name), self._seen.get(name)
            if stat is None:  # a deletion is none of our business, and memory stays flat
                self.reopen(name)
            elif before is None or before[0] != stat:
                self.reopen(name)
                self._seen[name] = (stat, now)
                self._open[name] = None
                new.add(name)
        return [name for name in self._open if name not in new and self.unchanged_for(name, now) >= self.settle]

    def unchanged_for(self, name: str, now: float) -> float:
        """Seconds since a file was first seen as it is."""
        return now - self._seen[name][1]

    def dismiss(self, name: str) -> None:
        """What was to be done about this version of the file is done."""
        self._open.pop(name, None)

    def reopen(self, name: str) -> None:
        """Look at a file as if it were new."""
        self._seen.pop(name, None)
        self._open.pop(name, None)

    def waiting(self) -> set[str]:
        """Names of the last listing that were not dismissed."""
        return set(self._open)


def after_failure(
    code: str, attempts: int, settle: float, patience: float = 0.0
) -> tuple[Literal["refused", "quarantined", "retry"], float]:
    """What to do with a file that gave no image.

    Parameters
    ----------
    code : str
        Of the `ImageError`.
    attempts : int
        How often it was tried, this time included.
    settle : float
        Seconds of the stability gate.
    patience : float
        Seconds for which a file that ends early is looked at again, at growing intervals.

    Returns
    -------
    (str, float)
        ``refused``, ``quarantined`` or ``retry``, and the seconds to wait before a retry.
    """
    if code in REFUSED_CODES:
        return "refused", 0.0
    if code in INCOMPLETE_CODES and patience > 0:
        first = max(settle, 0.5)
        waited = sum(min(_LONGEST_WAIT, first * 2**number) for number in range(attempts - 1))
        if waited < patience:
            return "retry", min(_LONGEST_WAIT, first * 2 ** (attempts - 1))
        return "quarantined", 0.0
    if code in RETRIED_CODES:
        if attempts < MAX_ATTEMPTS:
            return "retry", BACK_OFF_SECONDS[min(attempts, len(BACK_OFF_SECONDS)) - 1]
    elif attempts < DAMAGED_ATTEMPTS and code != "INTERRUPTED":
        # The same bytes fail the same way; but a writer that had only paused has gone on by then, and is not disturbed.
        return "retry", settle
    return "quarantined", 0.0


def interrupted_too_often(attempts: int) -> bool:
    """Whether a file that was claimed when an earlier scanner died has had all its attempts."""
    return attempts >= MAX_INTERRUPTIONS
