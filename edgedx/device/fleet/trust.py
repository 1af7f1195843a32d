"""Whose repository a device takes updates from, pinned once like a key, and what the device is called."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from edgedx.core.bundle.signing import PublicKey, new_key, read_public
from edgedx.core.errors import AlreadyExists, GateRefused, InputOutputError, UsageError
from edgedx.core.files import read_regular, write_bytes, write_json
from edgedx.core.text import command_line
from edgedx.device.install.slots import hold

from .places import MAX_ROOT_BYTES, Box, folder, metadata_folder, read_box, root_file
from .terms import BOX_NAME, place_in_rings, require_tuf


@dataclass(frozen=True)
class Trusted:
    """What `trust` pinned.

    Attributes
    ----------
    version, expires : int, str
        Of the root metadata.
    threshold : int
        How many of the keys must agree to a change of keys.
    keys : tuple of str
        Ids of the root keys; compare them with those of whoever made the repository.
    box : str
        Name of this device.
    place : float
        Where it stands in the rings, in percent: it takes releases for more than that.
    public : Path
        The device's own public key, which its status files are signed with.
    """

    version: int
    expires: str
    threshold: int
    keys: tuple[str, ...]
    box: str
    place: float
    public: Path


def trust(root: Path, file: Path, *, name: str | None = None, replace: bool = False) -> Trusted:
    """Take updates from the repository of this root metadata from now on.

    Parameters
    ----------
    file : Path
        A root.json, best the first one (``metadata/1.root.json``), carried here by hand.
    name : str, optional
        Of this device, in its fleet; needed the first time.
    replace : bool
        Trust it in the place of another one.

    Raises
    ------
    UsageError
        The name is missing or not one.
    AlreadyExists
        Another repository is trusted.
    InputOutputError, GateRefused
        It is no root metadata, or not signed by its own keys.
    """
    require_tuf()
    data = read_regular(file, MAX_ROOT_BYTES)
    version, expires, threshold, keys = _facts(data, file)
    with hold(root):
        chosen = name or _known_name(root)
        if re.fullmatch(BOX_NAME[1:-1], chosen) is None:
            raise UsageError(
                f"{chosen!r} cannot name a device", next_step="use lower-case letters, digits, '-' and '.', 40 at most"
            )
        pinned = root_file(root)
        if pinned.is_file() and pinned.read_bytes() != data:
            if not replace:
                raise AlreadyExists(
                    f"{root} trusts another repository, or an earlier root of this one, which it follows by itself",
                    next_step="only if that one's keys are lost: the same command with --replace",
                )
            shutil.rmtree(metadata_folder(root), ignore_errors=True)  # what the old keys have signed counts no more
        folder(root).mkdir(parents=True, exist_ok=True)
        write_json(folder(root) / "box.json", Box(name=chosen).model_dump())
        public = folder(root) / f"{chosen}.pub"
        if not public.is_file():
            new_key(chosen, folder(root))
        write_bytes(pinned, data)  # last: with it, all is there
    return Trusted(version, expires, threshold, keys, chosen, place_in_rings(chosen), public)


def box_key(root: Path) -> tuple[Path, PublicKey]:
    """The device's own key: private file, public key."""
    name = read_box(root).name
    return folder(root) / f"{name}.key", read_public(folder(root) / f"{name}.pub", follow=False)


def _known_name(root: Path) -> str:
    try:
        return read_box(root).name
    except GateRefused as error:
        raise UsageError(
            "this device has no name in its fleet yet",
            next_step=f"give it: {command_line('fleet', 'trust', 'ROOT.json', '--root', root, '--box', 'clinic-017')}",
        ) from error


def _facts(data: bytes, file: Path) -> tuple[int, str, int, tuple[str, ...]]:
    from tuf.api.exceptions import RepositoryError
    from tuf.api.metadata import Metadata, Root
    from tuf.api.serialization import DeserializationError

    try:
        metadata = Metadata[Root].from_bytes(data)
        if not isinstance(metadata.signed, Root):
            raise DeserializationError
    except (DeserializationError, RepositoryError) as error:
        raise InputOutputError(
            f"{file} is no root metadata of a repository", next_step="take metadata/1.root.json of the repository"
        ) from error
    try:
        metadata.signed.verify_delegate(Root.type, metadata.signed_bytes, metadata.signatures)
    except (RepositoryError, ValueError) as error:
        raise GateRefused(
            f"{file} is not signed by the keys that it names",
            next_step="it was changed, or never completed: do not use it",
        ) from error
    role = metadata.signed.roles[Root.type]
    return metadata.signed.version, f"{metadata.signed.expires:%Y-%m-%d}", role.threshold, tuple(sorted(role.keyids))
