"""What a device tells of itself: counts, codes, versions. No sentence, no path: nothing of a patient can be in it.

Every string has a pattern or is one of a list, so that this holds by construction, whatever the scanner has seen.
"""

from __future__ import annotations

import platform
import time
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from edgedx._version import __version__
from edgedx.core.errors import EdgedxError, InputOutputError
from edgedx.core.strict import Strict
from edgedx.core.version import VERSION_PATTERN
from edgedx.device.install.state import now
from edgedx.device.install.status import DeviceStatus, device_status
from edgedx.device.machine.alive import FINISHED, STOPPED
from edgedx.device.machine.conditions import read_conditions
from edgedx.device.machine.hardware import read_hardware
from edgedx.device.operation.heartbeat import light_of, read_heartbeat
from edgedx.device.scanner.examine import RELEASED
from edgedx.device.scanner.scanner import STUCK_SECONDS

from .places import read_box, read_record
from .terms import BOX_NAME

TROUBLES = {
    "NOTHING_INSTALLED": "no model is installed",
    "DAMAGED": "the installed model is damaged or not trusted",
    "UNSIGNED": "the installed model is signed by nobody that the device trusts",
    "REVERTED": "the last update was taken back",
    "SCANNER_DEAD": "the scanner does not run",
    "SCANNER_STOPPED": "the scanner was stopped",
    "NO_SCANNER": "no scanner has ever run",
    "DISK_LOW": "the disk is full: no image is read",
    "STUCK": "images wait for long without a result",
    "FILES": "files or folders cannot be read",
    "OUTPUTS": "results lack their table, picture or report",
    "AUDIT": "an audit log was put aside",
    "PACS": "the PACS refuses results",
    "CLOCK": "the clock is not set",
}
"""Codes and what they mean; the first weigh most."""
TroubleCode = Literal[
    "NOTHING_INSTALLED", "DAMAGED", "UNSIGNED", "REVERTED", "SCANNER_DEAD", "SCANNER_STOPPED", "NO_SCANNER", "DISK_LOW",
    "STUCK", "FILES", "OUTPUTS", "AUDIT", "PACS", "CLOCK",
]  # fmt: skip
_Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")]
_Outcome = Annotated[str, Field(pattern=r"^(done|refused|quarantined) ?[A-Z_]{0,40}$")]
_Time = Annotated[str, Field(pattern=r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)?$")]
_Version = Annotated[str, Field(pattern=VERSION_PATTERN)]


class Model(Strict):
    """What is installed."""

    name: _Word
    version: _Version
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    variant: _Word
    profile: _Word
    on_trial: bool
    installed: _Time


class Machine(Strict):
    """The device, without a host name or serial number."""

    label: str = Field(max_length=300)
    arch: _Word
    memory_gb: float | None
    power_mode: str | None = Field(None, max_length=40)
    hottest_c: float | None
    python: str = Field(max_length=20)


class ScannerCounts(Strict):
    """What the scanner of this device has done, ever."""

    running: bool
    results: dict[_Outcome, int] = Field(description="By status and reason code.")
    pending: int
    oldest_pending_seconds: float | None
    seconds_per_image: float | None = Field(description="Decoding to inference, mean of the running process.")
    disk_free: int = Field(description="Bytes.")
    provider: _Word


class Update(Strict):
    """When a repository was last asked, and what came of it."""

    asked: _Time
    outcome: Annotated[str, Field(pattern=r"^[a-z-]{0,40}$")]
    offered: str = Field(max_length=40)
    timestamp_version: int | None
    root_version: int | None
    expires: _Time


class LightCode(Strict):
    """The monitor's light."""

    colour: Literal["green", "yellow", "red", "grey"]
    code: Annotated[str, Field(pattern=r"^[a-z]{0,40}$")]


class Summary(Strict):
    """All that leaves the device."""

    schema_version: Literal[1] = 1
    box: str = Field(pattern=BOX_NAME)
    sequence: int = Field(ge=1, description="Grows by one with each: an old one that comes again is known.")
    written: _Time
    clock_trusted: bool
    edgedx: _Word
    machine: Machine
    model: Model | None
    ratchet: dict[_Word, _Version]
    keys: list[Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]] = Field(description="Ids of the pinned keys.")
    light: LightCode | None
    scanner: ScannerCounts | None
    troubles: list[TroubleCode]
    update: Update


