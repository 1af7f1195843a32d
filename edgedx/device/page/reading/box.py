"""Is the box well? One light, one sentence, what to do; and the facts behind it, for the administrator."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from edgedx.core.errors import InputOutputError
from edgedx.core.files import read_regular
from edgedx.core.messages import knows, say
from edgedx.device.monitor.light import EXAMINATION, light

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
        ``health.CODE`` is the sentence, ``health_do.CODE`` what to do; of what the monitor says, ``light.CODE`` and
        ``light.CODE.do``.
    values : mapping
        For the sentences.
    monitor : bool
        Whether it is of the images and answers, not of the machine.
    """

    colour: Colour
    code: str
    values: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    monitor: bool = False

    def sentence(self, language: str) -> str:
        """What is, and since when where that is known."""
        said = say(language, f"light.{self.code}" if self.monitor else f"health.{self.code}", **self.values)
        return f"{said} {say(language, 'light.since', since=self.values['since'])}" if "since" in self.values else said

    def do(self, language: str) -> str:
        """What to do."""
        return say(language, f"light.{self.code}.do" if self.monitor else f"health_do.{self.code}", **self.values)


_WEIGHT = {"red": 0, "yellow": 1, "grey": 2, "green": 3}


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
    # Nothing is wrong where a scanner ended in order, but what is sent now is not read.
    return Health("grey", "finished") if state.get("state") == "finished" else Health("green", "well")


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


def drift(out: Path) -> Health | None:
    """What the monitor says of images and answers; None where it raises no alarm."""
    seen = light(out)
    if not seen.alarm or not knows(f"light.{seen.code}"):
        return None
    return Health(seen.colour, seen.code, seen.values, monitor=True)


def read_box(out: Path) -> tuple[list[Health], dict[str, Any]]:
    """All that is to be said now, the gravest first, and the heartbeat."""
    state = heartbeat(out)
    said = [one for one in (health(state), drift(out)) if one is not None]
    return sorted(said, key=lambda one: _WEIGHT[one.colour]), state


@dataclass(frozen=True)
class Stream:
    """One thing that is watched, for the administrator.

    Attributes
    ----------
    name, against : str
        As `edgedx monitor` calls them.
    effect : float
    alarm : bool
    """

    name: str
    against: str
    effect: float
    alarm: bool


def streams(out: Path) -> list[Stream]:
    """What the monitor compared at its last look."""
    try:
        found = json.loads(read_regular(out / EXAMINATION, 4 << 20))["streams"]
        return [
            Stream(str(one["stream"]), str(one["against"]), float(one["effect"]), bool(one["alarm"])) for one in found
        ]
    except (InputOutputError, ValueError, KeyError, TypeError):
        return []


def installed(root: Path | None) -> str:
    """When the last model was installed, and which; empty where that is not known."""
    if root is None:
        return ""
    try:
        history = json.loads(read_regular(root / "state.json", 4 << 20))["history"]
        last = [one for one in history if one["action"] == "install"][-1]
        return f"{str(last['at'])[:10]}: {last['name']} {last['version']}"
    except (InputOutputError, ValueError, KeyError, TypeError, IndexError):
        return ""
