"""A repository of releases on a folder, which any web server of static files, or a stick, can hold.

::

    metadata/N.root.json        who may sign what; every version stays, as devices follow them one by one
    metadata/N.targets.json     delegates bundles/* to the release keys
    metadata/N.releases.json    the bundles: size, hash, version, ring
    metadata/N.snapshot.json    which versions of these belong together
    metadata/timestamp.json     which snapshot is the newest, and until when that is believed
    targets/bundles/SHA256.NAME-VERSION-PROFILE.edgedx
    pending/root.json           a change of keys that waits for signatures; no device reads it

A file under a numbered name never changes; timestamp.json is written last and in one step, so that whoever reads while
somebody writes sees the old state or the new one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from tuf.api.exceptions import RepositoryError, UnsignedMetadataError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from edgedx.core.errors import InputOutputError, UsageError
from edgedx.core.files import write_bytes
from edgedx.device.fleet.terms import METADATA, RELEASES

from .keys import Keyring, title

DAYS = {Root.type: 1095, Targets.type: 730, RELEASES: 365, Snapshot.type: 90, Timestamp.type: 90}
"""How long metadata are believed, unless said otherwise."""
_ORDER = (Targets.type, RELEASES, Snapshot.type, Root.type, Timestamp.type)
"""Order of writing: what names another file comes after it."""


def today() -> datetime:
    """Now, to the second, as metadata have it."""
    return datetime.now(timezone.utc).replace(microsecond=0)


@dataclass(frozen=True)
class Saved:
    """What `Repository.save` wrote: new version by role; and who has yet to sign a new root, if anybody."""

    versions: Mapping[str, int]
    missing: tuple[str, ...] = ()


class Repository:
    """The metadata of a repository in memory. Use `open_repository` or `lab.fleet.start.create`.

    Attributes
    ----------
    meta : dict
        Role to python-tuf's `Metadata`; change ``.signed`` of one, name it in `dirty`, then `save`.
    """

    def __init__(self, folder: Path, meta: dict[str, Metadata[Any]]) -> None:
        self.folder, self.meta = folder, meta
        self.dirty: set[str] = set()
        self.before = meta[Root.type] if meta[Root.type].signatures else None

    @property
    def root(self) -> Root:
        """Who may sign what."""
        return self.meta[Root.type].signed  # type: ignore[no-any-return]

    @property
    def releases(self) -> Targets:
        """The bundles."""
        return self.meta[RELEASES].signed  # type: ignore[no-any-return]

    def delegator(self, role: str) -> Root | Targets:
        """Who says which keys a role has."""
        return self.meta[Targets.type].signed if role == RELEASES else self.root

    def save(self, keyring: Keyring, *, days: Mapping[str, int] | None = None, now: datetime | None = None) -> Saved:
        """Sign what changed and what no longer verifies, and write it; nothing is written unless all of it can be.

        Parameters
        ----------
        days : mapping, optional
            How long new metadata of a role are believed, in place of `DAYS`.

        Raises
        ------
        UsageError
            A key that is needed is not at hand.
        """
        moment, spans = now or today(), {**DAYS, **(days or {})}
        if Root.type in self.dirty:
            missing = self._sign_root(keyring, moment, spans)
            if missing:
                write_bytes(self.folder / "pending" / "root.json", _bytes(self.meta[Root.type]))
                return Saved({}, tuple(missing))
        for role in (Targets.type, RELEASES, Snapshot.type, Timestamp.type):
            if role in self.dirty or not self._verifies(role):
                self._sign(role, keyring, moment, spans)
        for role in _ORDER:
            if role in self.dirty:
                name = "timestamp.json" if role == Timestamp.type else f"{self.meta[role].signed.version}.{role}.json"
                write_bytes(self.folder / METADATA / name, _bytes(self.meta[role]))
        (self.folder / "pending" / "root.json").unlink(missing_ok=True)
        done = {role: self.meta[role].signed.version for role in _ORDER if role in self.dirty}
        self.dirty, self.before = set(), self.meta[Root.type]
        return Saved(done)

    def _sign_root(self, keyring: Keyring, moment: datetime, spans: Mapping[str, int]) -> list[str]:
        """Who has yet to sign: a new root needs enough of its own keys and of those before."""
        metadata, old = self.meta[Root.type], None if self.before is None else self.before.signed
        if old is not None and metadata.signed.version == old.version:
            metadata.signed.version += 1
        if not metadata.signatures or (self.before is not None and metadata is self.before):
            metadata.signed.expires = moment + timedelta(days=spans[Root.type])
        roots = [one for one in (old, metadata.signed) if one is not None]
        for signer in keyring.signers(dict.fromkeys(key for one in roots for key in one.roles[Root.type].keyids)):
            metadata.sign(signer, append=True)
        missing: list[str] = []
        for one in roots:
            result = one.get_verification_result(Root.type, metadata.signed_bytes, metadata.signatures)
            if not result.verified:
                unsigned = ", ".join(sorted(title(key) for key in result.unsigned.values()))
                missing.append(f"{one.roles[Root.type].threshold - len(result.signed)} of {unsigned}")
        return list(dict.fromkeys(missing))

    def _verifies(self, role: str) -> bool:
        metadata = self.meta[role]
        try:
            self.delegator(role).verify_delegate(role, metadata.signed_bytes, metadata.signatures)
            return True
        except (RepositoryError, ValueError):
            return False

    def _sign(self, role: str, keyring: Keyring, moment: datetime, spans: Mapping[str, int]) -> None:
        metadata = self.meta[role]
        if metadata.signatures:
            metadata.signed.version += 1
        metadata.signatures.clear()
        metadata.signed.expires = moment + timedelta(days=spans[role])
        if role == Snapshot.type:
            for name in (Targets.type, RELEASES):
                metadata.signed.meta[f"{name}.json"] = _described(self.meta[name])
        if role == Timestamp.type:
            metadata.signed.snapshot_meta = _described(self.meta[Snapshot.type])
        delegator = self.delegator(role)
        known = delegator.get_delegated_role(role)
        for signer in keyring.signers(known.keyids):
            metadata.sign(signer, append=True)
        try:
            delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        except UnsignedMetadataError as error:
            keys = ", ".join(title(delegator.get_key(key_id)) for key_id in known.keyids)
            raise UsageError(
                f"{role} needs {known.threshold} signatures of {keys}; --keys holds {len(metadata.signatures)} of them",
                next_step="name their folder too, --keys FOLDER --keys OTHER; nothing was written",
            ) from error
        self.dirty.add(role)
        if role in (Targets.type, RELEASES):
            self.dirty.add(Snapshot.type)
        if role == Snapshot.type:
            self.dirty.add(Timestamp.type)


def open_repository(folder: Path, *, pending: bool = False) -> Repository:
    """Read a repository that `create` has made.

    Parameters
    ----------
    pending : bool
        With the root that waits for signatures.

    Raises
    ------
    InputOutputError
        It is none, or damaged.
    """
    metadata = folder / METADATA
    versions = [
        int(match[1])
        for path in metadata.glob("*.root.json")
        if (match := re.fullmatch(r"(\d+)\.root\.json", path.name))
    ]
    if not versions:
        raise InputOutputError(f"{folder} is no repository", next_step="edgedx fleet init REPO --keys FOLDER")
    meta: dict[str, Metadata[Any]] = {Root.type: _read(metadata / f"{max(versions)}.root.json")}
    meta[Timestamp.type] = _read(metadata / "timestamp.json")
    meta[Snapshot.type] = _read(metadata / f"{meta[Timestamp.type].signed.snapshot_meta.version}.snapshot.json")
    for role in (Targets.type, RELEASES):
        meta[role] = _read(metadata / f"{meta[Snapshot.type].signed.meta[f'{role}.json'].version}.{role}.json")
    repository = Repository(folder, meta)
    if pending:
        waiting = folder / "pending" / "root.json"
        if not waiting.is_file():
            raise UsageError(
                f"no change of keys waits in {folder}", next_step="`edgedx fleet rotate REPO ROLE` begins one"
            )
        repository.meta = {**meta, Root.type: _read(waiting)}
        repository.dirty.add(Root.type)
    return repository


def _read(path: Path) -> Metadata[Any]:
    try:
        return Metadata.from_file(str(path))
    except Exception as error:  # python-tuf's storage and format errors have no common base
        raise InputOutputError(
            f"{path} is missing or damaged", next_step="restore the repository from a copy; every copy of it is whole"
        ) from error


def _bytes(metadata: Metadata[Any]) -> bytes:
    return metadata.to_bytes(JSONSerializer(compact=True))


def _described(metadata: Metadata[Any]) -> MetaFile:
    return MetaFile.from_data(metadata.signed.version, _bytes(metadata), ["sha256"])
