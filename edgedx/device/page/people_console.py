"""People of a page, from the box's console: the first administrator, and who forgot the PIN of the last one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgedx.core.errors import InputOutputError, UsageError
from edgedx.core.files import private_files

from .door.looks import Looks
from .door.people import People
from .door.person import ROLES, Role


def let_in(out: Path, name: str, role: str | None, ask_pin: Callable[[], str]) -> Role:
    """Let somebody in, or give one who is known a new PIN and, where it is given, another role.

    Parameters
    ----------
    role : str or None
        ``reader`` or ``administrator``; None: as before, and reader for somebody new.
    ask_pin : callable
        Asked when nothing else is wrong with the call.

    Returns
    -------
    str
        The role.

    Raises
    ------
    UsageError
        No such role, a name or PIN that is not taken, or the last administrator would be none.
    InputOutputError, StorageError
        `out` is not there or cannot be written.
    """
    chosen = next((one for one in ROLES if one == role), None)
    if role is not None and chosen is None:
        raise UsageError(f"--role {role}: no such role", next_step=f"one of {', '.join(ROLES)}")
    with private_files():
        people, looks = _open(out)
        try:
            known = people.find(name)
            if known is None:
                known = people.add(name, chosen or "reader", ask_pin())
                looks.write("people", subject=known.number, change="added", role=known.role, console=True)
                return known.role
            if chosen is not None and chosen != known.role:
                people.set_role(known.number, chosen)
            people.set_pin(known.number, ask_pin(), own_pin=False)
            looks.write("people", subject=known.number, change="new PIN", role=chosen or known.role, console=True)
            return chosen or known.role
        finally:
            people.close()
            looks.close()


def let_out(out: Path, name: str) -> None:
    """Let somebody in no more.

    Raises
    ------
    UsageError
        Nobody has that name, or it is the last administrator.
    """
    with private_files():
        people, looks = _open(out)
        try:
            known = people.find(name)
            if known is None:
                raise UsageError("nobody has that name", next_step="the page's administrator sees who has access")
            people.remove(known.number)
            looks.write("people", subject=known.number, change="removed", console=True)
        finally:
            people.close()
            looks.close()


def _open(out: Path) -> tuple[People, Looks]:
    if not out.is_dir():
        raise InputOutputError(f"no folder {out}", next_step="give the --out of the scanner")
    return People(out), Looks(out)
