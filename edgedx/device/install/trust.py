"""Pinned keys: whose bundles this device takes. One file for each key below ROOT/trust.

That a key was ever pinned is remembered outside of that folder too (``keys_required`` in state.json, ``unsigned`` in
each slot's record): a device whose trust/ is gone takes and opens nothing until a key is pinned again.
"""

from __future__ import annotations

from pathlib import Path

from edgedx.core.bundle.signing import PublicKey, read_public
from edgedx.core.errors import BundleError, GateRefused, InputOutputError, UsageError
from edgedx.core.files import storage_error, sync_folder, write_text
from edgedx.core.text import command_line

from .permissions import check_root
from .slots import SLOTS, active_slot, hold, read_record, slot_folder
from .state import read_state, write_state


def trust_folder(root: Path) -> Path:
    """Where pinned keys are."""
    return root / "trust"


def pinned(root: Path) -> list[PublicKey]:
    """The keys pinned below `root`, by name.

    Raises
    ------
    InputOutputError
        A file there is damaged. It is not left out: with no key left, unsigned bundles would be let in.
    GateRefused
        There is no key, and there was one; or see `check_root`.
    """
    check_root(root)
    keys = _read(root)
    if not keys and _keys_required(root):
        raise GateRefused(
            f"this device trusts nobody: a key was pinned in {root}, and {trust_folder(root)} is gone or empty",
            next_step=f"find out why, then pin it again: {command_line('keys', 'pin', 'FILE.pub', '--root', root)}",
        )
    return keys


def _read(root: Path) -> list[PublicKey]:
    folder = trust_folder(root)
    keys = []
    try:
        names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise storage_error(folder, error) from error
    for name in names:
        key = read_public(folder / name, follow=False)
        if name != f"{key.id}.pub":
            raise InputOutputError(
                f"{folder / name} holds key {key.id}: it was changed or put there by hand",
                next_step="remove it, then `edgedx keys pin FILE.pub --root DIR`",
            )
        keys.append(key)
    return sorted(keys, key=lambda key: (key.name, key.id))


def _keys_required(root: Path) -> bool:
    records = {slot: read_record(slot_folder(root, slot)) for slot in SLOTS}
    if any(record is not None and not record.unsigned for record in records.values()):
        return True
    try:
        state = read_state(root)
    except InputOutputError:  # it cannot say; then the active slot must have been installed without a key
        active = active_slot(root)
        return active is None or records[active] is None
    return state.keys_required or any(event.action == "install" and not event.unsigned for event in state.history)


def pin(root: Path, file: Path) -> PublicKey:
    """Trust the key in a .pub file from now on; pinning it again changes nothing but its name."""
    key = read_public(file)
    with hold(root):
        _read(root)
        write_text(trust_folder(root) / f"{key.id}.pub", key.line())
        _sync(root)
        try:
            state = read_state(root)
        except BundleError:  # damaged: nothing can be installed until somebody has seen to it
            return key
        if not state.keys_required:
            write_state(root, state.with_keys_required())
    return key


def unpin(root: Path, key_id: str) -> PublicKey:
    """Trust a key no longer.

    Raises
    ------
    UsageError
        It is not pinned.
    GateRefused
        It is the last one: the device would take unsigned bundles on request again.
    """
    with hold(root):
        keys = {key.id: key for key in _read(root)}
        if key_id not in keys:
            raise UsageError(
                f"no key {key_id} is pinned in {root}", next_step=command_line("keys", "list", "--root", root)
            )
        if len(keys) == 1:
            raise GateRefused(
                f"{keys[key_id]} is the only key that this device trusts",
                next_step="pin the next one first: `edgedx keys pin FILE.pub --root DIR`",
            )
        try:
            (trust_folder(root) / f"{key_id}.pub").unlink()
        except OSError as error:
            raise storage_error(trust_folder(root), error) from error
        _sync(root)
    return keys[key_id]


def _sync(root: Path) -> None:
    try:
        sync_folder(trust_folder(root))
        sync_folder(root)
    except OSError as error:
        raise storage_error(root, error) from error


def check_policy(keys: list[PublicKey], where: object, root: Path, *, allow_unsigned: bool) -> None:
    """Refuse to install where nobody's signature is asked for, unless that was asked for.

    Raises
    ------
    GateRefused
        No key is pinned.
    """
    if not keys and not allow_unsigned:
        raise GateRefused(
            f"{root} trusts no key yet, so nothing says who made {where}",
            next_step=f"{command_line('keys', 'pin', 'FILE.pub', '--root', root)}; or, on a bench, install with "
            "--allow-unsigned, which is recorded",
        )
