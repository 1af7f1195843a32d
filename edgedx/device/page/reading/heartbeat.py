"""The scanner's heartbeat, read as a file: the page's process loads nothing of the scanner's for it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from edgedx.core.errors import InputOutputError
from edgedx.core.files import read_regular

STATUS = "status.json"
STALE_SECONDS = 180.0
"""A heartbeat that is older than this has stopped."""


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
    if state.get("state") in (None, "stopped", "finished") or state.get("boot") != _boot():
        return False
    try:
        if time.monotonic() - float(state["at"]) > STALE_SECONDS:
            return False
        os.kill(int(state["pid"]), 0)
    except PermissionError:
        return True
    except (OSError, KeyError, TypeError, ValueError):
        return False
    return True


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
