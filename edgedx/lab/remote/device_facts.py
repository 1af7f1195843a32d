"""What a device says about itself over ssh before anything is put there, and whether a wheelhouse fits it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from edgedx.core.errors import MissingError, ProfileError, StorageError, UsageError

from .on_device import PROBE
from .ssh import Remote
from .wheel_target import PYTHONS
from .wheelhouse import Wheelhouse

_UNPACKED = 4.5  # an installed wheel with its byte code, against the wheel: 418 MB against 124 MB, and the wheels too
_PATIENCE_S = 120.0  # a small board under load starts several Pythons


@dataclass(frozen=True)
class DeviceFacts:
    """What a device says about itself before anything is put there.

    Attributes
    ----------
    python : str
        Major.minor of the interpreter that was found.
    executable : str
        Its path there.
    glibc : tuple of int or None
        None where the C library is another one.
    root : str
        The folder, as an absolute path there.
    free_bytes : int
        On the disk of the folder.
    """

    executable: str
    python: str
    arch: str
    bits: int
    glibc: tuple[int, int] | None
    root: str
    free_bytes: int
    writable: bool
    has_venv: bool
    has_rsync: bool


def probe(remote: Remote, root: str, python: str | None = None) -> DeviceFacts:
    """Ask a device what it is.

    Parameters
    ----------
    root : str
        Folder there; relative to the home folder, or absolute.
    python : str, optional
        Major.minor that is wanted; the newest that edgedx knows unless given.

    Raises
    ------
    MissingError
        No Python there, or none that is wanted.
    UsageError
        The folder's name has signs that the first line of an installed program cannot hold.
    """
    if not re.fullmatch(r"[\w./~ @+-]+", root) or root.startswith("-"):
        raise UsageError(
            f"--folder {root!r}", next_step="use letters, digits, spaces and . _ - / only: programs are installed there"
        )
    versions = [python] if python else sorted(PYTHONS, key=_numbers, reverse=True)
    names = [f"python{version}" for version in versions] + ["python3"]
    done = remote.shell('code="$1"; root="$2"; shift 2; for p in "$@"; do command -v "$p" >/dev/null 2>&1 && '
                        '"$p" -c "$code" "$root"; done; true', PROBE, root, *names, limit=_PATIENCE_S)  # fmt: skip
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    usable = [facts for facts in found if facts["python"] == python or (python is None and facts["python"] in PYTHONS)]
    if not usable:
        there = ", ".join(sorted({facts["python"] for facts in found})) or "none"
        raise MissingError(
            f"{remote.host}: no Python {python or '3.10 or newer'} there; found: {there}",
            next_step=f"make a wheelhouse for its Python: edgedx wheelhouse --device NAME --python {found[0]['python']}"
            if found and found[0]["python"] in PYTHONS
            else "install Python 3.10 or newer there, or run edgedx in a container (Dockerfile.jetson)",
        )
    facts = usable[0]
    glibc = (int(facts["glibc"][0]), int(facts["glibc"][1])) if facts["glibc"] else None
    return DeviceFacts(**{**facts, "glibc": glibc})


def check_fits(facts: DeviceFacts, house: Wheelhouse, host: str) -> None:
    """Refuse what cannot work before anything is copied. No input or output.

    Raises
    ------
    ProfileError
        The wheelhouse is for another architecture, Python or C library.
    MissingError
        Python there lacks its venv module.
    StorageError
        Too little free space, or no right to write.
    """
    target = house.target
    again = f"edgedx wheelhouse --device NAME --python {facts.python}"
    if (facts.arch, facts.bits) != (target.arch, 64):
        raise ProfileError(
            f"{host} is {facts.arch} with a {facts.bits}-bit Python; {house.folder} is for {target.arch}",
            next_step=again if facts.bits == 64 else "edgedx needs a 64-bit system there",
        )
    if facts.python != target.python:
        raise ProfileError(f"{host} has Python {facts.python}; {house.folder} is for {target.python}", next_step=again)
    needed = house.needs_glibc
    if facts.glibc is None or facts.glibc < needed:
        has = "another C library than glibc" if facts.glibc is None else f"glibc {facts.glibc[0]}.{facts.glibc[1]}"
        step = f"{again} --glibc {facts.glibc[0]}.{facts.glibc[1]}" if facts.glibc else "use a glibc system there"
        raise ProfileError(f"{host} has {has}; {house.folder} needs {needed[0]}.{needed[1]}", next_step=step)
    if not facts.has_venv:
        raise MissingError(
            f"{host}: Python {facts.python} there lacks its venv module",
            next_step=f"there: sudo apt install python{facts.python}-venv",
        )
    if not facts.writable:
        raise StorageError(f"{host}: {facts.root} cannot be written", next_step="name another folder with --folder")


def space_needed(house: Wheelhouse, bundle_bytes: int) -> int:
    """Bytes that a first install takes on the device, at most: wheels, what is unpacked from them, and the bundle."""
    return int(_UNPACKED * house.bytes) + 4 * bundle_bytes


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
