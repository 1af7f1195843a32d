"""Whether what wrote a heartbeat is still at work: loads nothing, so that the page's small process may ask too."""

from __future__ import annotations

import os
from pathlib import Path

STATUS = "status.json"
STOPPED, FINISHED = "stopped", "finished"
"""Last states: ended by a signal or an error; and a scan of what was there (``--once``) that came to its end."""
STALE_SECONDS = 180.0
"""A heartbeat that is older than this has stopped."""


def boot_id() -> str:
    """Changes with every start of the machine, as the meaning of monotonic seconds does."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def process_exists(pid: int) -> bool:
    """Whether a process has this number, be it of another user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
