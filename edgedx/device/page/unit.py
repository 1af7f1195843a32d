"""A systemd unit that serves the page with no more rights than it needs: the scanner's output is read-only to it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from edgedx.device.operation.unit import unit_text

from .door.hosts import is_loopback
from .serve import Address
from .settings import PageSettings

NAME, SCANNER = "edgedx-page", "edgedx-scan"
WATCHDOG_SECONDS = 60
_SCANNERS = (
    "results", "results.csv", "quarantine", "dicom", "journal.sqlite", "receipts.sqlite", "status.json",
    "metrics.prom", "retention.json", ".edgedx-out",
)  # fmt: skip
"""In OUT, what the scanner alone writes; answers, people, certificate and the audit log are the page's to write."""


def page_unit(words: Sequence[str], settings: PageSettings, address: Address) -> str:
    """The unit of a page with the rights that it needs.

    Parameters
    ----------
    words : sequence of str
        What follows ``edgedx page`` in the call; relative paths in it become absolute.

    Raises
    ------
    UsageError
        A path or argument that no unit file can hold.
    """
    program = shutil.which("edgedx")
    command = [str(Path(program).absolute())] if program else [sys.executable, "-m", "edgedx"]
    files = [path for path in (address.certificate, address.key) if path is not None]
    given = [path for path in (settings.out, settings.inbox, settings.root, *files) if path is not None]
    named = {str(path): str(path.absolute()) for path in given}
    command.append("page")
    for word in words:
        option, sign, value = word.partition("=")
        command.append(f"{option}={named.get(value, value)}" if sign else named.get(word, word))
    out = settings.out.absolute()
    readable = [path.absolute() for path in (settings.root, *files) if path is not None]
    return unit_text(
        command,
        writable=[out, *([settings.inbox.absolute()] if settings.inbox is not None else [])],
        readable=readable,
        kept=[out / name for name in _SCANNERS],
        network="loopback" if is_loopback(address.host) else "open",
        memory="1G",
        name=NAME,
        title="edgedx page",
        after=f"{SCANNER}.service",
        watchdog=WATCHDOG_SECONDS,
    )
