"""Change the keys of a role: one was lost, was stolen, or a person left. Root keys agree; devices follow by themselves.

A new root needs enough signatures of the old root keys and of the new ones. Whoever has only some of them signs what is
there; it waits in ``pending/`` until enough have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tuf.api.metadata import Metadata, Root, Targets

from edgedx.core.bundle.signing import PublicKey, read_public
from edgedx.core.errors import UsageError
from edgedx.device.fleet.terms import RELEASES

from .keys import Keyring, title, tuf_key
from .publish import RoleStatus, contents, roles
from .repository import Repository, Saved, open_repository

ROLES = (Root.type, Targets.type, RELEASES, "snapshot", "timestamp")


@dataclass(frozen=True)
class Rotated:
    """What changed: new versions by role, or who has yet to sign; and what the release keys sign for now."""

    saved: Saved
    role: RoleStatus
    releases: tuple[str, ...]


def rotate(
    folder: Path,
    role: str,
    keyring: Keyring,
    *,
    add: Sequence[Path] = (),
    remove: Sequence[str] = (),
    threshold: int | None = None,
    now: datetime | None = None,
) -> Rotated:
    """Give a role other keys. With no change at all, its metadata are signed anew, until they expire again.

    Parameters
    ----------
    add : sequence of Path
        ``.pub`` files.
    remove : sequence of str
        Key ids.
    threshold : int, optional
        How many must sign from now on.

    Raises
    ------
    UsageError
        An unknown role or key, fewer keys than must sign, or a change that waits already.
    """
    if role not in ROLES:
        raise UsageError(f"{role!r} is no role", next_step=f"one of {', '.join(ROLES)}")
    if (folder / "pending" / "root.json").exists():
        raise UsageError(
            f"a change of keys waits for signatures in {folder}",
            next_step="sign it (`edgedx fleet sign REPO --keys FOLDER`), or remove pending/ to drop it",
        )
    repository = open_repository(folder)
    if role != Root.type and not (add or remove or threshold):
        repository.dirty.add(role)
        return _rotated(repository, role, repository.save(keyring, now=now))
    delegator = _editable(repository, role)
    _change(delegator, role, [read_public(path) for path in add], remove, threshold)
    saved = repository.save(keyring, now=now)
    return _rotated(repository, role, saved)


def sign_pending(folder: Path, keyring: Keyring, *, now: datetime | None = None) -> Rotated:
    """Add signatures to a change of keys that waits, and carry it out where they are enough.

    Raises
    ------
    UsageError
        Nothing waits, or a key that is needed besides is not at hand.
    """
    repository = open_repository(folder, pending=True)
    return _rotated(repository, Root.type, repository.save(keyring, now=now))


def _editable(repository: Repository, role: str) -> Root | Targets:
    """A copy of who delegates to a role, marked to be signed: the one before is needed to verify its successor."""
    name = Targets.type if role == RELEASES else Root.type
    copy: Metadata[Any] = Metadata.from_bytes(repository.meta[name].to_bytes())
    if name == Root.type:
        copy.signatures.clear()
    repository.meta[name] = copy
    repository.dirty.add(name)
    return copy.signed  # type: ignore[no-any-return]


def _change(
    delegator: Root | Targets, role: str, add: Sequence[PublicKey], remove: Sequence[str], threshold: int | None
) -> None:
    known = delegator.get_delegated_role(role)
    for key in add:
        delegator.add_key(tuf_key(key), role)
    for key_id in remove:
        if key_id not in known.keyids:
            names = ", ".join(title(delegator.get_key(one)) for one in known.keyids)
            raise UsageError(f"{role} has no key {key_id}; it has {names}", next_step="edgedx fleet list REPO")
        delegator.revoke_key(key_id, role)
    known.threshold = threshold or known.threshold
    if len(known.keyids) < known.threshold:
        raise UsageError(
            f"{role} would have {len(known.keyids)} keys, and {known.threshold} must sign",
            next_step="--add NEW.pub, made with `edgedx keys new`; or a lower --threshold",
        )


def _rotated(repository: Repository, role: str, saved: Saved) -> Rotated:
    status = next(one for one in roles(repository) if one.role == role)
    found = () if saved.missing else tuple(one.title for one in contents(repository.folder)[0])
    return Rotated(saved, status, found)
