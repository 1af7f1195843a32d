"""What the scanner's results say about themselves: collected for `edgedx monitor`, and looked at from time to time."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgedx.core.bundle.manifest import Bundle
from edgedx.core.bundle.reference import Reference, parse_reference
from edgedx.core.errors import EdgedxError, InputOutputError, UsageError
from edgedx.core.files import canonical_json, read_json, storage_error, sync_folder, write_json
from edgedx.device.machine.database import BESIDE, DamagedDatabase
from edgedx.device.monitor.compare import compare
from edgedx.device.monitor.examine import examine
from edgedx.device.monitor.light import EXAMINATION
from edgedx.device.monitor.sample import LEAST, MOST, Sample, window
from edgedx.device.monitor.store import MONITOR, Watched
from edgedx.device.monitor.streams import Observation, observe
from edgedx.device.monitor.usual import FIRST, Usual, usual_of
from edgedx.device.scanner.sinks import ScannedImage, Sink

from .audit_file import AuditFile

log = logging.getLogger("edgedx.scan")

LOOK_SECONDS, LOOK_IMAGES = 3600.0, 200
"""A look is taken, where images came, after so long or so many; it takes well under a second."""
_ASK_USUAL = 50
"""Images between two questions whether the site's own reference can be taken."""
ACCEPTED = {"event": "110100", "type": "110138", "meaning": "Monitoring reference accepted"}


class Watch(Sink):
    """A sink that records what is watched of each result, one commit a batch, and writes ``monitor.json`` each hour.

    A damaged database is put aside and begun anew: what is watched is worth no result.

    Parameters
    ----------
    clock : callable
        Seconds that no clock change moves.
    """

    name = "monitor"

    def __init__(self, out: Path, bundle: Bundle, clock: Callable[[], float] = time.monotonic) -> None:
        self._out, self._bundle, self._clock = out, bundle, clock
        self._batch: list[Observation] = []
        self._variant: str | None = None
        self._next_look, self._since_look, self._since_usual = float("-inf"), 0, _ASK_USUAL
        self._open()

    def _open(self) -> None:
        try:
            self._store = Watched(self._out / MONITOR)
            if self._store.check(quick=True) != "ok":
                self._store.close()
                raise DamagedDatabase(f"{MONITOR} is damaged")
        except DamagedDatabase:
            put_aside(self._out / MONITOR)
            log.error("what was watched is damaged and was put aside: it begins anew")
            self._store = Watched(self._out / MONITOR)
        self._salt = self._store.salt()
        self._model = None if self._variant is None else self._begin(self._variant)

    def _begin(self, variant: str) -> int:
        manifest, part = self._bundle.manifest, self._bundle.manifest.reference.get(variant)
        reference = None
        if part is not None:
            found = parse_reference(self._bundle.read(part), f"{self._bundle.path}: part {part}")
            reference = canonical_json(found.model_dump(mode="json")).decode()
        about = {"name": f"{manifest.name} {manifest.version}", "task": manifest.task, "classes": manifest.classes,
                 "positive": manifest.positive}  # fmt: skip
        return self._store.begin(self._bundle.digest, variant, about, reference)

    def publish(self, reading: ScannedImage, path: Path, source: Path | None) -> None:
        """Take the figures of one result."""
        manifest, variant = self._bundle.manifest, reading.result.runtime.variant
        if self._model is None or variant != self._variant:
            self._model, self._variant = self._begin(variant), variant
        self._batch.append(
            observe(reading.result, reading.canvas, reading.facts, task=manifest.task, positive=manifest.positive,
                    salt=self._salt, own=manifest.operating_points[0].threshold)
        )  # fmt: skip

    def flush(self) -> None:
        """Record the batch durably; now and then take the site's own reference, and look."""
        batch, self._batch = self._batch, []
        if not batch or self._model is None:
            return
        try:
            new = self._store.add(self._model, batch)
            self._since_usual, self._since_look = self._since_usual + new, self._since_look + new
            if self._since_usual >= _ASK_USUAL:
                self._since_usual = 0
                self._take_usual(self._model)
        except DamagedDatabase:
            self._store.close()
            self._open()
            return
        if self._clock() >= self._next_look or self._since_look >= LOOK_IMAGES:
            self.look()

    def look(self) -> None:
        """Write what there is to be said now."""
        self._next_look, self._since_look = self._clock() + LOOK_SECONDS, 0
        try:
            write_json(self._out / EXAMINATION, examine(self._out))
        except EdgedxError as error:
            log.error("what was watched cannot be looked at: %s", type(error).__name__)

    def _take_usual(self, model: int) -> None:
        known = self._store.model()
        if known is None or readable_usual(known.usual) or self._store.count(model) < FIRST:
            return
        sample = Sample(self._store.first(model, FIRST))
        self._store.keep_usual(model, usual_of(sample).model_dump_json())

    def close(self) -> None:
        """The scanner ends: a last look, where images came since the one before."""
        try:
            if self._since_look:
                self.look()
        finally:
            self._store.close()