def summarise(root: Path, out: Path, sequence: int) -> Summary:
    """Look at what is installed below `root` and at the scanner that writes to `out`.

    Raises
    ------
    GateRefused
        The device has no name yet (see `trust`).
    """
    box, status, record = read_box(root), device_status(root), read_record(root)
    state, found = _heartbeat(out)
    trusted = time.time() >= RELEASED
    light = None if state is None else light_of(state)
    return Summary(
        box=box.name,
        sequence=sequence,
        written=now(),
        clock_trusted=trusted,
        edgedx=__version__,
        machine=_machine(),
        model=_model(status),
        ratchet=status.ratchet,
        keys=sorted(key.id for key in status.keys),
        light=None if light is None else LightCode(colour=light.colour, code=light.code),
        scanner=None if state is None else _scanner(state),
        troubles=sorted({*_of_installation(status), *found, *([] if trusted else ["CLOCK"])}, key=list(TROUBLES).index),
        update=Update(
            asked=record.asked,
            outcome=record.outcome,
            offered=record.offered,
            timestamp_version=record.timestamp_version,
            root_version=record.root_version,
            expires=record.expires,
        ),
    )


def _heartbeat(out: Path) -> tuple[dict[str, Any] | None, list[str]]:
    try:
        state = read_heartbeat(out)
    except InputOutputError:
        return None, ["NO_SCANNER"]
    outbox = state.get("outbox") or {}
    signs = {
        "SCANNER_STOPPED": state["state"] == STOPPED,
        "SCANNER_DEAD": state["state"] not in (STOPPED, FINISHED) and not state["running"],
        "DISK_LOW": state["disk_free"] < state["disk_floor"],
        "STUCK": (state["oldest_pending_seconds"] or 0.0) > STUCK_SECONDS,
        "FILES": bool(state.get("troubles")),
        "OUTPUTS": any(state["sink_failures"].values()),
        "AUDIT": bool(state.get("audit_put_aside")),
        "PACS": bool(outbox.get("failed")),
    }
    return state, [code for code, is_so in signs.items() if is_so]


def _scanner(state: dict[str, Any]) -> ScannerCounts:
    read, seconds = state["read_by_this_process"], sum(state["seconds"].values())
    return ScannerCounts(
        running=state["running"],
        results=state["results"],
        pending=state["pending"],
        oldest_pending_seconds=state["oldest_pending_seconds"],
        seconds_per_image=round(seconds / read, 4) if read else None,
        disk_free=state["disk_free"],
        provider=state["provider"],
    )


def _of_installation(status: DeviceStatus) -> list[str]:
    active, last = status.active, status.history[-1] if status.history else None
    signs = {
        "NOTHING_INSTALLED": active is None,
        "DAMAGED": active is not None and bool(active.problem),
        "UNSIGNED": active is not None and active.unsigned,
        "REVERTED": last is not None and last.action == "revert",
    }
    return [code for code, is_so in signs.items() if is_so]


def _model(status: DeviceStatus) -> Model | None:
    active = status.active
    if active is None or active.name is None or active.version is None or active.digest is None:
        return None
    return Model(
        name=active.name,
        version=active.version,
        digest=active.digest,
        variant=active.variant or "unknown",
        profile=active.profile or "unknown",
        on_trial=status.trial_starts is not None,
        installed=active.installed or "",
    )


def _machine() -> Machine:
    hardware, conditions = read_hardware(), read_conditions()
    try:
        label = hardware.label()
    except EdgedxError:
        label = hardware.arch
    return Machine(
        label=label[:300],
        arch=hardware.arch,
        memory_gb=hardware.memory_gb,
        power_mode=conditions["power_mode"],
        hottest_c=max(conditions["temperature_c"].values(), default=None),
        python=platform.python_version(),
    )
