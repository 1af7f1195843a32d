"""Back to the other slot: when an operator says so, or when a slot on trial has failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgedx.core.bundle.manifest import Bundle
from edgedx.core.errors import GateRefused, InputOutputError
from edgedx.core.files import storage_error

from .health import Health, examine_fresh, prove_fresh, serving_variant
from .install import Prove, event, reached
from .slots import active_slot, hold, open_slot, other, recover, switch
from .state import Slot, State, read_state, write_state
from .trust import pinned

ROLLBACK_STEPS = ("open", "golden", "health", "ratchet", "switch", "record")


@dataclass(frozen=True)
class RolledBack:
    """What `rollback` did: which slot and bundle are active now, and which bundle was left (None: damaged)."""

    current: Path
    slot: Slot
    digest: str
    name: str
    left: str | None
    golden_difference: float


def rollback(
    root: Path,
    *,
    examine: Callable[[Path, Slot], Health] = lambda root, slot: examine_fresh(root, slot),
    prove: Prove | None = None,
) -> RolledBack:
    """Make the other slot active, once it is verified, proven and examined. The ratchet does not go down.

    Raises
    ------
    GateRefused
        The other slot is not signed by a pinned key, computes other values, or does not work.
    BundleError
        There is no other slot, or it is damaged.
    """
    with hold(root):
        try:
            recover(root)
            return _rollback(root, examine, prove or prove_fresh)
        except OSError as error:
            raise storage_error(root, error) from error


def _rollback(root: Path, examine: Callable[[Path, Slot], Health], prove: Prove) -> RolledBack:
    before = active_slot(root)
    slot = other(before) if before is not None else "a"
    reached("open")
    bundle = open_slot(root, slot, pinned(root))
    reached("golden")
    difference = prove(bundle, serving_variant(bundle))
    reached("health")
    health = examine(root, slot)
    if not health.ok:
        raise GateRefused(
            f"slot {slot} does not work on this device: {health.why}. "
            + (f"Slot {before} stays active" if before else "Nothing is active, as before"),
            next_step="see `edgedx doctor`; install a bundle that works",
        )
    state = read_state(root)
    left = None if before is None else _open_if_whole(root, before)
    reached("ratchet")
    if left is not None:  # it was active, whether or not a killed install could still say so
        state = state.raised(left.manifest.name, left.manifest.version)
        write_state(root, state)
    reached("switch")
    switch(root, slot)
    reached("record")
    # No trial: going back on its own to what an operator has just left would be wrong.
    write_state(root, state.with_trial(None).with_event(event("rollback", slot, bundle)))
    name = f"{bundle.manifest.name} {bundle.manifest.version}"
    gone = None if left is None else f"{left.manifest.name} {left.manifest.version}"
    return RolledBack(root / "current", slot, bundle.digest, name, gone, difference)


def go_back(root: Path, slot: Slot, bundle: Bundle, state: State, why: str) -> None:
    """Switch to `slot`, which was verified, and remember why. The caller holds the slots."""
    reached("switch")
    switch(root, slot)
    reached("record")
    write_state(root, state.with_trial(None).with_event(event("revert", slot, bundle, why=why)))


def _open_if_whole(root: Path, slot: Slot) -> Bundle | None:
    try:
        return open_slot(root, slot, ())
    except InputOutputError:
        return None