def readable_usual(text: str | None) -> bool:
    """Whether the site's own reference has been taken, in a form that this edgedx reads."""
    try:
        return text is not None and bool(Usual.model_validate_json(text))
    except ValidationError:
        return False


def put_aside(path: Path) -> Path:
    """Give a damaged database a name of its own, with what lies beside it."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    try:
        os.replace(path, aside)
        for ending in BESIDE:
            if (beside := path.with_name(path.name + ending)).exists():
                os.replace(beside, aside.with_name(aside.name + ending))
        sync_folder(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error
    return aside


def accept_as_usual(out: Path) -> dict[str, Any]:
    """Take the window of now for what is usual at this site, durably and audited; returns the examination after it.

    Differences from the bundle that stand now are no alarm any more, unless they grow.

    Raises
    ------
    UsageError
        Fewer than `sample.LEAST` images.
    InputOutputError, StorageError
        Nothing was watched, or it cannot be written.
    """
    examine(out)  # refuses what cannot be read before anything is written
    store = Watched(out / MONITOR)
    try:
        model = store.model()
        sample = Sample([]) if model is None else window(store.images(model.number, last=MOST))
        if model is None or len(sample) < LEAST:
            raise UsageError(f"{len(sample)} images are too few to say what is usual",
                             next_step=f"wait for {LEAST - len(sample)} more")  # fmt: skip
        known = known_differences(sample, model.reference)
        audit = AuditFile(out)
        try:
            audit.append(ACCEPTED, user=os.getuid(), bundle=model.bundle, images=len(sample), streams=sorted(known))
            audit.flush()
        finally:
            audit.close()
        store.keep_usual(model.number, usual_of(sample).model_dump_json(), canonical_json(known).decode())
    finally:
        store.close()
    found = examine(out)
    write_json(out / EXAMINATION, found)
    return found


def known_differences(sample: Sample, reference: str | None) -> dict[str, float]:
    """Effects of the alarms that a window has against the bundle, by stream."""
    if reference is None:
        return {}
    try:
        made = Reference.model_validate_json(reference)
    except ValidationError:  # of another edgedx
        return {}
    found = compare(sample, made, None)
    return {one.stream: round(one.shift.effect, 6) for one in found if one.alarm}


def read_examination(out: Path) -> dict[str, Any] | None:
    """What the scanner found at its last look, shortened for a status; None where it has not looked."""
    try:
        found = read_json(out / EXAMINATION)
        return {
            "written": found["written"],
            "light": found["light"],
            "window": found["window"]["images"],
            "streams": [{name: one[name] for name in ("stream", "against", "effect", "floor", "p_holm", "alarm")}
                        for one in found["streams"]],
            "prevalence": {name: {key: one[key] for key in ("value", "low", "high", "built")}
                           for name, one in found["prevalence"].items()},
        }  # fmt: skip
    except (InputOutputError, KeyError, TypeError):
        return None
