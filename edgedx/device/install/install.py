"""Put a bundle on a device: verify, stage, prove, switch in one step, examine, and go back if that fails.

Each step is named (`STEPS`) and told to the log before it begins. A kill at any of them leaves one whole slot active:
the old one before ``switch``, the new one after it.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgedx._version import __version__
from edgedx.core.bundle.container import SIGNATURES, signature_lines
from edgedx.core.bundle.manifest import Bundle, check_models, open_bundle, open_folder
from edgedx.core.bundle.signing import PublicKey
from edgedx.core.errors import EdgedxError, GateRefused, InputOutputError
from edgedx.core.files import storage_error, write_text
from edgedx.core.settings.profile import list_profiles, load_profile
from edgedx.core.version import version_key
from edgedx.device.machine.fits import check_device
from edgedx.device.machine.hardware import Hardware, read_hardware

from .health import Health, examine_fresh, prove_fresh
from .slots import (
    Record,
    active_slot,
    hold,
    move_into_slot,
    open_slot,
    other,
    recover,
    restore,
    settle,
    slot_folder,
    stage,
    switch,
    write_record,
)
from .state import Event, Slot, Trial, check_not_older, now, read_state, write_state
from .trust import check_policy, pinned

log = logging.getLogger("edgedx.install")

STEPS = (
    ("verify", "models", "device", "version", "stage", "reverify", "golden")
    + ("place", "trial", "switch", "health", "record", "clean")
)  # fmt: skip
REVERT_STEPS = ("revert", "forget", "restore")

Examine = Callable[[Path], Health]
Prove = Callable[[Bundle, "str | None"], float]


@dataclass(frozen=True)
class Installed:
    """What `install_bundle` did.

    Attributes
    ----------
    current : Path
        Symlink to the active version; what ``edgedx scan --bundle`` takes.
    slot : str
        Where it is.
    name : str
        Name and version.
    golden_difference : float
        Greatest difference of logits on the golden samples, here.
    signed_by : str or None
        Name and id of the pinned key that has signed; None where no key is pinned.
    pinned_keys : int
        How many keys this device trusts.
    already : bool
        It was active before, and was only proven again.
    """

    current: Path
    slot: Slot
    digest: str
    name: str
    variant: str
    golden_difference: float
    signed_by: str | None
    pinned_keys: int
    already: bool


def install_bundle(
    path: Path,
    root: Path,
    *,
    variant: str | None = None,
    allow_unsigned: bool = False,
    allow_older: bool = False,
    any_device: bool = False,
    hardware: Hardware | None = None,
    examine: Examine = examine_fresh,
    prove: Prove | None = None,
) -> Installed:
    """Install a bundle below `root`; whatever fails, the version that was active stays active.

    Parameters
    ----------
    variant : str, optional
        The model that will serve here, and so the one that is proven; the bundle's default unless given.
    allow_unsigned : bool
        Install although no key is pinned. Where one is, its signature is asked for all the same.
    allow_older : bool
        Install although a higher version was active before.
    any_device : bool
        Install although it was made for another kind of machine.
    hardware : Hardware, optional
        This machine; read unless given.
    examine : callable
        Judges the active slot after the switch.
    prove : callable, optional
        Runs the golden samples of what was staged; `prove_fresh`, which has a time limit, unless given.

    Raises
    ------
    GateRefused
        Signature, version, golden samples or health say no.
    BundleError, ProfileError, ProviderMissing, StorageError
        See `open_bundle`, `check_device`, `open_runner`, `atomic_write`.
    """
    reached("verify")
    keys = pinned(root)
    bundle = open_bundle(path, trusted=keys)
    check_policy(keys, path, root, allow_unsigned=allow_unsigned)
    reached("models")
    check_models(bundle)
    bundle.model(variant)  # for its error
    reached("device")
    if not any_device:
        name = bundle.manifest.profile
        known = load_profile(name) if name in list_profiles() else None  # never a path out of a bundle
        check_device(bundle.manifest, hardware or read_hardware(), known)
    with hold(root):
        try:
            recover(root)
            return _Installation(root, bundle, keys, variant, examine, prove or prove_fresh).run(
                allow_older=allow_older
            )
        except OSError as error:
            raise storage_error(root, error) from error


def reached(step: str) -> None:
    """Say which step begins; tests listen to the log and kill there."""
    log.debug("step %s", step)


class _Installation:
    """What the steps share; the slots are held."""

    def __init__(
        self, root: Path, bundle: Bundle, keys: list[PublicKey], variant: str | None, examine: Examine, prove: Prove
    ) -> None:
        self.root, self.bundle, self.keys, self.examine, self.prove = root, bundle, keys, examine, prove
        self.variant = variant or bundle.manifest.default_variant
        self.before = active_slot(root)
        self.state = read_state(root).with_keys_required() if keys else read_state(root)

    def run(self, *, allow_older: bool) -> Installed:
        manifest = self.bundle.manifest
        active = self._active()
        reached("version")
        known = None if active is None else (active.manifest.name, active.manifest.version)
        check_not_older(manifest.name, manifest.version, self.state.ratchet, known, allow_older=allow_older)
        if active is not None and self.before is not None and active.digest == self.bundle.digest:
            return self._again(self.before, active)
        slot = other(self.before) if self.before is not None else "a"
        try:
            difference = self._fill(slot)
            reached("trial")
            write_state(self.root, self.state.with_trial(Trial(slot=slot, digest=self.bundle.digest)))
            reached("switch")
            switch(self.root, slot)
            reached("health")
            health = self.examine(self.root)
            if not health.ok:
                raise self._unhealthy(health.why)
            reached("record")
            self._record_in_state(slot, active)
        except BaseException as error:  # Ctrl-C too
            self._take_back(slot, error)
            raise
        reached("clean")
        settle(self.root, slot)
        return self._installed(slot, difference, already=False)

    def _active(self) -> Bundle | None:
        """The active bundle, where it is whole; whether it is trusted still does not matter here."""
        try:
            return None if self.before is None else open_slot(self.root, self.before, ())
        except InputOutputError:
            return None

    def _again(self, slot: Slot, active: Bundle) -> Installed:
        """The same bundle is active already: prove it again, and take over a new signature or variant."""
        reached("golden")
        difference = self.prove(active, self.variant)
        folder = slot_folder(self.root, slot)
        write_text(folder / SIGNATURES, signature_lines(self.bundle.signatures))
        write_record(folder, self._record(difference))
        name, version = self.bundle.manifest.name, self.bundle.manifest.version
        write_state(self.root, self.state.raised(name, version))  # an install may have been killed before it did
        return self._installed(slot, difference, already=True)

    def _fill(self, slot: Slot) -> float:
        reached("stage")
        staging = stage(self.root, self.bundle)
        try:
            reached("reverify")
            staged = open_folder(staging, trusted=self.keys)
            reached("golden")
            difference = self.prove(staged, self.variant)
            write_record(staging, self._record(difference))
            reached("place")
            move_into_slot(self.root, staging, slot)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return difference

    def _record_in_state(self, slot: Slot, active: Bundle | None) -> None:
        """Raise the ratchet: only now, as a version that never worked must not bar those below it."""
        state = self.state.with_trial(Trial(slot=slot, digest=self.bundle.digest))
        for bundle in (active, self.bundle):  # the old one too, had a kill come before it was recorded
            if bundle is not None:
                state = state.raised(bundle.manifest.name, bundle.manifest.version)
        manifest = self.bundle.manifest
        older = version_key(manifest.version) < version_key(state.ratchet[manifest.name])
        why = f"below {state.ratchet[manifest.name]}, by --allow-older" if older else ""
        write_state(self.root, state.with_event(self._event("install", slot, why)))

    def _take_back(self, slot: Slot, error: BaseException) -> None:
        """Leave slots and link as they were before."""
        reached("revert")
        switched = active_slot(self.root) == slot
        if switched:
            switch(self.root, self.before)
        reached("forget")
        if switched:
            why = error.message if isinstance(error, EdgedxError) else type(error).__name__
            try:
                write_state(self.root, self.state.with_event(self._event("revert", slot, why)))
            except EdgedxError:  # what matters is done; a trial of an inactive slot is ignored
                log.warning("the failed installation could not be recorded")
        reached("restore")
        restore(self.root, slot)

    def _unhealthy(self, why: str) -> GateRefused:
        manifest = self.bundle.manifest
        kept = f"slot {self.before} is active again" if self.before else "nothing is active, as before"
        return GateRefused(
            f"{manifest.name} {manifest.version} does not work on this device: {why}. It was taken back; {kept}",
            next_step="see `edgedx doctor` and `edgedx status`",
        )

    def _record(self, difference: float) -> Record:
        return Record(
            variant=self.variant,
            at=now(),
            edgedx=__version__,
            golden_difference=difference,
            unsigned=not self.keys,
        )

    def _event(self, action: str, slot: Slot, why: str = "") -> Event:
        return event(action, slot, self.bundle, why=why, unsigned=not self.keys)

    def _installed(self, slot: Slot, difference: float, *, already: bool) -> Installed:
        manifest = self.bundle.manifest
        name = f"{manifest.name} {manifest.version}"
        signer = None if self.bundle.signed_by is None else str(self.bundle.signed_by)
        current = self.root / "current"
        return Installed(
            current, slot, self.bundle.digest, name, self.variant, difference, signer, len(self.keys), already
        )  # fmt: skip


def event(action: str, slot: Slot, bundle: Bundle, *, why: str = "", unsigned: bool = False) -> Event:
    """An entry of the history, now."""
    manifest = bundle.manifest
    return Event.model_validate(
        {"at": now(), "action": action, "slot": slot, "name": manifest.name, "version": manifest.version,
         "digest": bundle.digest, "why": why, "unsigned": unsigned}
    )  # fmt: skip
