"""Is the box well? One light, one sentence, what to do; and the facts behind it, for the administrator."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from .heartbeat import heartbeat, is_alive

STUCK_SECONDS = 900.0
Colour = Literal["green", "yellow", "red", "grey"]


@dataclass(frozen=True)
class Health:
    """What the page says of the box.

    Attributes
    ----------
    colour : str
        Of the light; said in words, too.
    code : str
        ``health.CODE`` is the sentence, ``health_do.CODE`` what to do.
    values : mapping
        For the sentences.
    """

    colour: Colour
    code: str
    values: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))


def health(state: Mapping[str, Any]) -> Health:
    """The light by the scanner's heartbeat, the heaviest first."""
    if not state:
        return Health("grey", "never")
    if state.get("state") == "stopped":
        return Health("red", "stopped")
    if state.get("state") != "finished" and not is_alive(dict(state)):
        return Health("red", "dead")
    if int(state.get("disk_free", 1)) < int(state.get("disk_floor", 0)):
        return Health("red", "disk")
    if state.get("troubles"):
        return Health("yellow", "trouble")
    waited = float(state.get("oldest_pending_seconds") or 0.0)
    if waited > STUCK_SECONDS:
        return Health("yellow", "stuck", {"minutes": round(waited / 60)})
    if any(dict(state.get("sink_failures") or {}).values()):
        return Health("yellow", "outputs")
    return Health("green", "finished" if state.get("state") == "finished" else "well")


def degrees() -> float | None:
    """The hottest sensor of the machine, degrees Celsius; None where it has none."""
    found = []
    for path in Path("/sys/class/thermal").glob("thermal_zone*/temp"):
        try:
            value = int(path.read_text(encoding="ascii")) / 1000
        except (OSError, ValueError):
            continue
        if 0 < value < 150:
            found.append(value)
    return max(found) if found else None


def facts(out: Path, state: Mapping[str, Any], waiting: int) -> dict[str, str]:
    """What the administrator sees below the light, by the key of its name; what is not known is left out."""
    said: dict[str, str] = {"waiting": str(waiting)}
    try:
        usage = shutil.disk_usage(out)
        said["disk"] = f"{usage.free / 1e9:.1f} / {usage.total / 1e9:.1f} GB"
    except OSError:
        pass
    hot = degrees()
    if hot is not None:
        said["heat"] = f"{hot:.0f} °C"
    last = state.get("last_result") or {}
    if isinstance(last, Mapping) and last.get("created"):
        said["last_image"] = str(last["created"]).replace("T", " ").replace("Z", " UTC")
    counts: Mapping[str, int] = state.get("results") or {}
    if counts:
        said["read"] = str(sum(count for name, count in counts.items() if name.startswith("done")))
        said["not_read"] = str(sum(count for name, count in counts.items() if not name.startswith("done")))
    if state.get("model"):
        said["model"] = f"{state['model']} ({state.get('variant')}, {state.get('provider')})"
    if state.get("bundle"):
        said["bundle"] = str(state["bundle"])[:12]
    if state.get("written"):
        said["beat"] = str(state["written"]).replace("T", " ").replace("Z", " UTC")
    said["clock"] = time.strftime("%Y-%m-%d %H:%M %Z")
    return said


def read_box(out: Path) -> tuple[Health, dict[str, Any]]:
    """The light now, and the heartbeat that it is of."""
    state = heartbeat(out)
    return health(state), state
