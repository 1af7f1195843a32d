"""Whether somebody may still be writing to a file, by what the kernel and the file's own end say.

A copier that pauses leaves a file that nobody changes and that is not whole. One that sets the size first, as Windows
does over SMB, leaves a file of the right size whose end is zeros: half an image that decodes without a complaint.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import time
from pathlib import Path

from .mounts import is_remote

OPEN_SECONDS = 600.0
"""How long a file that a process has open for writing must be unchanged before it counts as whole all the same."""
HOLE_SECONDS = 300.0
"""The same for a file with a part that was never written."""
ZERO_SECONDS, ZERO_SECONDS_UNSEEN = 30.0, 120.0
"""The same for a file that ends in zeros, where it is known that no process has it open, and where it is not."""
TAIL = 512
"""Bytes at the end that are looked at: compressed images never end in so many zeros, uncompressed ones may."""
_CLOCK_RIGHT = 1_790_000_000.0
"""A file time before this (September 2026) is of a clock that was reset by a dead battery, and says nothing."""


def is_open_for_writing(handle: int) -> bool | None:
    """Whether any process of this machine has the file open for writing; None where the kernel does not say.

    A read lease is granted only where nobody has (fcntl(2), F_SETLEASE). It needs a file of our own, or CAP_LEASE; on
    network shares it knows nothing of other machines.

    Parameters
    ----------
    handle : int
        Open for reading alone.
    """
    if is_remote(os.fstat(handle).st_dev):
        return None
    try:
        # Somebody who opens it meanwhile breaks the lease, and the signal for that would end this process.
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def has_writer(path: Path) -> bool:
    """Whether it is known that a process has the file open for writing."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return is_open_for_writing(handle) is True
    finally:
        os.close(handle)


def seconds_to_wait(path: Path, *, wall: float | None = None) -> float:
    """How long a file must have been unchanged before it counts as whole; 0 where nothing speaks against it now.

    Parameters
    ----------
    wall : float, optional
        Seconds since 1970; the clock's unless given. A file whose inode has not changed for that long by its own file
        system has been waited for already, by an earlier scanner perhaps.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return 0.0  # reading it will say why
    try:
        facts = os.fstat(handle)
        writer = is_open_for_writing(handle)
        if writer:
            return OPEN_SECONDS
        seconds = _by_content(handle, facts.st_size, seen=writer is False)
    except OSError:
        return 0.0
    finally:
        os.close(handle)
    age = (time.time() if wall is None else wall) - facts.st_ctime
    return 0.0 if facts.st_ctime > _CLOCK_RIGHT and age > seconds else seconds


def _by_content(handle: int, size: int, *, seen: bool) -> float:
    if size < TAIL:
        return 0.0
    try:
        if os.lseek(handle, 0, os.SEEK_HOLE) < size:
            return HOLE_SECONDS
    except OSError:  # a file system without
        pass
    if any(os.pread(handle, TAIL, size - TAIL)):
        return 0.0
    return ZERO_SECONDS if seen else ZERO_SECONDS_UNSEEN
