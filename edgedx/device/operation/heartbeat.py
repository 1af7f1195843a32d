"""The scanner's heartbeat: what it is doing, in a file that others may read at any time without disturbing it.

It is written by the loop that does the work, so a scanner that hangs has no heartbeat. It need not survive a power cut
and is not synced; where nothing changes it is written once a minute, because SD cards wear out.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedx.core.bundle.local_point import read_points
from edgedx.core.errors import InputOutputError
from edgedx.core.files import read_json, storage_error
from edgedx.core.stats.points import origin_of
from edgedx.device.machine.alive import FINISHED, STALE_SECONDS, STATUS, STOPPED, boot_id, process_exists
from edgedx.device.monitor.light import Light
from edgedx.device.pacs.outbox import counts_of
from edgedx.device.scanner.scanner import STUCK_SECONDS
from edgedx.device.scanner.sinks import ScannedImage, Sink

from .audit_file import ASIDE
from .notify import notify
from .prometheus import metrics_text
from .retention_record import read_retention
from .watch import read_examination

if TYPE_CHECKING:
    from edgedx.device.scanner.scanner import Scanner

METRICS = "metrics.prom"
SCHEMA_VERSION = 1
BUSY_SECONDS, IDLE_SECONDS = 10.0, 60.0
_STAGES = ("decode", "preprocess", "infer")


class Heartbeat(Sink):
    """A sink that counts, and the beat of the work loop.

    Parameters
    ----------
    out : Path
        Gets ``status.json`` and ``metrics.prom`` (the text format that node_exporter collects).
    show : callable, optional
        Is given the metrics' text at each beat.
    clock : callable
        Seconds since the machine started, which no clock change moves.
    """

    name = "heartbeat"

    def __init__(
        self, out: Path, show: Callable[[str], None] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._out, self._show, self._clock = out, show, clock
        self._seconds = dict.fromkeys(_STAGES, 0.0)
        self._images = 0
        self._last: dict[str, Any] | None = None
        self._oldest: tuple[int, float] | None = None
        self._written, self._told = float("-inf"), ""
        self._begun = clock()

    def publish(self, reading: ScannedImage, path: Path, source: Path | None) -> None:
        """Count one result."""
        result, self._images = reading.result, self._images + 1
        for stage in _STAGES:
            self._seconds[stage] += (getattr(result.runtime, f"{stage}_ms") or 0.0) / 1e3
        self._last = {
            "sequence": result.sequence,
            "status": result.status,
            "code": result.reason.code if result.reason else None,
            "created": result.created,
            "at": self._clock(),
        }

    def close(self) -> None:
        """Nothing is kept open; `stopped` says that the scanner ends in order."""

    def beat(self, scanner: Scanner) -> None:
        """Tell systemd's watchdog, and write the files where it is time to."""
        notify("WATCHDOG=1")
        now = self._clock()
        if now - self._written < BUSY_SECONDS:
            return
        state = self._look(scanner, now)
        summary = json.dumps({key: state[key] for key in ("state", "results", "pending", "troubles")}, sort_keys=True)
        if summary == self._told and now - self._written < IDLE_SECONDS:
            return
        self._write(state)
        self._written, self._told = now, summary
        notify(f"STATUS={state['state']}; {state['pending']} pending, {sum(state['results'].values())} results")

    def stopped(self, scanner: Scanner, *, finished: bool = False) -> None:
        """The last beat; `finished` where it was to read what is there, and has."""
        if scanner.out_is_there():
            self._write({**self._look(scanner, self._clock()), "state": FINISHED if finished else STOPPED})

    def _look(self, scanner: Scanner, now: float) -> dict[str, Any]:
        journal, manifest = scanner.journal, scanner.bundle.manifest
        point = scanner.predictor.point
        first = scanner.oldest_pending()
        if first is None:
            self._oldest = None
        elif self._oldest is None or self._oldest[0] != first:
            self._oldest = (first, now)
        return {
            "schema_version": SCHEMA_VERSION,
            "pid": os.getpid(),
            "boot": boot_id(),
            "at": now,
            "started": self._begun,
            "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "state": "waiting for disk" if scanner.disk_is_low else "scanning",
            "results": _ever(journal.codes(), read_retention(self._out)["removed"]),
            "pending": journal.count_pending(),
            "absent": scanner.absent(),
            "oldest_pending_seconds": None if self._oldest is None else round(now - self._oldest[1], 1),
            "last_result": self._last,
            "read_by_this_process": self._images,
            "seconds": {stage: round(value, 3) for stage, value in self._seconds.items()},
            "sink_failures": scanner.sink_failures(),
            "troubles": scanner.troubles(),
            "monitor": read_examination(self._out),
            "disk_free": shutil.disk_usage(self._out).free,
            "disk_floor": scanner.options.disk_floor,
            "inbox": str(scanner.inbox.absolute()),
            "model": f"{manifest.name} {manifest.version}",
            "bundle": scanner.bundle.digest,
            "root": None if scanner.bundle.root is None else str(scanner.bundle.root.absolute()),
            "operating_point": point.name,
            "origin": origin_of(point),
            "threshold": point.threshold,
            "variant": scanner.variant,
            "provider": scanner.predictor.runner.provider,
        }

    def _write(self, state: dict[str, Any]) -> None:
        text = metrics_text(state)
        for name, content in ((STATUS, json.dumps(state, indent=2) + "\n"), (METRICS, text)):
            partial = self._out / f".{name}.tmp"
            try:
                partial.write_text(content, encoding="utf-8")
                os.replace(partial, self._out / name)
            except OSError as error:
                raise storage_error(self._out / name, error) from error
        if self._show is not None:
            self._show(text)


