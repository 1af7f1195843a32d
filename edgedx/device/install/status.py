"""What is installed on a device, whom it trusts, and what happened last. Reads; changes nothing."""

from __future__ import annotations

import calendar
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edgedx.core.bundle.local_point import point_of, read_points
from edgedx.core.bundle.signing import PublicKey
from edgedx.core.errors import EdgedxError
from edgedx.core.stats.points import origin_of
from edgedx.device.runtime.engine_cache import EngineCache

from .health import serving_variant
from .slots import SLOTS, active_slot, open_slot, read_record, slot_folder
from .state import Event, Slot, State, read_state
from .trial import MAX_STARTS
from .trust import pinned


@dataclass(frozen=True)
class SlotStatus:
    """One slot.

    Attributes
    ----------
    threshold, threshold_origin
        In force where this slot is active: by class, and ``bundle`` or ``local``, who chose it.
    problem : str
        Why it cannot serve, in a sentence; empty where it can as far as signature and hashes tell.
    signed_by : str or None
        Name and id of the pinned key.
    age_days : float or None
        Since it was installed, by the wall clock.
    """

    slot: Slot
    active: bool
    problem: str
    name: str | None = None
    version: str | None = None
    digest: str | None = None
    profile: str | None = None
    variant: str | None = None
    signed_by: str | None = None
    unsigned: bool = False
    installed: str | None = None
    age_days: float | None = None
    golden_difference: float | None = None
    bytes: int | None = None
    threshold: dict[str, float] | None = None
    threshold_origin: str | None = None


@dataclass(frozen=True)
class DeviceStatus:
    """All of a device.

    Attributes
    ----------
    trial_starts : int or None
        Starts of the active slot that did not end in order; None where it is not on trial.
    engines : tuple of str
        What was compiled on this machine, in words.
    problems : tuple of str
        What an operator should see to.
    """

    active: SlotStatus | None
    other: SlotStatus | None
    trial_starts: int | None
    trial_limit: int
    ratchet: dict[str, str]
    keys: tuple[PublicKey, ...]
    engines: tuple[str, ...]
    history: tuple[Event, ...]
    problems: tuple[str, ...]


def device_status(root: Path) -> DeviceStatus:
    """Read the status of a device; what is damaged is told in ``problems`` and not raised."""
    problems: list[str] = []
    keys: list[PublicKey] | None = None
    try:
        keys = pinned(root)
    except EdgedxError as error:
        problems.append(error.message)
    try:
        state = read_state(root)
    except EdgedxError as error:
        problems.append(error.message)
        state = State()
    active = active_slot(root)
    found = {
        slot: _slot(root, slot, slot == active, keys)
        for slot in SLOTS
        if slot == active or slot_folder(root, slot).is_dir()
    }
    serving = found.get(active) if active is not None else None
    if serving is not None and serving.problem:
        problems.append(serving.problem)
    if serving is not None and serving.unsigned:
        problems.append("the active bundle was installed unsigned: nothing says who made it")
    if keys is not None and len(keys) == 1:
        problems.append(f"only one key is trusted, {keys[0]}: if it is lost, this device must be visited")
    trial = state.trial
    on_trial = serving is not None and trial is not None and (trial.slot, trial.digest) == (active, serving.digest)
    if serving is not None and serving.digest is not None:
        problems += _stale(root, serving.digest)
    return DeviceStatus(
        active=serving,
        other=next((one for slot, one in found.items() if slot != active), None),
        trial_starts=trial.starts if on_trial and trial is not None else None,
        trial_limit=MAX_STARTS,
        ratchet=dict(state.ratchet),
        keys=tuple(keys or ()),
        engines=tuple(
            "damaged" if key is None else f"{key.precision}, {key.runtime} {key.runtime_version}, {key.gpu}"
            for _, key in EngineCache(root / "engines").entries()
        ),
        history=tuple(state.history),
        problems=tuple(problems),
    )


def _slot(root: Path, slot: Slot, active: bool, keys: list[PublicKey] | None) -> SlotStatus:
    problem = "" if keys is not None else "it cannot be verified: a pinned key is damaged"
    try:
        bundle = open_slot(root, slot, keys or ())
    except EdgedxError as error:
        problem = error.message
        try:
            bundle = open_slot(root, slot, ())
        except EdgedxError:
            return SlotStatus(slot, active, problem)
    record, manifest = read_record(bundle.path), bundle.manifest
    point = None
    with suppress(EdgedxError):  # damaged: see `_stale`
        point = point_of(bundle)
    return SlotStatus(
        slot, active, problem,
        name=manifest.name,
        version=manifest.version,
        digest=bundle.digest,
        profile=manifest.profile,
        variant=serving_variant(bundle) or manifest.default_variant,
        signed_by=None if bundle.signed_by is None else str(bundle.signed_by),
        unsigned=bundle.signed_by is None,
        installed=None if record is None else record.at,
        age_days=None if record is None else _age(record.at),
        golden_difference=None if record is None else record.golden_difference,
        bytes=sum(part.bytes for part in manifest.parts.values()),
        threshold=None if point is None else point.threshold,
        threshold_origin=None if point is None else origin_of(point),
    )  # fmt: skip


def _stale(root: Path, digest: str) -> list[str]:
    """What is to be said of the site's own threshold."""
    try:
        points = read_points(root)
    except EdgedxError as error:
        return [f"{error.message}; no scanner starts on it"]
    if not points.points or points.of(digest) is not None:
        return []
    return [
        f"this site's threshold was chosen for {points.points[0].model}: the active bundle decides at its own until "
        "one is chosen for it, or carried over (`edgedx threshold set`)"
    ]


def _age(at: str) -> float | None:
    try:
        return round((time.time() - calendar.timegm(time.strptime(at, "%Y-%m-%dT%H:%M:%SZ"))) / 86400, 2)
    except ValueError:
        return None
