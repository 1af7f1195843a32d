"""A wheelhouse: every wheel that the device half needs on one kind of device, with hashes, to install without internet.

It holds the wheels, pip's own among them (a device needs no python3-venv and no pip), ``requirements.txt`` with one
hash a line, and ``wheelhouse.json`` that says what it is for.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from email.message import Message
from pathlib import Path
from typing import Any

from edgedx.core.errors import AlreadyExists, InputOutputError
from edgedx.core.files import read_json, sha256_file, storage_error, sync_folder, write_json, write_text
from edgedx.core.settings.profile import DeviceProfile

from .own_wheel import own_wheel
from .resolve_wheels import complete, download, metadata, needed_glibc
from .wheel_target import WheelTarget, wheel_target

RECORD = "wheelhouse.json"
REQUIREMENTS = "requirements.txt"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class WheelFile:
    """One wheel of a wheelhouse."""

    file: str
    name: str
    version: str
    sha256: str
    bytes: int
    licence: str


@dataclass(frozen=True)
class Wheelhouse:
    """A finished wheelhouse.

    Attributes
    ----------
    folder : Path
    device : str
        Name of the profile that it was made for.
    target : WheelTarget
    files : tuple of WheelFile
    pip : str
        File name of pip's wheel, which installs the others and is not installed itself.
    requirements_sha256 : str
        Of requirements.txt: the identity of what gets installed.
    """

    folder: Path
    device: str
    target: WheelTarget
    files: tuple[WheelFile, ...]
    pip: str
    requirements_sha256: str
    record: dict[str, Any]

    @property
    def needs_glibc(self) -> tuple[int, int]:
        """Oldest C library that its wheels load with."""
        major, minor = str(self.record["needs_glibc"]).split(".")
        return int(major), int(minor)

    @property
    def bytes(self) -> int:
        """Size of all wheels."""
        return sum(file.bytes for file in self.files)


def make_wheelhouse(
    profile: DeviceProfile,
    out: Path,
    *,
    python: str | None = None,
    glibc: str | None = None,
    extras: Sequence[str] = (),
    constraint: Path | None = None,
    overwrite: bool = False,
) -> Wheelhouse:
    """Download, prove complete and write a wheelhouse; the folder appears whole or not at all.

    Parameters
    ----------
    python, glibc : str, optional
        As in `wheel_target`.
    extras : sequence of str
        Extras of edgedx that the device needs too, such as ``net``.
    constraint : Path, optional
        pip's constraints file, to choose versions.

    Raises
    ------
    AlreadyExists
        `out` is there and `overwrite` is false, or it is no wheelhouse.
    MissingError
        A package has no wheel for the device; it is named.
    InputOutputError
        The index cannot be reached, or edgedx' own wheel cannot be built.
    """
    target = wheel_target(profile, python, glibc)
    _may_write(out, overwrite)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    except OSError as error:
        raise storage_error(out, error) from error
    try:
        own = own_wheel(staging)
        wanted = f"{own}[{','.join(sorted(extras))}]" if extras else str(own)
        download(target, [wanted, "pip"], staging, constraint)
        complete(target, staging, own, set(extras), constraint)
        describe(profile, target, staging, extras)
        os.chmod(staging, 0o755)
        _take_place(staging, out)
    except OSError as error:
        raise storage_error(out, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return read_wheelhouse(out)


def read_wheelhouse(folder: Path) -> Wheelhouse:
    """Read a wheelhouse and verify every hash.

    Raises
    ------
    InputOutputError
        It is no wheelhouse, or a file is missing or changed.
    """
    if not (folder / RECORD).is_file():
        raise InputOutputError(
            f"{folder} is no wheelhouse: no {RECORD}", next_step="make one with `edgedx wheelhouse --device NAME`"
        )
    record = read_json(folder / RECORD)
    try:
        if record["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema_version {record['schema_version']}")
        files = tuple(WheelFile(**entry) for entry in record["files"])
        major, minor = (int(part) for part in record["glibc"].split("."))
        target = WheelTarget(record["python"], record["arch"], (major, minor), record["system"])
        house = Wheelhouse(
            folder, record["device"], target, files, record["pip"], record["requirements_sha256"], record
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputOutputError(f"{folder / RECORD} is malformed: {error!r}", next_step="make it again") from error
    expected = {file.file: file.sha256 for file in files} | {REQUIREMENTS: house.requirements_sha256}
    for name, sha256 in expected.items():
        if Path(name).name != name or sha256_file(folder / name) != sha256:
            raise InputOutputError(f"{folder / name} is not what {RECORD} says", next_step="make it again: --overwrite")
    return house


def licence_of(data: Message) -> str:
    """Licence that a wheel's metadata names: its expression, else its classifiers, else its first words, else none."""
    if expression := data["License-Expression"]:
        return str(expression)
    classified = [str(value).split("::")[-1].strip() for value in data.get_all("Classifier") or []
                  if str(value).startswith("License ::")]  # fmt: skip
    text = str(data["License"] or "").strip()
    return " / ".join(classified) or (text.splitlines()[0][:80] if text else "not stated")


def describe(profile: DeviceProfile, target: WheelTarget, folder: Path, extras: Sequence[str]) -> None:
    """Write requirements.txt and the record beside the wheels."""
    files = []
    for path in sorted(folder.glob("*.whl")):
        data = metadata(path)
        files.append(WheelFile(path.name, str(data["Name"]), str(data["Version"]), sha256_file(path),
                               path.stat().st_size, licence_of(data)))  # fmt: skip
    pip = next(file for file in files if file.name.lower() == "pip")
    lines = [f"{file.name}=={file.version} --hash=sha256:{file.sha256}" for file in files if file is not pip]
    write_text(folder / REQUIREMENTS, "\n".join(lines) + "\n")
    own = next(file for file in files if file.name == "edgedx")
    record = {
        "schema_version": SCHEMA_VERSION,
        "device": profile.name,
        "family": profile.family,
        "edgedx": own.version,
        "python": target.python,
        "arch": target.arch,
        "glibc": f"{target.glibc[0]}.{target.glibc[1]}",
        "needs_glibc": "{}.{}".format(*needed_glibc([file.file for file in files])),
        "system": target.system,
        "extras": sorted(extras),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "pip": pip.file,
        "requirements_sha256": sha256_file(folder / REQUIREMENTS),
        "files": [asdict(file) for file in files],
    }
    write_json(folder / RECORD, record)


def _may_write(out: Path, overwrite: bool) -> None:
    if not out.exists():
        return
    if not (out / RECORD).is_file():
        raise AlreadyExists(f"{out} is there and is no wheelhouse", next_step="name another folder with --out")
    if not overwrite:
        raise AlreadyExists(f"{out} is there already", next_step="--overwrite makes it again; or --out another folder")


def _take_place(staging: Path, out: Path) -> None:
    old = staging.with_name(staging.name + ".old")
    if out.exists():
        os.replace(out, old)
    os.replace(staging, out)
    sync_folder(out.parent)
    shutil.rmtree(old, ignore_errors=True)
