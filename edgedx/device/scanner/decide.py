"""The scanner's next-step rules: facts in, actions out, no input or output."""

from __future__ import annotations

from collections.abc import Mapping
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
ABSENT_SECONDS = 30.0
"""Wait before looking again for a received file that is not in the inbox."""
UNREADABLE_SECONDS = (1.0, 5.0, 60.0)
"""Wait after the first, second, and each further failure to open a file."""

_IGNORED_PARTS = {"@eaDir", ".stversions", ".snapshot", "lost+found"}
_IGNORED_ENDS = (".part", ".partial", ".tmp", ".crdownload", ".filepart")

# Sound, and no image or none for the model: a result. Any other code means that the file could not be read.
REFUSED_CODES = frozenset(code.value for code in Code if code.outcome == "refused")
# The decoder process died or was stopped: another attempt may succeed.
RETRIED_CODES = frozenset({"DECODER_CRASH", "DECODER_TIMEOUT", "DECODER_MEMORY"})


def ignored(name: str) -> bool:
    """Whether a path relative to the inbox is none of ours: hidden, partial, or a server's own."""
    parts = PurePosixPath(name).parts
    return any(part.startswith(".") or part in _IGNORED_PARTS for part in parts) or parts[-1].lower().endswith(
        _IGNORED_ENDS
    )


@dataclass
class Gate:
    """Lets a file through when its size, time and inode have not changed for `settle` seconds.

    A writer may still be at work on anything younger, and network shares announce nothing. Time is monotonic. A file
    is let through until `dismiss`, and again when it changed.
    """

    settle: float
    _seen: dict[str, tuple[Stat, float]] = field(default_factory=dict)
    _dismissed: set[str] = field(default_factory=set)

    def settled(self, listing: Mapping[str, Stat], now: float) -> list[str]:
        """Names in `listing` that have settled; call it with every new listing."""
        # Names that vanished are forgotten: a deletion is none of our business, and memory stays flat.
        self._seen = {name: seen for name, seen in self._seen.items() if name in listing}
        self._dismissed &= self._seen.keys()
        ready = []
        for name, stat in listing.items():
            before = self._seen.get(name)
            if before is None or before[0] != stat:
                self.reopen(name)
                self._seen[name] = (stat, now)
            elif name not in self._dismissed and now - before[1] >= self.settle:
                ready.append(name)
        return ready

    def dismiss(self, name: str) -> None:
        """What was to be done about this version of the file is done."""
        self._dismissed.add(name)

    def reopen(self, name: str) -> None:
        """Look at a file as if it were new."""
        self._seen.pop(name, None)
        self._dismissed.discard(name)

    def waiting(self) -> set[str]:
        """Names of the last listing that were not dismissed."""
        return self._seen.keys() - self._dismissed


def after_failure(code: str, attempts: int, settle: float) -> tuple[Literal["refused", "quarantined", "retry"], float]:
    """What to do with a file that gave no image.

    Parameters
    ----------
    code : str
        Of the `ImageError`.
    attempts : int
        How often it was tried, this time included.
    settle : float
        Seconds of the stability gate.

    Returns
    -------
    (str, float)
        ``refused``, ``quarantined`` or ``retry``, and the seconds to wait before a retry.
    """
    if code in REFUSED_CODES:
        return "refused", 0.0
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
