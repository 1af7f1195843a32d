"""Two slots for bundles and a link to the active one.

    ROOT/current -> slots/a       the active slot; replaced in one step
    ROOT/slots/a, slots/b         a whole bundle each, or nothing: filled elsewhere, then renamed
    ROOT/slots/.staging-*         being written
    ROOT/slots/.old-b             what was in b, until the new one there is active; empty where b was
    ROOT/slots/.trash-*           being removed

A slot's folder is renamed as a whole, never changed piece by piece, so that it is whole or absent at any time.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from edgedx.core.bundle.manifest import Bundle, open_folder, unpack_to
from edgedx.core.bundle.signing import PublicKey
from edgedx.core.errors import BundleError, InputOutputError, UsageError
from edgedx.core.files import lock, read_regular, sync_folder, write_json

from .permissions import check_root
from .state import Slot

SLOTS: tuple[Slot, Slot] = ("a", "b")
RECORD = "installed.json"


class Record(BaseModel):
    """installed.json of a slot: what its installation found, beside the bundle and not part of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = 1
    variant: str = Field(description="The model that was proven here and serves.")
    at: str = Field(description="Wall clock, ISO 8601 UTC.")
    edgedx: str = Field(description="Version that installed it.")
    golden_difference: float = Field(description="Greatest difference of logits on the golden samples.")
    unsigned: bool = Field(description="No key was pinned, and the operator said that this is meant.")


@contextmanager
def hold(root: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold a device's slots for this process; `patience` in seconds is how long another one is waited for.

    Raises
    ------
    UsageError
        Another process holds them.
    StorageError
        The folder cannot be made or written.
    GateRefused
        It may be somebody else's (see `check_root`).
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            holder = lock(root)
            holder.__enter__()
            break
        except UsageError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.1)
    try:
        check_root(root)
        yield
    finally:
        holder.__exit__(None, None, None)


def slot_folder(root: Path, slot: Slot) -> Path:
    """Where a slot is."""
    return root / "slots" / slot


def other(slot: Slot) -> Slot:
    """The one that is not `slot`."""
    return "b" if slot == "a" else "a"


def active_slot(root: Path) -> Slot | None:
    """The slot that ``ROOT/current`` names, or None."""
    try:
        target = os.readlink(root / "current")
    except OSError:
        return None
    return next((slot for slot in SLOTS if target == f"slots/{slot}"), None)


def open_slot(root: Path, slot: Slot, trusted: Sequence[PublicKey]) -> Bundle:
    """Open the bundle of a slot, verifying signature and hashes (see `open_folder`).

    Raises
    ------
    BundleError
        The slot is empty or was changed on disk.
    GateRefused
        Its signature is by no trusted key.
    """
    folder = slot_folder(root, slot)
    if folder.is_symlink():
        raise BundleError(f"{folder} is a symbolic link, and is not followed", next_step="install the bundle again")
    if not folder.is_dir():
        raise BundleError(f"slot {slot} of {root} is empty", next_step="edgedx install BUNDLE --root DIR")
    bundle = open_folder(folder, trusted=trusted)
    bundle.root = root
    return bundle


def read_record(folder: Path) -> Record | None:
    """What the installation of a slot wrote, or None where that is missing or damaged: it decides nothing."""
    try:
        return Record.model_validate_json(read_regular(folder / RECORD, 1 << 16, follow=False))
    except (InputOutputError, ValueError):
        return None


def write_record(folder: Path, record: Record) -> None:
    """Write it durably."""
    write_json(folder / RECORD, record.model_dump(mode="json"))


def recover(root: Path) -> None:
    """Finish or undo what a killed process left; call it while holding the slots."""
    slots = root / "slots"
    slots.mkdir(parents=True, exist_ok=True)
    sync_folder(root)
    for slot in SLOTS:
        if active_slot(root) == slot:
            settle(root, slot)
        else:
            restore(root, slot)
    for left in (*slots.glob(".staging-*"), *slots.glob(".trash-*")):
        _remove(left)
    for link in root.glob(".current.new"):
        link.unlink()


def stage(root: Path, bundle: Bundle) -> Path:
    """Write a bundle into a new folder beside the slots, durably; returns the folder."""
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=root / "slots"))
    try:
        os.chmod(staging, 0o755)
        unpack_to(bundle, staging)
        for folder in (staging, *(path for path in staging.rglob("*") if path.is_dir())):
            sync_folder(folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)  # a full disk must get its space back
        raise
    return staging


def move_into_slot(root: Path, staging: Path, slot: Slot) -> None:
    """Make `staging` the content of an inactive slot; what was there is kept until `settle` or `restore`."""
    folder = slot_folder(root, slot)
    old = _old(root, slot)
    if folder.is_dir():
        os.replace(folder, old)
    else:
        old.mkdir()
    os.replace(staging, folder)
    sync_folder(folder.parent)


def settle(root: Path, slot: Slot) -> None:
    """Forget what was in a slot before `move_into_slot`."""
    if (old := _old(root, slot)).is_dir():
        discard(old)


def restore(root: Path, slot: Slot) -> None:
    """Put back what was in an inactive slot before `move_into_slot`; without that, nothing is to be done."""
    folder, old = slot_folder(root, slot), _old(root, slot)
    if not old.is_dir():
        return
    if folder.is_dir():
        discard(folder)
    if any(old.iterdir()):
        os.replace(old, folder)
    else:
        old.rmdir()
    sync_folder(folder.parent)


def _old(root: Path, slot: Slot) -> Path:
    return slot_folder(root, slot).with_name(f".old-{slot}")


def discard(folder: Path) -> None:
    """Remove a folder, which has a name that says so first: half of one must never look whole."""
    trash = folder.with_name(f".trash-{secrets.token_hex(8)}")
    os.replace(folder, trash)
    _remove(trash)


def _remove(folder: Path) -> None:
    """Remove a folder; of a symbolic link the link alone."""
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink()
    else:
        shutil.rmtree(folder)


def switch(root: Path, slot: Slot | None) -> None:
    """Make a slot the active one in one step, or none."""
    link = root / "current"
    if slot is None:
        link.unlink(missing_ok=True)
    else:
        temporary = root / ".current.new"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(f"slots/{slot}")
        os.replace(temporary, link)
    sync_folder(root)
