"""Start a scanner on what is installed, and go back to the other slot where the new one does not hold up.

A new slot is on trial until it has answered an image. ROOT is written only while that lasts, or to go back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgedx.core.bundle.local_point import local_of
from edgedx.core.bundle.manifest import Bundle
from edgedx.core.errors import BundleError, EdgedxError, GateRefused, InputOutputError, MissingError
from edgedx.core.files import private_files, storage_error
from edgedx.core.text import command_line
from edgedx.device.install.active import chosen_slot, installed_at, open_any
from edgedx.device.install.health import serving_variant
from edgedx.device.install.install import event
from edgedx.device.install.rollback import go_back
from edgedx.device.install.slots import hold, open_slot, other
from edgedx.device.install.state import Slot, State, read_state, write_state
from edgedx.device.install.trial import MAX_STARTS, Facts, next_action
from edgedx.device.install.trust import pinned
from edgedx.device.scanner.inbox import check_folders
from edgedx.device.scanner.scanner import Options, Scanner, open_scanner

log = logging.getLogger("edgedx.scan")

PATIENCE_S = 60.0
"""How long an installation at work is waited for."""

Tell = Callable[[str], None]


@dataclass
class Start:
    """A bundle to serve from, and the trial that it is on, if any."""

    bundle: Bundle
    root: Path | None = None
    slot: Slot | None = None

    def confirm(self) -> None:
        """An image was answered: the trial is over. Where that cannot be written now, the next answer tries again."""
        self._update(lambda state: state.with_trial(None).with_event(event("confirm", self._slot(), self.bundle)))

    def ended(self) -> None:
        """It ended in order, which says nothing against the slot, were there images or not."""

        def less(state: State) -> State:
            assert state.trial is not None
            return state.with_trial(state.trial.model_copy(update={"starts": max(0, state.trial.starts - 1)}))

        self._update(less)

    def _slot(self) -> Slot:
        assert self.slot is not None
        return self.slot

    def _update(self, change: Callable[[State], State]) -> None:
        if self.root is None:
            return
        try:
            with hold(self.root):
                state = read_state(self.root)
                if self.slot is not None and _on_trial(state, self.slot, self.bundle):
                    write_state(self.root, change(state))
            self.root = None  # said once
        except EdgedxError as error:  # an installation is at work, or the disk is full: images come first
            log.warning("the trial of slot %s cannot be recorded now: %s", self.slot, type(error).__name__)


@contextmanager
def serve(
    inbox: Path,
    path: Path,
    out: Path,
    *,
    variant: str | None = None,
    threads: int = 0,
    operating_point: str | None = None,
    options: Options | None = None,
    tell: Tell = log.warning,
) -> Iterator[Scanner]:
    """A scanner on a bundle file or an installed bundle (see `open_scanner`); what it writes, others cannot read.

    Parameters
    ----------
    path : Path
        A ``.edgedx`` file, ROOT or ROOT/current.
    variant : str, optional
        The one that was proven when the bundle was installed unless given, else the bundle's default.
    tell : callable
        Is told when a slot was left.
    """
    check_folders(inbox, out)  # before a start is counted
    start = begin(path, tell)

    def enter(stack: ExitStack, bundle: Bundle) -> Scanner:
        name = variant or serving_variant(bundle)
        return stack.enter_context(
            open_scanner(inbox, bundle, out, variant=name, threads=threads, operating_point=operating_point,
                         options=options)
        )  # fmt: skip

    with private_files(), ExitStack() as stack:
        try:
            try:
                scanner = enter(stack, start.bundle)
            except (GateRefused, MissingError, BundleError) as error:
                # A variant that was named is the caller's choice, and not the slot's fault.
                instead = None if variant else _leave(start, error, tell)
                if instead is None:
                    raise
                start = instead
                scanner = enter(stack, start.bundle)
            scanner.on_answer = start.confirm
            if operating_point is not None and local_of(scanner.bundle) is not None:
                tell(f"decides at --point {operating_point}, not at the threshold that this site has chosen")
            yield scanner
        except (EdgedxError, KeyboardInterrupt):  # anything else counts against the slot
            start.ended()
            raise
    start.ended()


def begin(path: Path, tell: Tell = log.warning) -> Start:
    """Open what is to serve, count the start of a slot on trial, and go back where the slot does not hold up.

    Raises
    ------
    InputOutputError, GateRefused
        Neither slot can serve, or the file cannot be opened.
    """
    installed = installed_at(path)
    if installed is None or installed[1] is not None:
        return Start(open_any(path))
    root = installed[0]
    slot = chosen_slot(root)
    bundle, error = _try_open(root, slot)
    if bundle is not None and not _on_trial(_state(root), slot, bundle):
        return Start(bundle)
    with ExitStack() as stack:
        try:
            stack.enter_context(hold(root, PATIENCE_S))
        except EdgedxError as failed:  # ROOT may belong to another user, or a long installation is at work
            if bundle is None:
                raise error or failed from failed
            tell(f"slot {slot} is on trial, and {root} cannot be written now: this start is not counted")
            return Start(bundle)
        return _begin_on_trial(root, tell)


def _begin_on_trial(root: Path, tell: Tell) -> Start:
    slot = chosen_slot(root)  # again: it may have changed while we waited
    bundle, error = _try_open(root, slot)
    state = _state(root)
    on_trial = bundle is not None and _on_trial(state, slot, bundle)
    starts = state.trial.starts if on_trial and state.trial is not None else 0
    beside, _ = _try_open(root, other(slot))
    action = next_action(Facts(on_trial, starts, bundle is not None, None, beside is not None))
    if action == "revert" and beside is not None:
        why = error.message if error is not None else f"{MAX_STARTS} starts without a result"
        return _go_back(root, slot, beside, state, why, tell)
    if bundle is None or action == "refuse":
        assert error is not None
        raise error
    if not on_trial or state.trial is None:
        return Start(bundle)
    try:
        write_state(root, state.with_trial(state.trial.model_copy(update={"starts": starts + 1})))
    except InputOutputError as failed:  # a full disk must not keep a scanner from starting
        tell(f"this start of slot {slot}, which is on trial, is not counted: {failed.message}")
    return Start(bundle, root, slot)


def _leave(start: Start, error: EdgedxError, tell: Tell) -> Start | None:
    """Go back because the slot does not activate; None where that is not to be done."""
    if start.root is None or start.slot is None:
        return None
    with ExitStack() as stack:
        try:
            stack.enter_context(hold(start.root, PATIENCE_S))
        except EdgedxError:
            return None
        state = _state(start.root)
        beside, _ = _try_open(start.root, other(start.slot))
        facts = Facts(_on_trial(state, start.slot, start.bundle), 0, True, False, beside is not None)
        if beside is None or next_action(facts) != "revert":
            return None
        return _go_back(start.root, start.slot, beside, state, error.message, tell)


def _go_back(root: Path, slot: Slot, beside: Bundle, state: State, why: str, tell: Tell) -> Start:
    try:
        go_back(root, other(slot), beside, state, why)
    except OSError as error:
        raise storage_error(root, error) from error
    manifest = beside.manifest
    tell(f"slot {slot} was left: {why}")
    see = command_line("status", "--root", root)
    tell(f"slot {other(slot)} is active again: {manifest.name} {manifest.version}. See `{see}`")
    return Start(beside)


def _try_open(root: Path, slot: Slot) -> tuple[Bundle | None, EdgedxError | None]:
    try:
        return open_slot(root, slot, pinned(root)), None
    except (InputOutputError, GateRefused) as error:
        return None, error


def _on_trial(state: State, slot: Slot, bundle: Bundle) -> bool:
    return state.trial is not None and (state.trial.slot, state.trial.digest) == (slot, bundle.digest)


def _state(root: Path) -> State:
    """The state, or an empty one where it is damaged: images come first, and `edgedx status` says so."""
    try:
        return read_state(root)
    except InputOutputError:
        return State()