def _ever(there: dict[str, int], removed: dict[str, int]) -> dict[str, int]:
    """Results of the ledger and those that retention has removed: a counter never goes down."""
    return dict(sorted((Counter(there) + Counter(removed)).items()))


def read_heartbeat(out: Path) -> dict[str, Any]:
    """The last beat of the scanner that writes to `out`, with ``running``, ``age_seconds``, ``outbox``,
    ``audit_put_aside``, ``retention`` and ``monitor`` added.

    Raises
    ------
    InputOutputError
        No scanner has run there, or the file is damaged.
    """
    path = out / STATUS
    if not path.is_file():
        raise InputOutputError(
            f"no scanner has written to {out}: no {STATUS}", next_step="name the --out that `edgedx scan` was given"
        )
    state = read_json(path)
    if not isinstance(state, dict) or state.get("schema_version") != SCHEMA_VERSION:
        raise InputOutputError(f"{path} is not of this version", next_step="is another edgedx scanning there?")
    same_start = state["boot"] == boot_id()
    age = time.monotonic() - state["at"] if same_start else None
    alive = same_start and state["state"] not in (STOPPED, FINISHED) and process_exists(int(state["pid"]))
    return {
        **state,
        "age_seconds": None if age is None else round(age, 1),
        "running": bool(alive and age is not None and age < STALE_SECONDS),
        "outbox": counts_of(out),
        "audit_put_aside": len(list(out.glob(ASIDE))),
        "retention": read_retention(out),
        "threshold_changed": _threshold_changed(state),
        "monitor": read_examination(out),
    }


def _threshold_changed(state: dict[str, Any]) -> bool:
    """Whether the site has chosen, cleared or damaged its threshold since the scanner began, which keeps its own."""
    root = state.get("root")
    if root is None or not Path(root).is_dir():
        return False
    try:
        local = read_points(Path(root)).of(state["bundle"])
    except InputOutputError:
        return True
    chosen = {} if local is None else {name: one.value for name, one in local.thresholds.items()}
    if state["origin"] == "bundle":
        return local is not None
    return local is None or any(state["threshold"].get(name) != value for name, value in chosen.items())


def scanned_inbox(out: Path) -> Path:
    """The inbox of the scanner that writes to `out`, as its last beat names it.

    Raises
    ------
    InputOutputError
        No scanner has run there, or none that said so.
    """
    inbox = read_heartbeat(out).get("inbox")
    if not isinstance(inbox, str):
        raise InputOutputError(f"{out / STATUS} names no inbox", next_step="give it: --inbox FOLDER")
    return Path(inbox)


def light_of(state: dict[str, Any]) -> Light | None:
    """The monitor's light in a status; None where no scanner has looked yet."""
    found = (state.get("monitor") or {}).get("light")
    return None if found is None else Light(found["colour"], found["code"], found["values"])


def complaints(state: dict[str, Any]) -> list[str]:
    """What a person should look at, in order of weight; empty where all is well."""
    said = []
    if state["state"] == STOPPED:
        said.append("the scanner was stopped")
    elif state["state"] != FINISHED and not state["running"]:
        said.append("the scanner does not run: it died, hangs, or the machine was started again without it")
    if state["disk_free"] < state["disk_floor"]:
        said.append("the disk is below its floor: no work is taken until there is space")
    if state.get("threshold_changed") and state.get("running"):
        said.append("this site's threshold was changed after the scanner began: restart it, or see `edgedx threshold`")
    said += state.get("troubles", [])
    if (state["oldest_pending_seconds"] or 0.0) > STUCK_SECONDS:
        said.append(f"the first file has waited for {state['oldest_pending_seconds'] / 60:.0f} minutes for its result")
    said += [f"{count} results without their {sink}" for sink, count in state["sink_failures"].items()]
    if (light := light_of(state)) is not None and light.alarm:
        said.append(f"monitor, {light.colour}: {' '.join(light.sentences())} See `edgedx monitor`")
    if count := state.get("audit_put_aside"):
        said.append(f"{count} audit logs were put aside, as their end was not ours: see `edgedx scan audit`")
    if (state.get("outbox") or {}).get("failed"):
        said.append(f"{state['outbox']['failed']} objects that the PACS refused: see `edgedx scan outbox`")
    return said
