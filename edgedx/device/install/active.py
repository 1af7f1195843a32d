"""Open what a command was given: a bundle file, or what is installed below a root, trusted and verified each time."""

from __future__ import annotations

from pathlib import Path

from edgedx.core.bundle.manifest import Bundle, open_bundle, open_folder
from edgedx.core.errors import InputOutputError
from edgedx.core.text import command_line

from .slots import SLOTS, active_slot, open_slot
from .state import Slot
from .trust import pinned


def installed_at(path: Path) -> tuple[Path, Slot | None] | None:
    """Root and slot (None: the active one) that a path names: ROOT, ROOT/current or ROOT/slots/a; else None."""
    if path.is_symlink() and path.name == "current":
        return path.parent, None
    if (path / "slots").is_dir() or (path / "current").is_symlink():
        return path, None
    slot = next((slot for slot in SLOTS if path.name == slot and path.parent.name == "slots"), None)
    return (path.parent.parent, slot) if slot is not None else None


def open_any(path: Path) -> Bundle:
    """Open a ``.edgedx`` file, or an installed version such as ``ROOT/current``.

    Hashes are verified; below a root with pinned keys the signature too. A file given by itself is not asked for one.

    Raises
    ------
    InputOutputError
        Neither, or nothing is installed.
    BundleError, GateRefused
        See `open_bundle`.
    """
    installed = installed_at(path)
    if installed is not None:
        root, slot = installed
        return open_slot(root, slot or chosen_slot(root), pinned(root))
    if path.is_dir():
        return open_folder(path)
    if not path.exists():
        raise InputOutputError(f"no bundle at {path}", next_step="make one with `edgedx deploy`, then `edgedx install`")
    return open_bundle(path)


def chosen_slot(root: Path) -> Slot:
    """The active slot.

    Raises
    ------
    InputOutputError
        Nothing is active.
    """
    slot = active_slot(root)
    if slot is None:
        raise InputOutputError(
            f"nothing is installed in {root}", next_step=command_line("install", "BUNDLE", "--root", root)
        )
    return slot
