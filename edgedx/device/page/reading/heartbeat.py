"""The scanner's heartbeat, read as a file: the page's process loads nothing of the scanner's for it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from edgedx.core.errors import InputOutputError
from edgedx.core.files import read_regular
from edgedx.device.machine.alive import FINISHED, STALE_SECONDS, STATUS, STOPPED, boot_id, process_exists


def heartbeat(out: Path) -> dict[str, Any]:
    """The last beat; empty where there is none."""
    try:
        found = json.loads(read_regular(out / STATUS, 1 << 20))
    except (InputOutputError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def inbox_of(out: Path) -> Path | None:
    """The inbox that the scanner reads, as its last beat names it."""
    inbox = heartbeat(out).get("inbox")
    return Path(inbox) if isinstance(inbox, str) else None


def is_alive(state: dict[str, Any]) -> bool:
    """Whether the scanner that beat so is at work now."""
    if state.get("state") in (None, STOPPED, FINISHED) or state.get("boot") != boot_id():
        return False
    try:
        if time.monotonic() - float(state["at"]) > STALE_SECONDS:
            return False
        return process_exists(int(state["pid"]))
    except (OSError, KeyError, TypeError, ValueError):
        return False
